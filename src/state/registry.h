/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_REGISTRY_H
#define STILE_STATE_REGISTRY_H

/*
 * state/registry - one change to an organization, project or key, from the
 * database to the workers: durable first, then published, then acknowledged.
 *
 * Threads    the control thread alone.
 * Promise    when a call has returned 0 the change is durable and every check
 *            that starts later sees it, on any worker.
 * Errors     0; positive enum registry_outcome (the caller answers it);
 *            negative errno (disk, database), text in registry_error().
 */
#include "base/id.h"
#include "state/records.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_TEXT_MAX 64 /* bytes of a key that we make, with terminator */

enum registry_outcome {
	REGISTRY_EXISTS = 1, /* name or hash is taken */
	REGISTRY_ABSENT = 2, /* no such organization, project or key */
	REGISTRY_FULL =
		3, /* a capacity is used up; registry_error() names it */
	REGISTRY_INVALID = 4, /* out of range; registry_error() says what */
	REGISTRY_REVOKED = 5, /* the key is revoked or expired: cannot rotate */
};

struct registry;
struct arena_file;
struct epoch;
struct keytable;

struct registry_options {
	uint32_t max_orgs, max_projects, max_keys;
	uint64_t ring_bytes;
	uint32_t default_limit;
	uint64_t default_window_ms;
	const char *key_prefix;
	/* Windows of a fresh arena count as full until they have passed, unless
	 * a snapshot of a clean stop was restored: from the boot on when nobody
	 * has served since, else from now on. To tell the two apart a snapshot
	 * is written before the start returns. */
	bool strict;
};

struct registry_report {
	uint32_t orgs, projects, keys; /* set up */
	uint32_t unserved; /* keys that do not fit into the key table */
	bool fresh;        /* no counters to carry on with */
	bool restored;     /* from the snapshot */
	/* A snapshot that was refused, or "". The arena is not marked ready
	 * then, so that a caller who gives up is told again next time; one who
	 * goes on says arena_set_ready(). */
	char warning[256];
	char arena_warning[256]; /* an arena that was discarded, or "" */
};

/*
 * Sets the arena and the key table up from the records and, when `fresh`,
 * the counters from the snapshot in `state_dir`. Before workers run. The
 * registry keeps using what it is given. An arena that is damaged, or that
 * knows none of the organizations, is discarded first. On failure an arena
 * that was not fresh keeps its counters for the next try.
 */
int registry_open(struct registry **ret_registry, struct records *records,
		  struct arena_file *arena, bool fresh, struct keytable *table,
		  struct epoch *epoch, const char *state_dir,
		  const struct registry_options *options,
		  struct registry_report *ret_report, char *err,
		  size_t err_len);
struct registry *registry_close(struct registry *g);

const char *registry_error(const struct registry *g);
struct records *registry_records(struct registry *g); /* for reading */

/* rec->name, limit, window_ms in (both 0 = configured default); the rest out.
 */
int registry_org_create(struct registry *g, struct org_record *rec);
int registry_org_set_limit(struct registry *g, uint32_t org, uint32_t limit,
			   uint64_t window_ms);
int registry_org_set_suspended(struct registry *g, uint32_t org,
			       bool suspended);

/* rec->org and name in; the rest out. */
int registry_project_create(struct registry *g, struct project_record *rec);

/* rec->org, project, name, expires_ms in; the rest out. The plaintext is
 * written to `text` (terminated); the caller shows it once and wipes it. */
int registry_key_create(struct registry *g, struct key_record *rec,
			char text[static KEY_TEXT_MAX]);
/* Import by hash, all or nothing, one durable step: recs[i].org, project,
 * name, hash, expires_ms in. *ret_bad: the first one at fault. */
int registry_key_import(struct registry *g, struct key_record *recs,
			size_t count, size_t *ret_bad);
int registry_key_revoke(struct registry *g, const char *id,
			struct key_record *ret_rec);
/* A new key with the same organization, project, name and expiry; the old one
 * expires after grace_ms (0 = revoked now), never later than it would have. */
int registry_key_rotate(struct registry *g, const char *id, uint64_t grace_ms,
			struct key_record *ret_old, struct key_record *ret_new,
			char text[static KEY_TEXT_MAX]);

/* Live numbers, from the arena. */
struct org_live {
	uint64_t used;      /* units allowed, ever */
	uint32_t in_window; /* units in the window now */
};
struct key_live {
	uint64_t used;
	uint32_t last_use_min; /* wall clock minutes; 0 = never */
};
void registry_org_live(struct registry *g, uint32_t org,
		       struct org_live *ret_live);
void registry_key_live(struct registry *g, uint32_t key,
		       struct key_live *ret_live);

#endif
