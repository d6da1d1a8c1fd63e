/* SPDX-License-Identifier: MIT */
#include "gate/decide.h"

#include "base/counters.h"
#include "base/sha256.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define T0 CLOCK_BIAS
#define WALL_MS UINT64_C(1700000000000)
#define WINDOW_MS 1000u

/* Slots of keys, and of the organizations they belong to. */
enum { KEY_GOOD = 1, KEY_REVOKED, KEY_EXPIRED, KEY_PROJECT, KEY_SUSPENDED };
enum { ORG_GOOD = 1, ORG_SUSPENDED };

struct scene {
	struct fixture f;
	struct keytable table;
	struct counters counters;
	struct gate gate;
	char text[8][KEYTEXT_LEN(2) + 1];
};

static struct key *make_key(struct scene *s, uint32_t slot, uint32_t org)
{
	struct key *key = fixture_key(&s->f, slot);
	struct id id;
	uint8_t hash[32];

	cr_assert(keytext_random_id(&id));
	cr_assert(keytext_make(&s->gate.prefix, id, s->text[slot],
			       sizeof(s->text[slot])));
	sha256(s->text[slot], strlen(s->text[slot]), hash);
	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	key->id = id;
	key->org = org;
	key->project = 0;
	atomic_store_explicit(&key->state, SLOT_ACTIVE, memory_order_relaxed);
	cr_assert_eq(keytable_insert(&s->table, hash, slot), 0);
	return key;
}

static struct scene *open_scene(uint32_t limit)
{
	struct scene *s = aligned_alloc(LINE_BYTES, sizeof(*s));
	struct keytext_prefix prefix;
	struct project *project;
	struct org *org;

	memset(s, 0, sizeof(*s));
	fixture_open(&s->f);
	cr_assert_eq(keytable_init(&s->table, 0, NULL), 0);
	cr_assert(keytext_prefix_init(&prefix, "il"));
	gate_init(&s->gate, s->f.arena, &s->table, &prefix, 0, &s->counters);
	fixture_org(&s->f, ORG_GOOD, limit, WINDOW_MS * MS, 0);
	org = fixture_org(&s->f, ORG_SUSPENDED, limit, WINDOW_MS * MS, 0);
	atomic_store_explicit(&org->state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	make_key(s, KEY_GOOD, ORG_GOOD);
	atomic_store_explicit(&make_key(s, KEY_REVOKED, ORG_GOOD)->state,
			      SLOT_REVOKED, memory_order_relaxed);
	atomic_store_explicit(&make_key(s, KEY_EXPIRED, ORG_GOOD)->expires_ms,
			      WALL_MS, memory_order_relaxed);
	make_key(s, KEY_PROJECT, ORG_GOOD)->project = 1;
	make_key(s, KEY_SUSPENDED, ORG_SUSPENDED);
	project = fixture_project(&s->f, 1, ORG_GOOD);
	memcpy(project->id.c, "project1", ID_LEN);
	return s;
}

static void close_scene(struct scene *s)
{
	keytable_deinit(&s->table);
	fixture_close(&s->f);
	free(s);
}

static struct check check_of(const char *key, uint32_t cost)
{
	struct check c = {.credential = CREDENTIAL_KEY,
			  .key = (const uint8_t *)key,
			  .key_len = (uint8_t)strlen(key),
			  .cost = cost};

	return c;
}

static struct verdict decide(struct scene *s, struct check *c, uint64_t now)
{
	struct instant at = instant_at(now * CLOCK_TICK_NS);
	struct verdict v;

