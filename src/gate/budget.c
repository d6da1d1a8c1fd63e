/* SPDX-License-Identifier: MIT */
/* When a budget that is used up has room again. Asked for when it denies, and
 * when a check is explained. */
#include "gate/step.h"

uint64_t budget_rest_ms(const struct budget *b, const struct budget_view *v,
			uint64_t wall_ms)
{
	uint64_t ends_ms = 0;

	/* A clock that went back does not bring an old period back. */
	switch (v->period - (uint32_t)claim_load(&b->period)) {
	case 0:
		ends_ms = claim_load(&b->ends_ms);
		break;
	case 1:
		ends_ms = claim_load(&b->next_ends_ms);
		break;
	default: /* not known yet */
		break;
	}
	return ends_ms > wall_ms ? ends_ms - wall_ms : 0;
}

uint32_t step_budget_wait(const struct step *s, const struct ask *a)
{
	uint64_t wait = 0;

	if (a->verdict->reason != REASON_BUDGET ||
	    a->cost > a->verdict->credits)
		return 0;
	for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++) {
		const struct budget *b = &a->project->budgets[i];
		struct budget_view v;
		uint64_t rest;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		budget_read(b, step_value(s, &b->used),
			    step_value(s, &b->returned), s->wall_ms, &v);
		if (a->cost <= v.left)
			continue;
		rest = budget_rest_ms(b, &v, s->wall_ms);
		if (a->cost > v.cap || rest == 0)
			return 0;
		if (rest > wait)
			wait = rest;
	}
	return wait < UINT32_MAX ? (uint32_t)wait : UINT32_MAX;
}
