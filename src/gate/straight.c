/* SPDX-License-Identifier: MIT */
#include "gate/straight.h"

/* Not inline: it would take all registers from the loop around it. */
struct claim_word *straight_entries(struct step *s, struct claim_word *at,
				    const struct rule *r, struct meter *m,
				    word_t *entries, unsigned log2,
				    uint32_t units, uint64_t now_ns,
				    uint64_t least)
{
	struct straight *t = &s->straight;
	struct instant now = instant_at(now_ns);
	uint64_t left = r->limit;
	struct view v;

	t->left = STRAIGHT_NONE;
	if (unlikely(left > UINT64_C(1) << log2))
		return NULL;
	window_read(&v, EXACT_BITS, r, m, entries, log2, &now);
	if (unlikely(v.used + units > left))
		return NULL;
	window_charge(&v, EXACT_BITS, true, units);
	left -= v.used;
	if (left < least) {
		t->left = left;
		t->rests_ms = (uint32_t)window_rests_ms(&v);
		t->more_ms = (uint32_t)window_more_ms(&v);
	}
	t->hints[t->after].meter = m;
	t->hints[t->after++].hint = window_hint(&v);
	return claim_put(s->claim, at, v.word, v.from, v.to);
}

void straight_finish(struct step *s, struct project *p)
{
	unsigned i, hints = s->straight.after & ~STRAIGHT_CROSSED;

	for (i = 0; i < hints; i++)
		window_leave_hint(s->straight.hints[i].meter,
				  s->straight.hints[i].hint);
	if (unlikely(s->straight.after & STRAIGHT_CROSSED))
		step_crossed(s, p);
}