	memset(&v, 0xaa, sizeof(v));
	gate_decide(&s->gate, c, &v, 1, &at, WALL_MS);
	return v;
}

static struct verdict ask(struct scene *s, uint32_t key, uint32_t cost,
			  uint64_t now)
{
	struct check c = check_of(s->text[key], cost);

	return decide(s, &c, now);
}

static uint64_t key_used(struct scene *s, uint32_t key)
{
	return USED_UNITS(fixture_get(&s->f.arena->keys[key].used));
}

/* What all keys of an organization have used. */
static uint64_t org_used(struct scene *s, uint32_t org)
{
	uint64_t used = 0;
	uint32_t slot;

	for (slot = 1; slot < sizeof(s->text) / sizeof(s->text[0]); slot++)
		if (s->f.arena->keys[slot].org == org)
			used += key_used(s, slot);
	return used;
}

Test(decide, valid_key_passes_with_every_field_of_the_answer)
{
	struct scene *s = open_scene(5);
	struct verdict v = ask(s, KEY_GOOD, 2, T0);

	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.detail, DETAIL_NONE);
	cr_assert(id_equal(v.key, s->f.arena->keys[KEY_GOOD].id));
	cr_assert(id_equal(v.org, s->f.arena->orgs[ORG_GOOD].id));
	cr_assert(id_is_none(v.project));
	cr_assert_eq(v.limit, 5);
	cr_assert_eq(v.remaining, 3);
	cr_assert_eq(v.window_ms, WINDOW_MS);
	cr_assert_eq(v.reset_ms, WINDOW_MS, "not 1 ms more");
	cr_assert_eq(v.retry_ms, WINDOW_MS);
	cr_assert_str_eq(v.limit_name, "org");
	cr_assert_eq(org_used(s, ORG_GOOD), 2);
	cr_assert_eq(key_used(s, KEY_GOOD), 2);
	close_scene(s);
}

Test(decide, project_key_names_its_project)
{
	struct scene *s = open_scene(5);
	struct verdict v = ask(s, KEY_PROJECT, 1, T0);

	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_arr_eq(v.project.c, "project1", ID_LEN);
	close_scene(s);
}

Test(decide, key_and_its_hash_are_the_same_credential)
{
	struct scene *s = open_scene(5);
	struct check c = {.credential = CREDENTIAL_HASH, .cost = 1};
	struct verdict v;

	sha256(s->text[KEY_GOOD], strlen(s->text[KEY_GOOD]), c.hash);
	v = decide(s, &c, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).remaining, 3);
	close_scene(s);
}

/* What the wire found out comes first, and is passed on as it is. */
Test(decide, malformed_before_unauthorized_before_suspended_before_limited)
{
	struct scene *s = open_scene(1);
	struct check c = {.credential = CREDENTIAL_NONE,
			  .reason = REASON_BAD_REQUEST,
			  .detail = DETAIL_COST};
	struct verdict v = decide(s, &c, T0);

	cr_assert_eq(v.reason, REASON_BAD_REQUEST);
	cr_assert_eq(v.detail, DETAIL_COST);
	c.reason = REASON_NO_CREDENTIAL;
	c.detail = DETAIL_NONE;
	cr_assert_eq(decide(s, &c, T0).reason, REASON_NO_CREDENTIAL);

	/* A revoked key, both of a suspended and of a full organization. */
	ask(s, KEY_GOOD, 1, T0);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).reason, REASON_RATE_LIMITED);
	cr_assert_eq(ask(s, KEY_REVOKED, 1, T0).reason, REASON_INVALID_KEY);
	atomic_store_explicit(&s->f.arena->orgs[ORG_GOOD].state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).reason, REASON_SUSPENDED);
	cr_assert_eq(ask(s, KEY_GOOD, 2, T0).reason, REASON_SUSPENDED);
	cr_assert_eq(ask(s, KEY_REVOKED, 1, T0).reason, REASON_INVALID_KEY);
	close_scene(s);
}

