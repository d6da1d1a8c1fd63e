/* SPDX-License-Identifier: MIT */
/* Keys. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"
#include "base/sha256.h"
#include "gate/keytable.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

/* Inside a transaction: a row, a line in the arena. Not yet published. */
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
	return 0;
}

static int publish_key(struct registry *g, const struct key_record *rec)
{
	int r = keytable_insert(g->table, rec->hash, rec->slot);

	if (r < 0)
		return registry_fail(g, r,
				     "the key is recorded but cannot be "
				     "served: no memory for the key table; "
				     "restart with more memory");
	return 0;
}

static int make_key(struct registry *g, struct key_record *rec,
		    char text[static KEY_TEXT_MAX])
{
	int r, tries = ID_TRIES;

	rec->created_ms = (int64_t)clock_wall_ms();
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
	if (rec->expires_ms != 0 && rec->expires_ms <= (int64_t)clock_wall_ms())
		return registry_fail(g, REGISTRY_INVALID,
				     "the expiry lies in the past");
	return 0;
}

int registry_key_create(struct registry *g, struct key_record *rec,
			char text[static KEY_TEXT_MAX])
{
	int r = check_expiry(g, rec);

	if (r != 0)
		return r;
	r = records_begin(g->records);
	if (r < 0)
		return registry_from_records(g, r, "key");
	r = make_key(g, rec, text);
	if (r != 0) {
		records_rollback(g->records);
		goto out_wipe;
	}
	r = registry_from_records(g, records_commit(g->records), "key");
	if (r == 0)
		r = publish_key(g, rec);
	if (r == 0)
		return 0;
out_wipe:
	OPENSSL_cleanse(text, KEY_TEXT_MAX);
	return r;
}

int registry_key_import(struct registry *g, struct key_record *recs,
			size_t count, size_t *ret_bad)
{
	size_t i;
	int r = records_begin(g->records);

	*ret_bad = 0;
	if (r < 0)
		return registry_from_records(g, r, "key");
	for (i = 0; i < count; i++) {
		*ret_bad = i;
		r = check_expiry(g, &recs[i]);
		if (r != 0)
			goto out_rollback;
		recs[i].created_ms = (int64_t)clock_wall_ms();
		recs[i].revoked_ms = 0;
		if (!keytext_random_id(&recs[i].id)) {
			r = registry_fail(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = insert_key(g, &recs[i]);
		if (r != 0)
			goto out_rollback;
	}
	r = registry_from_records(g, records_commit(g->records), "key");
	for (i = 0; r == 0 && i < count; i++) {
		*ret_bad = i;
		r = publish_key(g, &recs[i]);
	}
	return r;
out_rollback:
	records_rollback(g->records);
	return r;
}

int registry_key_revoke(struct registry *g, const char *id,
			struct key_record *ret_rec)
{
	int r = registry_from_records(
		g, records_key_find(g->records, id, ret_rec), "key");

	if (r != 0)
		return r;
	if (ret_rec->revoked_ms == 0) {
		ret_rec->revoked_ms = (int64_t)clock_wall_ms();
		r = registry_from_records(
			g,
			records_key_revoke(g->records, ret_rec->slot,
					   ret_rec->revoked_ms),
			"key");
		if (r != 0)
			return r;
	}
	slot_set_half(&g->arena->keys[ret_rec->slot].state, SLOT_REVOKED);
	keytable_remove(g->table, ret_rec->hash, ret_rec->slot);
	epoch_wait(g->epoch);
	return 0;
}

int registry_key_rotate(struct registry *g, const char *id, uint64_t grace_ms,
			struct key_record *ret_old, struct key_record *ret_new,
			char text[static KEY_TEXT_MAX])
{
	int64_t now = (int64_t)clock_wall_ms();
	int r = registry_from_records(
		g, records_key_find(g->records, id, ret_old), "key");

	if (r != 0)
		return r;
	if (ret_old->revoked_ms != 0 ||
	    (ret_old->expires_ms != 0 && ret_old->expires_ms <= now))
		return registry_fail(
			g, REGISTRY_REVOKED,
			"the key is revoked or expired; create a new "
			"one");
	*ret_new = *ret_old;
	r = records_begin(g->records);
	if (r < 0)
		return registry_from_records(g, r, "key");
	r = make_key(g, ret_new, text);
	if (r != 0)
		goto out_rollback;
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
	if (r != 0)
		goto out_rollback;
	r = registry_from_records(g, records_commit(g->records), "key");
	if (r == 0)
		r = publish_key(g, ret_new);
	if (r != 0)
		goto out_wipe;
	slot_set_word(&g->arena->keys[ret_old->slot].expires_ms,
		      (uint64_t)ret_old->expires_ms);
	if (ret_old->revoked_ms != 0) {
		slot_set_half(&g->arena->keys[ret_old->slot].state,
			      SLOT_REVOKED);
		keytable_remove(g->table, ret_old->hash, ret_old->slot);
	}
	epoch_wait(g->epoch);
	return 0;
out_rollback:
	records_rollback(g->records);
out_wipe:
	OPENSSL_cleanse(text, KEY_TEXT_MAX);
	return r;
}

void registry_key_live(struct registry *g, uint32_t slot,
		       struct key_live *ret_live)
{
	struct key *key = &g->arena->keys[slot];

	ret_live->used = claim_load(&key->used);
	/* PAIRS: touch() in gate/decide.c, relaxed: a coarse time. */
	ret_live->last_use_min =
		atomic_load_explicit(&key->last_use_min, memory_order_relaxed);
}
