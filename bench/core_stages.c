/* SPDX-License-Identifier: MIT */
#include "core_stages.h"

#include "base/clock.h"

#include <assert.h>
#include <string.h>

#define PROBE_BATCH CORE_FETCH_MAX

static struct instant now_of(const struct core_thread *t)
{
	return t->stage->denied ? t->world->full_at : instant_now();
}

static bool hash_chunk(struct core_thread *t)
{
	bool right = true;

	for (uint32_t i = 0; i < CORE_CHUNK; i++) {
		const struct core_key *k = core_next_key(t);
		uint8_t hash[SHA256_BYTES];

		sha256(k->text, sizeof(k->text), hash);
		right &= memcmp(hash, k->hash, 8) == 0;
	}
	return right;
}

static bool siphash_chunk(struct core_thread *t)
{
	bool right = true;

	for (uint32_t i = 0; i < CORE_CHUNK; i++) {
		const struct core_key *k = core_next_key(t);
		struct memo_name name =
			memo_name(&t->world->memo, k->text, sizeof(k->text));

		right &= (name.low | name.high) != 0;
	}
	return right;
}

/* What hash_chunk() does, with a memo of every key. */
static bool memo_chunk(struct core_thread *t)
{
	const struct memo *m = &t->world->memo;
	uint32_t batch = t->stage->batch;
	const struct core_key *keys[PROBE_BATCH];
	struct memo_name names[PROBE_BATCH];
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done += batch) {
		for (uint32_t i = 0; i < batch; i++) {
			const struct core_key *k = keys[i] = core_next_key(t);

			names[i] = memo_name(m, k->text, sizeof(k->text));
			__builtin_prefetch(memo_place(m, names[i]));
		}
		for (uint32_t i = 0; i < batch; i++) {
			uint8_t hash[SHA256_BYTES];

			memo_hash(m, names[i], keys[i]->text,
				  sizeof(keys[i]->text), hash);
			right &= memcmp(hash, keys[i]->hash, 8) == 0;
		}
	}
	return right;
}

static bool keytext_chunk(struct core_thread *t)
{
	bool right = true;

	for (uint32_t i = 0; i < CORE_CHUNK; i++) {
		const struct core_key *k = core_next_key(t);

		right &= keytext_classify(&t->gate.prefix, k->text,
					  sizeof(k->text)) == KEYTEXT_OURS;
	}
	return right;
}

/* As gate/decide does it: the likely slot, and the whole search for the few
 * keys that share their tag with another one. */
static bool found(const struct core_thread *t,
		  const struct keytable_level *level, const struct core_key *k,
		  uint32_t slot)
{
	const struct key *keys = t->gate.arena->keys;

	if (unlikely(!keytable_match(&keys[slot], k->hash)))
		slot = keytable_find(level, keys, k->hash);
	return slot == k->slot;
}

static bool probe_chunk(struct core_thread *t)
{
	const struct keytable_level *level = keytable_level(&t->world->table);
	bool right = true;

	for (uint32_t i = 0; i < CORE_CHUNK; i++) {
		const struct core_key *k = core_next_key(t);

		right &= found(t, level, k, keytable_probe(level, k->hash));
	}
	return right;
}

/* The same in steps, as gate/decide does it. */
static bool probe_batch_chunk(struct core_thread *t)
{
	const struct keytable_level *level = keytable_level(&t->world->table);
	const struct core_key *keys[PROBE_BATCH];
	uint32_t slots[PROBE_BATCH];
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done += PROBE_BATCH) {
		for (uint32_t i = 0; i < PROBE_BATCH; i++) {
			keys[i] = core_next_key(t);
			keytable_prefetch(level, keys[i]->hash);
		}
		for (uint32_t i = 0; i < PROBE_BATCH; i++) {
			slots[i] = keytable_probe(level, keys[i]->hash);
			__builtin_prefetch(&t->gate.arena->keys[slots[i]]);
		}
		for (uint32_t i = 0; i < PROBE_BATCH; i++)
			right &= found(t, level, keys[i], slots[i]);
	}
	return right;
}

static bool window_chunk(struct core_thread *t)
{
	struct arena *a = t->gate.arena;
	bool right = true;
	struct instant now = now_of(t);
	struct step *s = &t->gate.step;
	struct verdict verdict;

	for (uint32_t i = 0; i < CORE_CHUNK; i++) {
		const struct core_key *k = core_next_key(t);
		struct plain_ask ask = {&a->keys[k->slot], &verdict, 1};

		s->org = &a->orgs[k->org];
		s->plan = plan_of(a, s->org);
		if (i % CORE_INSTANT == 0)
			now = now_of(t);
		right &= plain_run(s, &ask, 1, &now) ==
			 (t->stage->denied ? PLAIN_DENIED : PLAIN_ALLOWED);
	}
	return right;
}