Test(decide, unknown_malformed_revoked_and_expired_look_the_same)
{
	struct scene *s = open_scene(5);
	struct verdict none;
	char unknown[KEYTEXT_LEN(2) + 1], broken[KEYTEXT_LEN(2) + 1];
	const char *keys[] = {unknown,
			      broken,
			      "",
			      "il_",
			      "il_short",
			      "of another gate",
			      s->text[KEY_REVOKED],
			      s->text[KEY_EXPIRED]};
	struct id id;
	size_t i;

	cr_assert(keytext_random_id(&id));
	cr_assert(keytext_make(&s->gate.prefix, id, unknown, sizeof(unknown)));
	memcpy(broken, s->text[KEY_GOOD], sizeof(broken));
	broken[20] = broken[20] == 'x' ? 'y' : 'x';
	memset(&none, 0, sizeof(none));
	none.reason = REASON_INVALID_KEY;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct check c = check_of(keys[i], 1);
		struct verdict v = decide(s, &c, T0);

		cr_assert_arr_eq(&v, &none, sizeof(v), "%s", keys[i]);
	}
	cr_assert_eq(org_used(s, ORG_GOOD), 0);
	cr_assert_eq(counter_read(&s->counters.verdicts[REASON_INVALID_KEY]),
		     sizeof(keys) / sizeof(keys[0]));
	close_scene(s);
}

/* Known to the table and still refused: it was never hashed. */
Test(decide, wrong_checksum_is_refused_before_any_hash)
{
	struct scene *s = open_scene(5);
	struct key *key = &s->f.arena->keys[KEY_GOOD];
	char broken[KEYTEXT_LEN(2) + 1];
	struct check c;
	uint8_t hash[32];

	memcpy(broken, s->text[KEY_GOOD], sizeof(broken));
	broken[20] = broken[20] == 'x' ? 'y' : 'x';
	sha256(broken, strlen(broken), hash);
	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	cr_assert_eq(keytable_insert(&s->table, hash, KEY_GOOD), 0);
	c = check_of(broken, 1);
	memset(c.hash, 0xaa, sizeof(c.hash));
	memset(hash, 0xaa, sizeof(hash));
	cr_assert_eq(decide(s, &c, T0).reason, REASON_INVALID_KEY);
	cr_assert_arr_eq(c.hash, hash, sizeof(hash));
	close_scene(s);
}

Test(decide, key_of_a_foreign_shape_is_looked_up)
{
	struct scene *s = open_scene(5);
	struct key *key = &s->f.arena->keys[KEY_GOOD];
	const char *text = "sk_live_imported";
	struct check c = check_of(text, 1);
	uint8_t hash[32];

	sha256(text, strlen(text), hash);
	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	cr_assert_eq(keytable_insert(&s->table, hash, KEY_GOOD), 0);
	cr_assert_eq(decide(s, &c, T0).reason, REASON_ALLOW);
	close_scene(s);
}

Test(decide, key_expires_at_its_millisecond_and_not_before)
{
	struct scene *s = open_scene(5);
	word_t *expires_ms = &s->f.arena->keys[KEY_GOOD].expires_ms;

	atomic_store_explicit(expires_ms, WALL_MS + 1, memory_order_relaxed);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).reason, REASON_ALLOW);
	atomic_store_explicit(expires_ms, WALL_MS, memory_order_relaxed);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).reason, REASON_INVALID_KEY);
	atomic_store_explicit(expires_ms, INT64_MAX, memory_order_relaxed);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).reason, REASON_ALLOW);
	close_scene(s);
}

Test(decide, suspended_organization_is_named_and_counts_nothing)
{
	struct scene *s = open_scene(5);
	struct verdict v = ask(s, KEY_SUSPENDED, 1, T0);

	cr_assert_eq(v.reason, REASON_SUSPENDED);
	cr_assert(id_equal(v.org, s->f.arena->orgs[ORG_SUSPENDED].id));
	cr_assert(id_equal(v.key, s->f.arena->keys[KEY_SUSPENDED].id));
	cr_assert_eq(v.limit, 5);
	cr_assert_eq(v.remaining, 5);
	cr_assert_eq(v.reset_ms, 0);
	cr_assert_eq(org_used(s, ORG_SUSPENDED), 0);
	cr_assert_eq(key_used(s, KEY_SUSPENDED), 0);
	close_scene(s);
}

