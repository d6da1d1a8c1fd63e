/* SPDX-License-Identifier: MIT */
/* Keys. */
#include "state/registry_internal.h"

#include "base/epoch.h"
#include "base/keytext.h"
#include "base/sha256.h"
#include "gate/keytable.h"
#include "state/access.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

/*
 * Inside a transaction: a row, a line in the arena, an entry in the key table.
 * All that can fail comes before the commit; until slot_publish_key() a check
 * that finds the entry refuses the key.
 */
static int insert_key(struct registry *g, struct key_record *rec)
{
	int r = registry_from_records(
		g, records_key_insert(g->records, rec, g->options.max_keys),
		"key");

	if (r != 0)
		return r;
	if (slot_setup_key(g, rec) < 0)
		return registry_fail(g, REGISTRY_FULL,
				     "the arena's tmpfs is full: enlarge it");
	r = keytable_insert(g->table, rec->hash, rec->slot);
	if (r == -ENOSPC)
		return registry_fail(g, REGISTRY_INVALID,
				     "too many hashes begin alike: they are "
				     "not SHA-256 of random keys");
	if (r < 0)
		return registry_fail(g, REGISTRY_FULL,
				     "no memory for the key table");
	return 0;
}

/* After a rollback: `count` keys that had been inserted. */
static void withdraw_keys(struct registry *g, const struct key_record *recs,
			  size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		keytable_remove(g->table, recs[i].hash, recs[i].slot);
	/* A check may be comparing with a line that the next key will use. */
	if (count > 0)
		epoch_wait(g->epoch);
}

static int make_key(struct registry *g, struct key_record *rec,
		    char text[static KEY_TEXT_MAX])
{
	int r, tries = ID_TRIES;

	rec->created_ms = registry_now_ms(g);
	rec->revoked_ms = 0;
	do {
		if (!keytext_random_id(&rec->id) ||
		    !keytext_make(&g->prefix, rec->id, text, KEY_TEXT_MAX))
			return registry_fail(g, -EIO, "no random numbers");
		sha256(text, strlen(text), rec->hash);
		r = insert_key(g, rec);
	} while (r == REGISTRY_EXISTS && --tries > 0);
	return r;
}

static int check_expiry(struct registry *g, const struct key_record *rec)
{
	if (rec->expires_ms != 0 && rec->expires_ms <= registry_now_ms(g))
		return registry_fail(g, REGISTRY_INVALID,
				     "the expiry lies in the past");
	return 0;
}

/* In the batch: what the new key may be used for. *ret_place is to be freed
 * also after a failure. */
static int insert_access(struct registry *g, uint32_t key,
			 struct access_record *access, unsigned count,
			 uint32_t *ret_place)
{
	int r = registry_access_take(g, access, count, ret_place);

	for (unsigned i = 0; i < count && r == 0; i++) {
		access[i].key = key;
		r = registry_from_records(
			g, records_access_insert(g->records, &access[i]),
			"key");
	}
	return r;
}

int registry_key_create_for(struct registry *g, struct key_record *rec,
			    struct access_record *access, unsigned count,
			    char text[static KEY_TEXT_MAX])
{
	uint32_t place = 0;
	int r = check_expiry(g, rec);

	if (r == 0)
		r = registry_begin(g, "key");
	if (r != 0)
		return r;
	rec->disabled = false;
	r = make_key(g, rec, text);
	if (r != 0) {
		records_rollback(g->records);
		goto out_wipe;
	}
	r = insert_access(g, rec->slot, access, count, &place);
	if (r != 0)
		records_rollback(g->records);
	else
		r = registry_commit(g, "key");
	if (r == 0) {
		slot_publish_key(g, rec, place);
		return 0;
	}
	withdraw_keys(g, rec, 1);
	apply_access_free(g, place);
out_wipe:
	OPENSSL_cleanse(text, KEY_TEXT_MAX);
	return r;
}

int registry_key_create(struct registry *g, struct key_record *rec,
			char text[static KEY_TEXT_MAX])
{
	return registry_key_create_for(g, rec, NULL, 0, text);
}

static int import_key(struct registry *g, struct key_record *rec)
{
	int tries = ID_TRIES, r = check_expiry(g, rec);

	if (r != 0)
		return r;
	rec->created_ms = registry_now_ms(g);
	rec->revoked_ms = 0;
	rec->disabled = false;
	/* "Taken" may mean the id: among a million that happens. */
	do {
		if (!keytext_random_id(&rec->id))
			return registry_fail(g, -EIO, "no random numbers");
		r = insert_key(g, rec);
	} while (r == REGISTRY_EXISTS && --tries > 0);
	return r;
}

int registry_key_import(struct registry *g, struct key_record *recs,
			size_t count, size_t *ret_bad)
{
	size_t i, done = 0;
	int r = registry_begin(g, "key");

	*ret_bad = 0;
	if (r != 0)
		return r;
	for (; r == 0 && done < count; done += r == 0) {
		*ret_bad = done;
		r = import_key(g, &recs[done]);
	}
	if (r == 0)
		r = registry_commit(g, "key");
	else
		records_rollback(g->records);
	if (r != 0)
		withdraw_keys(g, recs, done);
	for (i = 0; r == 0 && i < count; i++)
		slot_publish_key(g, &recs[i], 0);
	return r;
}

