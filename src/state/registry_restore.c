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
#include "state/snapshot.h"

/* Counts every window as full from `stamp` on. */
static void fill_windows(struct registry *g, uint64_t stamp)
{
	uint32_t slot;

	for (slot = 1; slot < slots_read(&g->arena->header->org_slots);
	     slot++) {
		struct org *org = &g->arena->orgs[slot];
		struct admission full = {.stamp = stamp};
		const struct plan *plan =
			block_at(g->arena, claim_load(&org->plan));

		if (plan == NULL)
			continue;
		full.units = plan->rules[0].limit;
		meter_restore(g->arena, &plan->rules[0], &org->first, &full, 1);
	}
}

void registry_restore(struct registry *g, const char *state_dir,
		      struct registry_report *report)
{
	struct snapshot_info info = {0};
	int r = snapshot_read(g->arena, state_dir, &info, report->warning,
			      sizeof(report->warning));

	report->restored = r == 0;
	if (g->options.strict && (r != 0 || !info.clean))
		fill_windows(g, r == 0 && !info.same_boot ? CLOCK_BIAS
							  : clock_ticks());
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