static void ask(const struct core_thread *t, const struct core_key *k,
		struct check *c)
{
	memset(c, 0, sizeof(*c));
	c->cost = 1;
	if (t->stage->hashed) {
		c->credential = CREDENTIAL_HASH;
		memcpy(c->hash, k->hash, sizeof(c->hash));
	} else {
		c->credential = CREDENTIAL_KEY;
		c->key = k->text;
		c->key_len = sizeof(k->text);
	}
}

static bool decide_chunk(struct core_thread *t)
{
	uint8_t reason = t->stage->denied ? REASON_RATE_LIMITED : REASON_ALLOW;
	uint32_t batch = t->stage->batch;
	struct instant now;
	bool right = true;

	for (uint32_t done = 0; done < CORE_CHUNK; done += batch) {
		for (uint32_t i = 0; i < batch; i++)
			ask(t, core_next_key(t), &t->checks[i]);
		now = now_of(t);
		gate_decide(&t->gate, t->checks, t->verdicts, batch, &now,
			    t->wall_ms);
		for (uint32_t i = 0; i < batch; i++)
			right &= t->verdicts[i].reason == reason;
	}
	return right;
}

/* Those that need full windows come last: filling them is done once. */
const struct core_stage core_stages[] = {
	{"keytext", keytext_chunk, true, false, false, .batch = 1},
	{"sha256", hash_chunk, true, false, false, .batch = 1},
	{"sha256", hash_chunk, false, false, false, .batch = 1},
	{"siphash", siphash_chunk, true, false, false, .batch = 1},
	{"memo", memo_chunk, true, false, false, .batch = 1},
	{"memo", memo_chunk, true, false, false, .batch = PROBE_BATCH},
	{"memo", memo_chunk, false, false, false, .batch = 1},
	{"memo", memo_chunk, false, false, false, .batch = PROBE_BATCH},
	{"key table", probe_chunk, true, true, false, .batch = 1},
	{"key table", probe_chunk, false, true, false, .batch = 1},
	{"key table", probe_batch_chunk, false, true, false,
	 .batch = PROBE_BATCH},
	{"window, allowed", window_chunk, true, true, false, .batch = 1},
	{"window, allowed", window_chunk, false, true, false, .batch = 1},
	{"claim, 1", claim_chunk, true, true, false, .batch = 1, .words = 1,
	 .plan = CORE_PLANS},
	{"claim, 1", claim_chunk, false, true, false, .batch = 1, .words = 1,
	 .plan = CORE_PLANS},
	{"claim, 1", claim_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 1, .plan = CORE_PLANS},
	{"claim, 3", claim_chunk, true, true, false, .batch = 1, .words = 3,
	 .plan = CORE_PLANS},
	{"claim, 3", claim_chunk, false, true, false, .batch = 1, .words = 3,
	 .plan = CORE_PLANS},
	{"claim, 3", claim_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 3, .plan = CORE_PLANS},
	{"claim, 6", claim_chunk, true, true, false, .batch = 1, .words = 6,
	 .plan = CORE_PLANS},
	{"claim, 6", claim_chunk, false, true, false, .batch = 1, .words = 6,
	 .plan = CORE_PLANS},
	{"claim, 6", claim_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 6, .plan = CORE_PLANS},
	{"bare, 1 GCRA", bare_chunk, true, true, false, .batch = 1, .words = 1,
	 .plan = CORE_GCRA_1},
	{"bare, 3 GCRA", bare_chunk, true, true, false, .batch = 1, .words = 3,
	 .plan = CORE_GCRA_3},
	{"bare, 6 GCRA", bare_chunk, true, true, false, .batch = 1, .words = 6,
	 .plan = CORE_GCRA_6},
	{"rules, 1", rules_chunk, true, true, false, .batch = 1, .words = 1,
	 .plan = CORE_MIXED_1},
	{"rules, 1", rules_chunk, false, true, false, .batch = 1, .words = 1,
	 .plan = CORE_MIXED_1},
	{"rules, 1", rules_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 1, .plan = CORE_MIXED_1},
	{"rules, 3", rules_chunk, true, true, false, .batch = 1, .words = 3,
	 .plan = CORE_MIXED_3},
	{"rules, 3", rules_chunk, false, true, false, .batch = 1, .words = 3,
	 .plan = CORE_MIXED_3},
	{"rules, 3", rules_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 3, .plan = CORE_MIXED_3},
	{"rules, 6", rules_chunk, true, true, false, .batch = 1, .words = 6,
	 .plan = CORE_MIXED_6},
	{"rules, 6", rules_chunk, false, true, false, .batch = 1, .words = 6,
	 .plan = CORE_MIXED_6},
	{"rules, 6", rules_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 6, .plan = CORE_MIXED_6},
	{"rules, 1 GCRA", rules_chunk, true, true, false, .batch = 1,
	 .words = 1, .plan = CORE_GCRA_1},
	{"rules, 1 GCRA", rules_chunk, false, true, false, .batch = 1,
	 .words = 1, .plan = CORE_GCRA_1},
	{"rules, 1 GCRA", rules_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 1, .plan = CORE_GCRA_1},
	{"rules, 3 GCRA", rules_chunk, true, true, false, .batch = 1,
	 .words = 3, .plan = CORE_GCRA_3},
	{"rules, 3 GCRA", rules_chunk, false, true, false, .batch = 1,
	 .words = 3, .plan = CORE_GCRA_3},
	{"rules, 3 GCRA", rules_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 3, .plan = CORE_GCRA_3},
	{"rules, 6 GCRA", rules_chunk, true, true, false, .batch = 1,
	 .words = 6, .plan = CORE_GCRA_6},
	{"rules, 6 GCRA", rules_chunk, false, true, false, .batch = 1,
	 .words = 6, .plan = CORE_GCRA_6},
	{"rules, 6 GCRA", rules_chunk, false, true, false, .batch = PROBE_BATCH,
	 .words = 6, .plan = CORE_GCRA_6},
	{"rules, 3 GCRA", rules_chunk, true, true, false, .batch = PROBE_BATCH,
	 .words = 3, .plan = CORE_GCRA_3},
	{"rules, 6", rules_chunk, true, true, false, .batch = PROBE_BATCH,
	 .words = 6, .plan = CORE_MIXED_6},
	{"rules, 6 levels", rules_chunk, true, true, false, .batch = 1,
	 .words = 6, .plan = CORE_LEVELS_6},
	{"rules, 6 budget", rules_chunk, true, true, false, .batch = 1,
	 .words = 6, .plan = CORE_MIXED_6, .budget = true},
	{"rules, 6 credits", rules_chunk, true, true, false, .batch = 1,
	 .words = 6, .plan = CORE_MIXED_6, .credits = true},
	{"decide, raw", decide_chunk, true, false, false, .batch = 1},
	{"decide, raw", decide_chunk, true, false, false, .batch = 32},
	{"decide, raw", decide_chunk, true, false, false, .batch = 256},
	{"decide, raw", decide_chunk, false, false, false, .batch = 1},
	{"decide, raw", decide_chunk, false, false, false, .batch = 8},
	{"decide, raw", decide_chunk, false, false, false, .batch = 32},
	{"decide, raw", decide_chunk, false, false, false, .batch = 256},
	{"decide, hashed", decide_chunk, true, true, false, .batch = 1},
	{"decide, hashed", decide_chunk, true, true, false, .batch = 32},
	{"decide, hashed", decide_chunk, true, true, false, .batch = 256},
	{"decide, hashed", decide_chunk, false, true, false, .batch = 1},
	{"decide, hashed", decide_chunk, false, true, false, .batch = 8},
	{"decide, hashed", decide_chunk, false, true, false, .batch = 32},
	{"decide, hashed", decide_chunk, false, true, false, .batch = 256},
	{"window, denied", window_chunk, true, true, true, .batch = 1},
	{"window, denied", window_chunk, false, true, true, .batch = 1},
	{"decide, denied", decide_chunk, true, true, true, .batch = 32},
	{"decide, denied", decide_chunk, false, true, true, .batch = 32},
};
const size_t core_stages_count = sizeof(core_stages) / sizeof(core_stages[0]);
static_assert(CORE_CHUNK % GATE_BATCH_MAX == 0, "whole batches");
static_assert(CORE_RULES_KEYS <= CORE_HOT_KEYS, "the hot one has so many");

int core_stage_reference(const struct core_stage *s)
{
	if (s->chunk != rules_chunk && s->chunk != bare_chunk)
		return -1;
	for (size_t i = 0; i < core_stages_count; i++) {
		const struct core_stage *r = &core_stages[i];

		if (r->chunk == claim_chunk && r->hot == s->hot &&
		    r->batch == s->batch && r->words == s->words)
			return (int)i;
	}
	return -1;
}

void core_thread_init(struct core_thread *t, struct core_world *w,
		      const struct core_stage *stage, uint32_t idx,
		      uint32_t count)
{
	memset(t, 0, sizeof(*t));
	t->stage = stage;
	t->world = w;
	t->keys = core_world_keys(w, stage->hot);
	t->key_count = core_world_key_count(w, stage->hot);
	if (stage->hot && stage->words > 0)
		t->key_count = CORE_RULES_KEYS;
	t->at = (uint32_t)((uint64_t)t->key_count * idx / count);
	t->wall_ms = clock_wall_ms();
	gate_init(&t->gate, &w->file.arena, &w->table, &w->prefix, idx,
		  &t->counters);
}
