/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_USAGE_INTERNAL_H
#define STILE_STATE_USAGE_INTERNAL_H

/*
 * state/usage_internal - what usage.c (collecting), usage_db.c (the file),
 * usage_cells.c (routes) and usage_read.c (reading) share. Nobody else
 * includes it but their tests.
 */
#include "base/id.h"
#include "state/usage.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>

#define USAGE_APPLICATION_ID 0x53544955 /* "STIU" */
#define USAGE_VERSION 1
#define USAGE_BUSY_MS 250 /* wait for a lock that a tool holds */

enum usage_statement {
	USAGE_BEGIN,
	USAGE_COMMIT,
	USAGE_ROLLBACK,
	USAGE_ADD,        /* hour, org, key, route, project, sums ... */
	USAGE_MARKS_GONE, /* of keys */
	USAGE_MARK,       /* slot, key, used */
	USAGE_CELL_MARKS_GONE,
	USAGE_CELL_MARK, /* entry, owner, used, returned, denied */
	USAGE_SINCE,     /* arena, since */
	USAGE_PRUNE,     /* hour, rows */
	USAGE_STATEMENTS
};

/* What a row grows by. */
struct usage_sums {
	uint64_t checks, units, returned;
	uint64_t denied[DENIAL_COUNT];
};

/* Whom a row belongs to. */
struct usage_subject {
	struct id org, project, key;
};

/* A key that has been used since it was last collected. */
struct usage_change {
	uint32_t slot;
	struct usage_subject subject;
	uint64_t used;
	uint64_t rest; /* USED_*: of the difference, without a route's */
};

/* The same of a cell. */
struct usage_cell_change {
	struct cell *cell;
	uint32_t entry;
	uint64_t owner;
	const char *route;
	struct usage_subject subject;
	/* the collected words to be */
	uint64_t used, returned;
	uint32_t denied[DENIAL_COUNT];
	struct usage_sums sums;
};
#define USAGE_CELL_BATCH 8192u

/* What was found. */
struct usage_batch {
	struct usage_change *changes; /* in the order of slots */
	uint32_t count;
	struct usage_cell_change *cells; /* room for USAGE_CELL_BATCH */
	uint32_t cell_count;
	uint32_t cell_next; /* entry to go on with */
};

struct usage {
	struct arena_file *file;
	struct arena *arena;
	char path[PATH_MAX];
	bool fresh; /* nothing in the marks is about this arena */
	uint64_t retention_ms;
	const struct routes *routes;
	/* the snapshot thread's */
	sqlite3 *db; /* NULL: to be opened */
	sqlite3_stmt *st[USAGE_STATEMENTS];
	struct usage_batch batch;    /* room for USAGE_BATCH */
	char error[USAGE_ERROR_MAX]; /* of the last failure */
	int64_t told_ms;             /* when it was last logged; 0: it works */
	int64_t since_ms;            /* when was collected last */
	int64_t written_hour;        /* of what the database has of it */
	/* Held over a commit and the stores that follow it, and by a reader
	 * over the start of its transaction and what it reads in the arena:
	 * each is one step to the other. */
	pthread_mutex_t mutex;
	struct usage_status status; /* under the mutex */
};

static inline int64_t usage_hour(int64_t wall_ms)
{
	return wall_ms / USAGE_HOUR_MS;
}

/* Units and checks from one USED_* word to another. */
static inline uint64_t used_between(uint64_t from, uint64_t to)
{
	return ((to - from) & USED_UNIT_MASK) |
	       ((USED_CHECKS(to) - USED_CHECKS(from)) << USED_UNIT_BITS);
}

/* ---- usage_db.c ---- */

/* Opens the database and puts the collected words back. Negative errno, the
 * sentence in u->error. */
int usage_db_open(struct usage *u, int64_t now_ms);
void usage_db_close(struct usage *u);
/* The arena's word for "collected up to here", in the transaction at hand. */
int usage_db_since(struct usage *u, int64_t since_ms);
/* Runs a statement that returns no rows. */
int usage_db_run(struct usage *u, enum usage_statement which);
int usage_db_fail(struct usage *u, int code, const char *doing);
/* Parameters 1..14 of a statement: the columns of a row, in their order. */
void usage_bind_row(sqlite3_stmt *st, int64_t hour,
		    const struct usage_subject *s, const char *route,
		    const struct usage_sums *sums);

/* ---- usage.c ---- */

/* The hour of what is found now. */
int64_t usage_hour_found(int64_t since_ms, int64_t now_ms);
void usage_find_subject(const struct arena *a, uint32_t slot,
			struct usage_subject *ret_subject);
/* Adds the key to the changes if it has any. In an epoch section, or where
 * slots are freed. */
void usage_find_key(const struct arena *a, uint32_t slot,
		    struct usage_batch *b);

/* The steps of a batch; tests die in between. */

/* Differences from *slot on, in a transaction that is left open; *slot is
 * where to go on, 0 at the end. 1: there are none, and no transaction. */
int usage_write(struct usage *u, struct epoch_reader *reader, int64_t now_ms,
		uint32_t *slot);
int usage_commit(struct usage *u);
/* The arena says so too. */
void usage_settle(struct usage *u);

#endif
