/* SPDX-License-Identifier: MIT */
#include "state/turnover.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define MEMBERS_MIN 1024

/* Rules of one zone: day, week, month, and billing by anchor day. */
#define RULES_PER_ZONE (3 + PERIOD_ANCHOR_MAX)

struct member {
	uint32_t group; /* NONE: follows no rule */
	uint32_t next, prev;
};

struct group {
	struct period_rule rule;
	struct period now;
	uint32_t first;
	uint32_t cursor; /* next to be visited; NONE: all were */
	bool failed;     /* a visit was not possible in this round */
};

struct place {
	char name[ZONE_NAME_MAX + 1];
	struct zone *zone;
	uint32_t groups[RULES_PER_ZONE]; /* NONE: nobody had it yet */
};

struct turnover {
	turnover_visit *visit;
	void *arg;
	uint32_t members_max, members_len;
	struct member *members;
	uint32_t group_count;
	struct group *groups;
	uint32_t place_count;
	struct place *places[TURNOVER_ZONES_MAX]; /* by name */
	uint64_t next_ms;                         /* nothing to do before */
};

int turnover_new(struct turnover **ret_turnover, uint32_t members_max,
		 turnover_visit *visit, void *arg)
{
	struct turnover *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->visit = visit;
	t->arg = arg;
	t->members_max = members_max;
	t->next_ms = UINT64_MAX;
	*ret_turnover = t;
	return 0;
}

struct turnover *turnover_free(struct turnover *t)
{
	if (t == NULL)
		return NULL;
	for (uint32_t i = 0; i < t->place_count; i++) {
		zone_free(t->places[i]->zone);
		free(t->places[i]);
	}
	free(t->groups);
	free(t->members);
	free(t);
	return NULL;
}

/* ---- rules ---- */