Test(decide, peek_answers_and_counts_nothing)
{
	struct scene *s = open_scene(3);
	struct key *key = &s->f.arena->keys[KEY_GOOD];
	struct check c = check_of(s->text[KEY_GOOD], 1);
	struct verdict v;

	c.flags = CHECK_PEEK;
	v = decide(s, &c, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.remaining, 3);
	cr_assert_eq(v.reset_ms, 0);
	cr_assert_eq(v.retry_ms, 0);
	cr_assert_eq(key->last_use_min, 0);
	ask(s, KEY_GOOD, 3, T0);
	v = decide(s, &c, T0 + MS);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	cr_assert_eq(v.remaining, 0);
	cr_assert_eq(v.retry_ms, WINDOW_MS - 1);
	c.cost = 4;
	cr_assert_eq(decide(s, &c, T0).reason, REASON_COST_ABOVE_LIMIT);
	cr_assert_eq(org_used(s, ORG_GOOD), 3);
	cr_assert_eq(key_used(s, KEY_GOOD), 3);
	cr_assert_eq(key->last_use_min, WALL_MS / 60000);
	close_scene(s);
}

Test(decide, waiting_ends_no_suspension)
{
	struct scene *s = open_scene(5);
	struct verdict v;

	ask(s, KEY_GOOD, 2, T0);
	atomic_store_explicit(&s->f.arena->orgs[ORG_GOOD].state, SLOT_SUSPENDED,
			      memory_order_relaxed);
	v = ask(s, KEY_GOOD, 2, T0 + MS);
	cr_assert_eq(v.reason, REASON_SUSPENDED);
	cr_assert_eq(v.remaining, 3);
	cr_assert_eq(v.reset_ms, WINDOW_MS - 1);
	cr_assert_eq(v.retry_ms, 0);
	close_scene(s);
}

Test(decide, window_is_at_rest_after_its_last_tick_not_before)
{
	struct scene *s = open_scene(2);
	struct check peek = check_of(s->text[KEY_GOOD], 1);
	struct verdict v;

	peek.flags = CHECK_PEEK;
	ask(s, KEY_GOOD, 1, T0);
	v = decide(s, &peek, T0 + WINDOW_MS * MS);
	cr_assert_eq(v.remaining, 1);
	cr_assert_eq(v.reset_ms, 1);
	cr_assert_eq(v.retry_ms, 1);
	v = decide(s, &peek, T0 + WINDOW_MS * MS + 1);
	cr_assert_eq(v.remaining, 2);
	cr_assert_eq(v.reset_ms, 0);
	cr_assert_eq(v.retry_ms, 0);
	close_scene(s);
}

Test(decide, denial_uses_up_nothing_and_says_when)
{
	struct scene *s = open_scene(3);
	struct verdict v;

	ask(s, KEY_GOOD, 2, T0);
	v = ask(s, KEY_GOOD, 2, T0 + MS);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	cr_assert_eq(v.remaining, 1);
	cr_assert_eq(v.retry_ms, WINDOW_MS - 1);
	cr_assert_eq(v.reset_ms, WINDOW_MS - 1);
	/* A tick before: rounded up, never 0. */
	v = ask(s, KEY_GOOD, 2, T0 + WINDOW_MS * MS);
	cr_assert_eq(v.retry_ms, 1);
	v = ask(s, KEY_GOOD, 4, T0 + MS);
	cr_assert_eq(v.reason, REASON_COST_ABOVE_LIMIT);
	cr_assert_eq(v.retry_ms, 0);
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0 + MS).reason, REASON_ALLOW);
	cr_assert_eq(org_used(s, ORG_GOOD), 3);
	cr_assert_eq(key_used(s, KEY_GOOD), 3);
	close_scene(s);
}

