/* SPDX-License-Identifier: MIT */
/*
 * Collecting goes in batches, so that memory is bounded: a batch is what up to
 * USAGE_BATCH keys have grown by, one transaction, then the stores to the
 * arena. At the turn of an hour a key beyond the first batch is read after
 * that has been written.
 *
 * A transaction replaces the marks of the one before, whose words the arena
 * has by then. It is made when there is something to write, and once an hour,
 * so that the database knows which hour pending differences belong to.
 */
#include "state/usage.h"

#include "base/epoch.h"
#include "base/log.h"
#include "gate/claim.h"
#include "state/arena.h"
#include "state/usage_cells.h"
#include "state/usage_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void enter(struct epoch_reader *reader)
{
	if (reader != NULL)
		epoch_enter(reader);
}

static void leave(struct epoch_reader *reader)
{
	if (reader != NULL)
		epoch_leave(reader);
}

/* ---- keys ---- */

void usage_find_subject(const struct arena *a, uint32_t slot,
			struct usage_subject *ret_subject)
{
	const struct key *key = &a->keys[slot];

	*ret_subject = (struct usage_subject){.org = a->orgs[key->org].id,
					      .key = key->id};
	if (key->project != 0)
		ret_subject->project = a->projects[key->project].id;
}

void usage_find_key(const struct arena *a, uint32_t slot, struct usage_batch *b)
{
	const struct key *key = &a->keys[slot];
	struct usage_change *c;
	uint64_t from, used;

	/* PAIRS: set_state() in registry_slots.c, release: ids and slots beside
	 * it are those of the key. */
	if (KEY_STATE(atomic_load_explicit(&key->state,
					   memory_order_acquire)) == SLOT_FREE)
		return;
	used = claim_load(&key->used);
	/* PAIRS: usage_settle(): this thread's own word, or under the mutex. */
	from = atomic_load_explicit(&key->collected, memory_order_relaxed);
	if (used == from)
		return;
	c = &b->changes[b->count++];
	*c = (struct usage_change){
		.slot = slot, .used = used, .rest = used_between(from, used)};
	usage_find_subject(a, slot, &c->subject);
}

/* The differences of keys from `slot` on. Returns where to go on; 0: the end.
 */
static uint32_t scan_keys(struct usage *u, struct epoch_reader *reader,
			  uint32_t slot)
{
	uint32_t end = slots_read(&u->arena->header->key_slots);

	u->batch.count = 0;
	while (slot < end) {
		uint32_t stop =
			end - slot > USAGE_STRETCH ? slot + USAGE_STRETCH : end;

		if (USAGE_BATCH - u->batch.count < USAGE_STRETCH)
			return slot;
		enter(reader);
		for (; slot < stop; slot++)
			usage_find_key(u->arena, slot, &u->batch);
		leave(reader);
	}
	return 0;
}

/* ---- a batch ---- */

static int add_row(struct usage *u, int64_t hour, const struct usage_subject *s,
		   const char *route, const struct usage_sums *sums)
{
	usage_bind_row(u->st[USAGE_ADD], hour, s, route, sums);
	return usage_db_run(u, USAGE_ADD);
}

static int write_key(struct usage *u, int64_t hour,
		     const struct usage_change *c)
{
	sqlite3_stmt *st = u->st[USAGE_MARK];
	const struct usage_sums sums = {.checks = USED_CHECKS(c->rest),
					.units = USED_UNITS(c->rest)};
	int r = 0;

	if (c->rest != 0)
		r = add_row(u, hour, &c->subject, "", &sums);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, c->slot);
	sqlite3_bind_text(st, 2, c->subject.key.c, ID_LEN, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, (int64_t)c->used);
	return usage_db_run(u, USAGE_MARK);
}

static int write_cell(struct usage *u, int64_t hour,
		      const struct usage_cell_change *c)
{
	sqlite3_stmt *st = u->st[USAGE_CELL_MARK];
	int r = add_row(u, hour, &c->subject, c->route, &c->sums);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, c->entry);
	sqlite3_bind_int64(st, 2, (int64_t)c->owner);
	sqlite3_bind_int64(st, 3, (int64_t)c->used);
	sqlite3_bind_int64(st, 4, (int64_t)c->returned);
	sqlite3_bind_blob(st, 5, c->denied, sizeof(c->denied), SQLITE_STATIC);
	return usage_db_run(u, USAGE_CELL_MARK);
}