/* Where the zone is, or where it belongs. */
static uint32_t place_index(const struct turnover *t, const char *name)
{
	uint32_t low = 0, high = t->place_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(t->places[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int place_of(struct turnover *t, const char *name,
		    struct place **ret_place)
{
	uint32_t at = place_index(t, name);
	struct place *p;
	int r;

	if (at < t->place_count && strcmp(t->places[at]->name, name) == 0) {
		*ret_place = t->places[at];
		return 0;
	}
	if (t->place_count == TURNOVER_ZONES_MAX)
		return -ENOSPC;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	r = zone_open(&p->zone, name);
	if (r < 0) {
		free(p);
		return r;
	}
	memcpy(p->name, name, strlen(name)); /* zone_open() knows its length */
	memset(p->groups, 0xff, sizeof(p->groups));
	for (uint32_t i = t->place_count++; i > at; i--)
		t->places[i] = t->places[i - 1];
	t->places[at] = p;
	*ret_place = p;
	return 0;
}

static int add_group(struct turnover *t, const struct period_rule *rule,
		     uint64_t civil_ms, uint32_t *ret_group)
{
	struct group *grown =
		realloc(t->groups, (t->group_count + 1) * sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	t->groups = grown;
	grown[t->group_count] =
		(struct group){.rule = *rule, .first = NONE, .cursor = NONE};
	period_at(rule, civil_ms, &grown[t->group_count].now);
	*ret_group = t->group_count++;
	return 0;
}

static int group_of(struct turnover *t, enum period_kind kind, const char *zone,
		    unsigned anchor_day, uint64_t civil_ms, uint32_t *ret_group)
{
	struct period_rule rule = {.kind = kind, .anchor_day = anchor_day};
	struct place *place;
	unsigned which = kind - 1u;
	int r;

	if (kind == PERIOD_BILLING) {
		if (anchor_day < 1 || anchor_day > PERIOD_ANCHOR_MAX)
			return -EINVAL;
		which += anchor_day - 1;
	}
	check(which < RULES_PER_ZONE);
	r = place_of(t, zone, &place);
	if (r < 0)
		return r;
	rule.zone = place->zone;
	*ret_group = place->groups[which];
	if (*ret_group == NONE)
		r = add_group(t, &rule, civil_ms, &place->groups[which]);
	*ret_group = place->groups[which];
	return r;
}

/* ---- members ---- */

static int make_room(struct turnover *t, uint32_t member)
{
	uint64_t len =
		t->members_len < MEMBERS_MIN ? MEMBERS_MIN : t->members_len;
	struct member *grown;

	check(member < t->members_max);
	if (member < t->members_len)
		return 0;
	while (len <= member)
		len *= 2;
	if (len > t->members_max)
		len = t->members_max;
	grown = realloc(t->members, len * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	for (uint64_t i = t->members_len; i < len; i++)
		grown[i].group = NONE;
	t->members = grown;
	t->members_len = (uint32_t)len;
	return 0;
}

void turnover_clear(struct turnover *t, uint32_t member)
{
	struct member *m;
	struct group *g;

	if (member >= t->members_len || t->members[member].group == NONE)
		return;
	m = &t->members[member];
	g = &t->groups[m->group];
	if (g->cursor == member)
		g->cursor = m->next;
	if (g->first == member)
		g->first = m->next;
	else
		t->members[m->prev].next = m->next;
	if (m->next != NONE)
		t->members[m->next].prev = m->prev;
	m->group = NONE;
}

/* In front of the cursor: it needs no visit in this round. */
static void join(struct turnover *t, uint32_t member, uint32_t group)
{
	struct member *m = &t->members[member];
	struct group *g = &t->groups[group];

	*m = (struct member){.group = group, .next = g->first, .prev = NONE};
	if (g->first != NONE)
		t->members[g->first].prev = member;
	g->first = member;
}

static void begin_round(struct turnover *t, struct group *g)
{
	g->cursor = g->first;
	g->failed = false;
	t->next_ms = 0;
}

static void turn_over(struct turnover *t, struct group *g, uint64_t civil_ms)
{
	if (civil_ms < g->now.end_ms)
		return;
	period_at(&g->rule, civil_ms, &g->now);
	begin_round(t, g);
}

int turnover_set(struct turnover *t, uint32_t member, enum period_kind kind,
		 const char *zone, unsigned anchor_day, uint64_t civil_ms,
		 struct period *ret_period)
{
	uint32_t group = NONE;
	struct group *g;
	int r = make_room(t, member);

	if (r == 0)
		r = group_of(t, kind, zone, anchor_day, civil_ms, &group);
	if (r < 0)
		return r;
	g = &t->groups[group];
	turnover_clear(t, member);
	turn_over(t, g, civil_ms);
	join(t, member, group);
	if (g->now.end_ms < t->next_ms)
		t->next_ms = g->now.end_ms;
	*ret_period = g->now;
	return 0;
}

void turnover_revisit(struct turnover *t, uint32_t member)
{
	check(member < t->members_len && t->members[member].group != NONE);
	begin_round(t, &t->groups[t->members[member].group]);
}

/* ---- steps ---- */

/* Returns how many visits are left. */
static unsigned visit_group(struct turnover *t, struct group *g, unsigned left)
{
	for (; left > 0 && g->cursor != NONE; left--) {
		uint32_t member = g->cursor;

		g->cursor = t->members[member].next;
		if (t->visit(t->arg, member, &g->now) != 0)
			g->failed = true;
	}
	return left;
}

bool turnover_step(struct turnover *t, uint64_t civil_ms)
{
	uint64_t next_ms = UINT64_MAX;
	unsigned left = TURNOVER_BATCH;

	if (civil_ms < t->next_ms)
		return false;
	for (uint32_t i = 0; i < t->group_count; i++) {
		struct group *g = &t->groups[i];

		if (g->first == NONE)
			continue;
		turn_over(t, g, civil_ms);
		left = visit_group(t, g, left);
		if (g->cursor != NONE) {
			t->next_ms = 0;
			return true;
		}
		if (g->now.end_ms < next_ms)
			next_ms = g->now.end_ms;
		if (g->failed) { /* another round, but not at once */
			begin_round(t, g);
			next_ms = 0;
		}
	}
	t->next_ms = next_ms;
	return false;
}