/* No check that starts later passes with it; its access is free. */
static void retire_key(struct registry *g, const struct key_record *rec)
{
	uint32_t access = apply_key_state(g, rec->slot, SLOT_REVOKED, 0);

	keytable_remove(g->table, rec->hash, rec->slot);
	epoch_wait(g->epoch);
	apply_access_free(g, access);
}

int registry_key_revoke(struct registry *g, const char *id,
			struct key_record *ret_rec)
{
	int r = registry_from_records(
		g, records_key_find(g->records, id, ret_rec), "key");

	if (r != 0)
		return r;
	if (ret_rec->revoked_ms == 0) {
		ret_rec->revoked_ms = registry_now_ms(g);
		r = registry_begin(g, "key");
		if (r == 0)
			r = registry_finish(
				g,
				records_key_revoke(g->records, ret_rec->slot,
						   ret_rec->revoked_ms),
				"key");
		if (r != 0)
			return r;
	}
	retire_key(g, ret_rec);
	return 0;
}

int registry_key_set_disabled(struct registry *g, const char *id, bool disabled,
			      struct key_record *ret_rec)
{
	half_t *word;
	uint32_t access;
	int r = registry_from_records(
		g, records_key_find(g->records, id, ret_rec), "key");

	if (r != 0)
		return r;
	if (ret_rec->revoked_ms != 0)
		return registry_fail(g, REGISTRY_REVOKED, "the key is revoked");
	r = registry_begin(g, "key");
	if (r == 0)
		r = registry_finish(g,
				    records_key_set_disabled(g->records,
							     ret_rec->slot,
							     disabled),
				    "key");
	if (r != 0)
		return r;
	ret_rec->disabled = disabled;
	word = &g->arena->keys[ret_rec->slot].state;
	/* PAIRS: nothing; only this thread stores it. */
	access = KEY_ACCESS(atomic_load_explicit(word, memory_order_relaxed));
	slot_publish_key(g, ret_rec, access);
	epoch_wait(g->epoch);
	return 0;
}

int registry_key_rotate(struct registry *g, const char *id, uint64_t grace_ms,
			struct key_record *ret_old, struct key_record *ret_new,
			char text[static KEY_TEXT_MAX])
{
	int64_t now = registry_now_ms(g);
	struct key_access access = {.count = 0};
	uint32_t place = 0;
	int r = registry_from_records(
		g, records_key_find(g->records, id, ret_old), "key");

	if (r != 0)
		return r;
	if (grace_ms > (uint64_t)(INT64_MAX - now))
		return registry_fail(g, REGISTRY_INVALID,
				     "the grace period is too long");
	if (ret_old->revoked_ms != 0 ||
	    (ret_old->expires_ms != 0 && ret_old->expires_ms <= now))
		return registry_fail(
			g, REGISTRY_REVOKED,
			"the key is revoked or expired; create a new "
			"one");
	*ret_new = *ret_old;
	r = registry_key_access(g, ret_old, &access);
	if (r == 0)
		r = registry_begin(g, "key");
	if (r != 0)
		return r;
	r = make_key(g, ret_new, text);
	if (r != 0) {
		records_rollback(g->records);
		goto out_wipe;
	}
	r = insert_access(g, ret_new->slot, access.at, access.count, &place);
	if (r == 0 && ret_old->disabled)
		r = registry_from_records(
			g,
			records_key_set_disabled(g->records, ret_new->slot,
						 true),
			"key");
	if (r != 0) {
		records_rollback(g->records);
		goto out_withdraw;
	}
	if (grace_ms == 0) {
		ret_old->revoked_ms = now;
		r = records_key_revoke(g->records, ret_old->slot, now);
	} else if (ret_old->expires_ms == 0 ||
		   ret_old->expires_ms - now > (int64_t)grace_ms) {
		ret_old->expires_ms = now + (int64_t)grace_ms;
		r = records_key_set_expiry(g->records, ret_old->slot,
					   ret_old->expires_ms);
	}
	r = registry_from_records(g, r, "key");
	if (r != 0) {
		records_rollback(g->records);
		goto out_withdraw;
	}
	r = registry_commit(g, "key");
	if (r != 0)
		goto out_withdraw;
	slot_publish_key(g, ret_new, place);
	slot_set_word(&g->arena->keys[ret_old->slot].expires_ms,
		      (uint64_t)ret_old->expires_ms);
	if (ret_old->revoked_ms != 0)
		retire_key(g, ret_old);
	else
		epoch_wait(g->epoch);
	return 0;
out_withdraw:
	withdraw_keys(g, ret_new, 1);
	apply_access_free(g, place);
out_wipe:
	OPENSSL_cleanse(text, KEY_TEXT_MAX);
	return r;
}

void registry_key_live(struct registry *g, uint32_t slot,
		       struct key_live *ret_live)
{
	struct key *key = &g->arena->keys[slot];

	ret_live->used = USED_UNITS(claim_load(&key->used));
	/* PAIRS: touch() in gate/decide.c, relaxed: a coarse time. */
	ret_live->last_use_min =
		atomic_load_explicit(&key->last_use_min, memory_order_relaxed);
}