static void rollback(struct usage *u)
{
	/* The error that led here stays; SQLite may have rolled back already.
	 */
	if (!sqlite3_get_autocommit(u->db))
		(void)sqlite3_step(u->st[USAGE_ROLLBACK]);
	(void)sqlite3_reset(u->st[USAGE_ROLLBACK]);
}

int64_t usage_hour_found(int64_t since_ms, int64_t now_ms)
{
	return usage_hour(since_ms < now_ms ? since_ms : now_ms);
}

static int write_batch(struct usage *u, int64_t now_ms)
{
	int64_t hour = usage_hour_found(u->since_ms, now_ms);
	int r = usage_db_run(u, USAGE_MARKS_GONE);

	if (r == 0)
		r = usage_db_run(u, USAGE_CELL_MARKS_GONE);
	for (uint32_t i = 0; r == 0 && i < u->batch.count; i++)
		r = write_key(u, hour, &u->batch.changes[i]);
	for (uint32_t i = 0; r == 0 && i < u->batch.cell_count; i++)
		r = write_cell(u, hour, &u->batch.cells[i]);
	return r;
}

int usage_write(struct usage *u, struct epoch_reader *reader, int64_t now_ms,
		uint32_t *slot)
{
	uint32_t next = scan_keys(u, reader, *slot);
	int r;

	u->batch.cell_count = 0;
	(void)usage_cells_scan(u, &u->batch, reader, UINT32_MAX);
	if (u->batch.count == 0 && u->batch.cell_count == 0 &&
	    usage_hour(now_ms) == u->written_hour) {
		*slot = next;
		return 1;
	}
	r = usage_db_run(u, USAGE_BEGIN);
	if (r < 0)
		return r;
	r = write_batch(u, now_ms);
	/* Of the last batch: others are still in the same hour. */
	if (r == 0 && next == 0)
		r = usage_db_since(u, now_ms);
	if (r < 0) {
		rollback(u);
		return r;
	}
	*slot = next;
	return 0;
}

int usage_commit(struct usage *u)
{
	int r = usage_db_run(u, USAGE_COMMIT);

	/* It may have been written all the same, where only the fsync failed:
	 * the marks know, for whoever opens it next. */
	if (r < 0)
		usage_db_close(u);
	return r;
}

void usage_settle(struct usage *u)
{
	for (uint32_t i = 0; i < u->batch.count; i++)
		/* PAIRS: nothing. The snapshot thread alone writes it; readers
		 * hold the mutex, which orders it for them. */
		atomic_store_explicit(
			&u->arena->keys[u->batch.changes[i].slot].collected,
			u->batch.changes[i].used, memory_order_relaxed);
	for (uint32_t i = 0; i < u->batch.cell_count; i++) {
		const struct usage_cell_change *c = &u->batch.cells[i];

		/* PAIRS: usage_cell_at_rest(), acquire: for who finds it at
		 * rest the rows have it. */
		atomic_store_explicit(&c->cell->collected_used, c->used,
				      memory_order_release);
		atomic_store_explicit(&c->cell->collected_returned, c->returned,
				      memory_order_release);
		for (int d = 0; d < DENIAL_COUNT; d++)
			atomic_store_explicit(&c->cell->collected_denied[d],
					      c->denied[d],
					      memory_order_release);
	}
}

/* ---- old rows ---- */

static int prune(struct usage *u, int64_t now_ms)
{
	sqlite3_stmt *st = u->st[USAGE_PRUNE];
	int64_t before = usage_hour(now_ms - (int64_t)u->retention_ms);
	int r = 0, rows = USAGE_PRUNE_ROWS;

	for (int i = 0;
	     i < USAGE_PRUNE_TIMES && r == 0 && rows == USAGE_PRUNE_ROWS; i++) {
		sqlite3_bind_int64(st, 1, before);
		sqlite3_bind_int64(st, 2, USAGE_PRUNE_ROWS);
		r = usage_db_run(u, USAGE_PRUNE);
		rows = r == 0 ? sqlite3_changes(u->db) : 0;
		pthread_mutex_lock(&u->mutex);
		u->status.pruned += (uint64_t)rows;
		pthread_mutex_unlock(&u->mutex);
	}
	return r;
}

/* ---- the calls ---- */

