/* SPDX-License-Identifier: MIT */
#include "gate/prior.h"

#include "gate/outside.h"

/* The state of the subject in a predecessor, or NULL. */
static struct outside *find(struct arena *a, const struct rule *r,
			    uint64_t block, const struct gate_subject *of,
			    struct subjects *t, uint64_t *ret_hash,
			    uint32_t *ret_entry)
{
	if (!subjects_open(t, a, block))
		return NULL;
	*ret_hash =
		gate_subject_of(a, r->level, subjects_note(a, block)->rule, of);
	*ret_entry = subjects_find(t, *ret_hash);
	return *ret_entry != SUBJECTS_FULL ? subjects_state(t, *ret_entry)
					   : NULL;
}

static bool read_one(struct arena *a, const struct rule *r, uint64_t block,
		     const struct gate_subject *of, const struct instant *now,
		     struct view *ret_view)
{
	struct subjects t;
	struct outside *o;
	uint64_t hash;
	uint32_t entry;

	do {
		o = find(a, r, block, of, &t, &hash, &entry);
		if (o == NULL)
			return false;
		view_read(ret_view, a, r, &o->meter, subject_entries(r, o),
			  subject_log2(r, t.stride), now);
	} while (!subjects_is(&t, entry, hash));
	return true;
}

void prior_read(struct arena *a, struct view *v, const struct gate_subject *of,
		struct view ret_prior[static RULE_PRIORS_MAX])
{
	const struct rule *r = v->rule;
	unsigned i;

	for (i = 0; i < RULE_PRIORS_MAX && r->prior[i] != 0; i++) {
		struct view *p = &ret_prior[v->priors];

		if (read_one(a, r, r->prior[i], of, &v->now, p))
			view_join(v, p);
	}
}

/* Who only looks may have no meter of his own, but what all such have. */
static struct gate_subject subject_of(const struct step *s, const struct ask *a)
{
	return (struct gate_subject){
		.org = (uint32_t)(s->org - s->arena->orgs),
		.project = a->key->project,
		.key = (uint32_t)(a->key - s->arena->keys),
		.route = a->route,
	};
}

struct view *prior_view(struct step *s, const struct ask *a, unsigned i)
{
	const struct rule *r = &s->plan->rules[i];
	const struct ask_meter *at = &a->at[i];
	struct gate_subject of = subject_of(s, a);
	uint64_t subject = gate_subject(s->arena, r, &of);
	struct view *v;
	unsigned k;

	for (k = s->plan->rules_count; k < s->views_count; k++)
		if (s->views[k].rule == r && s->views[k].meter == at->meter &&
		    s->views[k].subject == subject)
			return &s->views[k];
	v = &s->views[s->views_count++];
	view_read(v, s->arena, r, at->meter, at->entries, at->entries_log2,
		  &s->now);
	v->subject = subject;
	prior_read(s->arena, v, &of, s->priors[k]);
	return v;
}

uint64_t prior_full_until_ns(struct arena *a, const struct rule *r)
{
	uint64_t until_ns = 0;
	struct subjects t;
	unsigned i;

	for (i = 0; i < RULE_PRIORS_MAX && r->prior[i] != 0; i++)
		if (subjects_open(&t, a, r->prior[i]) &&
		    t.full_until_ns > until_ns)
			until_ns = t.full_until_ns;
	return until_ns;
}

void prior_reset(struct claim *c, word_t *gate, const struct rule *r,
		 const struct gate_subject *of)
{
	struct subjects t;
	struct outside *o;
	uint64_t hash;
	uint32_t entry;
	unsigned i;

	/* This thread alone gives entries away, so it stays the subject's. */
	for (i = 0; i < RULE_PRIORS_MAX && r->prior[i] != 0; i++) {
		o = find(c->arena, r, r->prior[i], of, &t, &hash, &entry);
		if (o != NULL)
			meter_reset(c, gate, r, &o->meter,
				    subject_entries(r, o),
				    subject_log2(r, t.stride));
	}
}
