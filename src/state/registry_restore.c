/* SPDX-License-Identifier: MIT */
/*
 * The counters of a fresh arena.
 *
 * `strict` wants to know more than the snapshot says: was anything admitted
 * after it? Not when it was taken by a clean stop and nobody has served since.
 * So a start that promises `strict` replaces a clean snapshot, and one of an
 * earlier boot, by one that is neither, before it serves. An earlier boot in
 * the file then means that nobody served in this one.
 */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "gate/meter.h"
#include "gate/step.h"
#include "gate/subjects.h"
#include "state/snapshot.h"

#include <string.h>

/* The organization's own meter as if it had admitted all it can at `at`. */
static void fill_meter(struct arena *a, struct org *org,
		       const struct rule *rule, const struct instant *at)
{
	struct admission full = {.stamp = at->ticks, .units = rule->limit};
	struct meter *meter = org_meter(a, org, rule->meter);
	uint64_t ring = claim_load(&meter->ring);

	if (rule->algorithm == RULE_GCRA)
		slot_set_word(&meter->level,
			      at->ns + rule->limit * rule->unit_ns +
				      claim_load(&meter->base));
	if (rule->algorithm != RULE_WINDOW || ring == 0)
		return;
	/* What the snapshot had leaves before that. */
	memset(block_at(a, ring), 0, sizeof(word_t) << RING_LOG2(ring));
	meter_restore(a, rule, meter, &full, 1);
}

/* Until when a subject that has admitted all it can at `at` is told so. */
static uint64_t full_until_ns(const struct rule *rule, const struct instant *at)
{
	switch (rule->algorithm) {
	case RULE_WINDOW:
		return (at->ticks + rule->span + 1) * CLOCK_TICK_NS;
	case RULE_GCRA:
		return at->ns + rule->limit * rule->unit_ns;
	default:
		return 0;
	}
}

/*
 * Counts every rule as full from `at` on: windows and GCRA, of organizations
 * and of subjects, of which nobody knows who they were. Leases are those of
 * the snapshot: what was going on here ended with the machine. Credits,
 * budgets and totals are as it says too: they do not pass, and counting them
 * as used up would be a denial for ever.
 */
static void fill_rules(struct registry *g, const struct instant *at)
{
	struct arena *a = g->arena;
	uint32_t slot, i;

	for (slot = 1; slot < slots_read(&a->header->org_slots); slot++) {
		struct org *org = &a->orgs[slot];
		const struct plan *plan = block_at(a, claim_load(&org->plan));

		for (i = 0; plan != NULL && i < plan->rules_count; i++) {
			const struct rule *rule = &plan->rules[i];

			if (rule->level == LEVEL_ORG)
				fill_meter(a, org, rule, at);
			else
				subjects_fill(a, rule->table,
					      full_until_ns(rule, at));
		}
	}
}

void registry_restore(struct registry *g, const char *state_dir,
		      struct registry_report *report)
{
	struct snapshot_info info = {0};
	int r = snapshot_read(g->arena, state_dir, &info, report->warning,
			      sizeof(report->warning));

	report->restored = r == 0;
	if (g->options.strict && (r != 0 || !info.clean)) {
		struct instant at = r == 0 && !info.same_boot
					    ? instant_at(INSTANT_BIAS_NS)
					    : instant_now();

		fill_rules(g, &at);
	}
}

int registry_disown_snapshot(struct registry *g, const char *state_dir,
			     char *err, size_t err_len)
{
	struct snapshot_info info = {0};
	int r = snapshot_peek(g->arena, state_dir, &info);

	/* One that would be refused is left alone; what cannot be read is not
	 * believed by the next start either. */
	if (r < 0 || (r == 0 && info.same_boot && !info.clean))
		return 0;
	return snapshot_write(g->arena, NULL, state_dir, false, &info, err,
			      err_len);
}
