/* SPDX-License-Identifier: MIT */
#include "state/periods.h"

#include "base/check.h"
#include "state/turnover.h"

#include <errno.h>
#include <stdlib.h>

struct periods {
	struct turnover *turnover;
	struct claim *claim;
};

static uint32_t member_of(uint32_t project, unsigned index)
{
	check(project > 0 && project < ARENA_PROJECTS_MAX &&
	      index < PROJECT_BUDGETS_MAX);
	return project * PROJECT_BUDGETS_MAX + index;
}

static void change(struct claim *c, word_t *w, uint64_t to)
{
	uint64_t from = claim_load(w);

	if (from != to)
		claim_add(c, w, from, to);
}

/* Decisions know two ends. What they counted behind the second one, when the
 * machine slept for longer and woke before its control thread did, belongs to
 * the period that they could not know. */
static void count_on(struct claim *c, struct budget *b, uint32_t number)
{
	uint32_t last = (uint32_t)claim_load(&b->period) + 2;
	uint64_t used = claim_load(&b->used);
	uint64_t returned = claim_load(&b->returned);

	if (BUDGET_PERIOD(used) != last || number <= last)
		return;
	change(c, &b->used, BUDGET_WORD(number, BUDGET_UNITS(used)));
	if (BUDGET_PERIOD(returned) == last)
		change(c, &b->returned,
		       BUDGET_WORD(number, BUDGET_UNITS(returned)));
}

static int publish(void *arg, uint32_t member, const struct period *period)
{
	struct claim *c = arg;
	struct arena *a = c->arena;
	struct project *project = &a->projects[member / PROJECT_BUDGETS_MAX];
	struct budget *b = &project->budgets[member % PROJECT_BUDGETS_MAX];
	word_t *gate = &a->orgs[project->org].gate;
	uint64_t version;

	do {
		version = claim_settle(a, gate, c->counters);
		claim_begin(c);
		count_on(c, b, period->number);
		change(c, &b->period, period->number);
		change(c, &b->ends_ms, period->end_ms);
		change(c, &b->next_ends_ms, period->next_end_ms);
		/* We alone write the three: what is there stays there. */
		if (c->next == c->descriptor->words)
			return 0;
	} while (!claim_commit(c, gate, version));
	return 0;
}

int periods_new(struct periods **ret_periods, struct claim *claim,
		uint32_t projects_max)
{
	struct periods *p = calloc(1, sizeof(*p));
	int r;

	if (p == NULL)
		return -ENOMEM;
	p->claim = claim;
	r = turnover_new(&p->turnover, projects_max * PROJECT_BUDGETS_MAX,
			 publish, claim);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret_periods = p;
	return 0;
}

struct periods *periods_free(struct periods *p)
{
	if (p != NULL)
		turnover_free(p->turnover);
	free(p);
	return NULL;
}

int periods_set(struct periods *p, uint32_t project, unsigned index,
		enum period_kind kind, const char *zone, unsigned anchor_day,
		uint64_t civil_ms)
{
	uint32_t member = member_of(project, index);
	struct period now;
	int r = turnover_set(p->turnover, member, kind, zone, anchor_day,
			     civil_ms, &now);

	return r < 0 ? r : publish(p->claim, member, &now);
}

void periods_clear(struct periods *p, uint32_t project, unsigned index)
{
	turnover_clear(p->turnover, member_of(project, index));
}

bool periods_step(struct periods *p, uint64_t civil_ms)
{
	return turnover_step(p->turnover, civil_ms);
}