static int collect_batch(struct usage *u, struct epoch_reader *reader,
			 int64_t now_ms, uint32_t *slot)
{
	int r = usage_write(u, reader, now_ms, slot);

	if (r == 0) {
		pthread_mutex_lock(&u->mutex);
		r = usage_commit(u);
		if (r == 0) {
			usage_settle(u);
			u->status.rows += u->batch.count + u->batch.cell_count;
		}
		pthread_mutex_unlock(&u->mutex);
		if (r == 0 && *slot == 0)
			u->written_hour = usage_hour(now_ms);
	}
	return r < 0 ? r : 0;
}

static int collect(struct usage *u, struct epoch_reader *reader, int64_t now_ms)
{
	uint32_t slot = 1;
	int r = u->db == NULL ? usage_db_open(u, now_ms) : 0;

	while (r == 0 && slot != 0)
		r = collect_batch(u, reader, now_ms, &slot);
	if (r < 0)
		return r;
	u->since_ms = now_ms;
	return u->retention_ms != 0 ? prune(u, now_ms) : 0;
}

#define TELL_MS 60000 /* between two lines about a failure that goes on */

static void tell(struct usage *u, int r, int64_t now_ms)
{
	char quoted[2 * USAGE_ERROR_MAX];

	if (r < 0 && (u->told_ms == 0 || now_ms - u->told_ms >= TELL_MS ||
		      now_ms < u->told_ms)) {
		log_event(LOG_LEVEL_ERROR, "usage_failed", "error=%s",
			  log_quote(u->error, quoted, sizeof(quoted)));
		u->told_ms = now_ms;
	} else if (r == 0 && u->told_ms != 0) {
		log_event(LOG_LEVEL_INFO, "usage_collected", "failures=%llu",
			  (unsigned long long)u->status.failures);
		u->told_ms = 0;
	}
}

static int report(struct usage *u, int r, int64_t now_ms)
{
	tell(u, r, now_ms);
	pthread_mutex_lock(&u->mutex);
	if (r < 0) {
		u->status.failures++;
		memcpy(u->status.error, u->error, sizeof(u->error));
	} else {
		u->status.collections++;
		u->status.last_ms = now_ms;
		u->status.error[0] = '\0';
	}
	pthread_mutex_unlock(&u->mutex);
	return r;
}

int usage_collect(struct usage *u, struct epoch_reader *reader, int64_t now_ms)
{
	int r = collect(u, reader, now_ms);

	/* What cannot be read is looked at anew: somebody may put it right. */
	if (u->db != NULL && (r == -EBADMSG || r == -EIO))
		usage_db_close(u);
	return report(u, r, now_ms);
}

void usage_status(struct usage *u, struct usage_status *ret_status)
{
	pthread_mutex_lock(&u->mutex);
	*ret_status = u->status;
	pthread_mutex_unlock(&u->mutex);
}

/* Marks name keys of the arena: its pages have to be there. */
static int reserve(struct usage *u)
{
	return arena_reserve(
		u->file, REGION_KEYS,
		(uint64_t)slots_read(&u->arena->header->key_slots) *
			sizeof(struct key));
}

int usage_open(struct usage **ret_usage, const struct usage_options *o,
	       int64_t now_ms)
{
	struct usage *u = calloc(1, sizeof(*u));
	int n;

	if (u == NULL)
		return -ENOMEM;
	u->file = o->arena;
	u->arena = &o->arena->arena;
	u->fresh = o->fresh;
	u->retention_ms = o->retention_ms;
	u->routes = o->routes;
	u->batch.changes = calloc(USAGE_BATCH, sizeof(*u->batch.changes));
	u->batch.cells = calloc(USAGE_CELL_BATCH, sizeof(*u->batch.cells));
	n = snprintf(u->path, sizeof(u->path), "%s/%s", o->state_dir,
		     USAGE_FILE);
	if (u->batch.changes == NULL || u->batch.cells == NULL || n < 0 ||
	    (size_t)n >= sizeof(u->path)) {
		n = n >= 0 && (size_t)n < sizeof(u->path) ? -ENOMEM
							  : -ENAMETOOLONG;
		usage_close(u);
		return n;
	}
	pthread_mutex_init(&u->mutex, NULL);
	if (reserve(u) == 0) {
		n = usage_db_open(u, now_ms);
		if (n < 0)
			(void)report(u, n, now_ms);
	}
	if (u->since_ms == 0)
		u->since_ms = now_ms;
	*ret_usage = u;
	return 0;
}

void usage_forget(struct usage *u)
{
	if (u->db == NULL)
		u->fresh = true;
}

struct usage *usage_close(struct usage *u)
{
	usage_db_close(u);
	free(u->batch.changes);
	free(u->batch.cells);
	free(u);
	return NULL;
}