Test(decide, longest_window_fits_the_answer)
{
	struct scene *s = open_scene(1);
	struct rule rule = fixture_window(1, WINDOW_MS_MAX * MS);
	struct verdict v;

	fixture_set(&s->f.arena->orgs[ORG_GOOD].plan,
		    fixture_plan(&s->f, &rule, 1));
	ask(s, KEY_GOOD, 1, T0);
	v = ask(s, KEY_GOOD, 1, T0);
	cr_assert_eq(v.window_ms, WINDOW_MS_MAX);
	cr_assert_eq(v.retry_ms, WINDOW_MS_MAX);
	close_scene(s);
}

Test(decide, one_batch_may_hold_one_key_many_times)
{
	struct scene *s = open_scene(GATE_BATCH_MAX - 56);
	static struct check checks[GATE_BATCH_MAX];
	static struct verdict verdicts[GATE_BATCH_MAX];
	struct instant at = instant_at(INSTANT_BIAS_NS);
	unsigned i, allowed = 0;

	for (i = 0; i < GATE_BATCH_MAX; i++)
		checks[i] =
			check_of(s->text[i % 2 ? KEY_GOOD : KEY_PROJECT], 1);
	checks[7] = check_of("nobody", 1);
	gate_decide(&s->gate, checks, verdicts, GATE_BATCH_MAX, &at, WALL_MS);
	for (i = 0; i < GATE_BATCH_MAX; i++) {
		if (i == 7) {
			cr_assert_eq(verdicts[i].reason, REASON_INVALID_KEY);
			continue;
		}
		cr_assert_eq(verdicts[i].reason,
			     allowed < 200 ? REASON_ALLOW : REASON_RATE_LIMITED,
			     "%u", i);
		allowed += verdicts[i].reason == REASON_ALLOW;
		cr_assert_eq(verdicts[i].remaining, 200 - allowed);
	}
	cr_assert_eq(allowed, 200);
	cr_assert_eq(org_used(s, ORG_GOOD), 200);
	cr_assert_eq(key_used(s, KEY_GOOD) + key_used(s, KEY_PROJECT), 200);
	cr_assert_eq(counter_read(&s->counters.verdicts[REASON_ALLOW]), 200);
	cr_assert_eq(counter_read(&s->counters.verdicts[REASON_RATE_LIMITED]),
		     55);
	close_scene(s);
}

Test(decide, removed_key_is_unknown)
{
	struct scene *s = open_scene(5);
	uint8_t hash[32];

	sha256(s->text[KEY_GOOD], strlen(s->text[KEY_GOOD]), hash);
	cr_assert(keytable_remove(&s->table, hash, KEY_GOOD));
	cr_assert_eq(ask(s, KEY_GOOD, 1, T0).reason, REASON_INVALID_KEY);
	close_scene(s);
}

/* The probe finds the entry of whoever came first; the line tells. */
Test(decide, keys_with_equal_tags_are_told_apart)
{
	struct scene *s = open_scene(5);
	struct check c = {.credential = CREDENTIAL_HASH, .cost = 1};
	const struct key *first = &s->f.arena->keys[KEY_GOOD];
	struct key *second = make_key(s, 6, ORG_GOOD);
	struct verdict v;
	uint8_t hash[32];

	sha256(s->text[KEY_GOOD], strlen(s->text[KEY_GOOD]), hash);
	memcpy(c.hash, hash, sizeof(hash));
	v = decide(s, &c, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert(id_equal(v.key, first->id));

	hash[31] ^= 1;
	memcpy(c.hash, hash, sizeof(hash));
	v = decide(s, &c, T0);
	cr_assert_eq(v.reason, REASON_INVALID_KEY, "the tag alone says yes");

	memcpy(second->hash, hash + KEY_HASH_SKIP, sizeof(second->hash));
	cr_assert_eq(keytable_insert(&s->table, hash, 6), 0);
	v = decide(s, &c, T0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert(id_equal(v.key, second->id));
	close_scene(s);
}
