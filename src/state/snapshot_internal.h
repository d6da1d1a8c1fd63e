/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOT_INTERNAL_H
#define STILE_STATE_SNAPSHOT_INTERNAL_H

/*
 * state/snapshot_internal - the places of a snapshot file, as in
 * docs/snapshot-format.md, and what the files that write and read it share:
 *
 * snapshot.c        the file: temporary, fsync, rename; the stream to it
 * snapshot_save.c   organizations, projects, keys -> records
 * snapshot_tables.c tables of subjects -> records
 * snapshot_holds.c  holds -> records
 * snapshot_read.c   the stream from a file; is it ours, is it whole
 * snapshot_apply.c  records -> organizations, projects, keys
 * snapshot_refill.c records -> tables of subjects, holds
 * snapshot_v1.c     what version 1 had in their place
 *
 * All numbers little-endian, whatever the machine.
 */
#include "base/clock.h"
#include "gate/layout.h"
#include "gate/meter.h"
#include "gate/subjects.h"
#include "state/snapshot.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#define SNAP_MAGIC "STILSNAP"
#define SNAP_MAGIC_LEN 8
#define SNAP_VERSION 3u
#define SNAP2_VERSION 2u /* holds without their draws: read only */
#define SNAP_ENDIAN 0x01020304u

/* header, of all versions */
#define SNAP_AT_VERSION 8
#define SNAP_AT_ENDIAN 12
#define SNAP_AT_BOOT_ID 16
#define SNAP_AT_TICKS 32 /* since boot, when it was begun */
#define SNAP_AT_WALL_MS 40
#define SNAP_AT_TICK_NS 48
#define SNAP_AT_FLAGS 52
#define SNAP_AT_SEED 56 /* version 1: 0 */
#define SNAP_HEADER_BYTES 64
#define SNAP_FLAG_CLEAN 1u

/* A record begins with its kind and a number: a slot, or what the kind says.
 * Slots ascend. */
#define SNAP_RECORD_AT_KIND 0
#define SNAP_RECORD_AT_NUMBER 4
#define SNAP_RECORD_HEAD 8
enum snap_kind {
	SNAP_END = 0,
	SNAP_ORG = 1,
	SNAP_METER = 2, /* of the organization before it */
	SNAP_POOL = 3,  /* likewise */
	SNAP_PROJECT = 4,
	SNAP_KEY = 5,
	SNAP_TABLE = 6,
	SNAP_SUBJECT = 7, /* of the table before it */
	SNAP_CELL = 8,    /* likewise */
	SNAP_HOLD = 9,
};

/* organization: number = slot */
#define SNAP_ORG_AT_ID 8
#define SNAP_ORG_AT_TAKEN 16 /* nanoseconds since boot, when it was saved */
#define SNAP_ORG_BYTES 24

/* meter: number = admissions, which follow, oldest first */
#define SNAP_METER_AT_NAME 8
#define SNAP_METER_AT_ALGORITHM 32
#define SNAP_METER_AT_REST_NS 40 /* GCRA: TAT less the time of saving */
#define SNAP_METER_BYTES 48

/* admission: age in ticks << 24 | units */
#define SNAP_ADMISSION_BYTES 8
#define SNAP_UNITS_BITS 24
#define SNAP_UNITS_MASK ((UINT64_C(1) << SNAP_UNITS_BITS) - 1)
#define SNAP_AGE_MAX ((UINT64_C(1) << (64 - SNAP_UNITS_BITS)) - 1)
static_assert(LIMIT_MAX <= SNAP_UNITS_MASK, "a whole window in one");

/* pool: number = id */
#define SNAP_POOL_AT_USED 8
#define SNAP_POOL_AT_RETURNED 16
#define SNAP_POOL_AT_WITHDRAWN 24
#define SNAP_POOL_BYTES 32

/* project: number = slot */
#define SNAP_PROJECT_AT_ID 8
#define SNAP_PROJECT_AT_BUDGETS 16 /* used, returned of each */
#define SNAP_PROJECT_BYTES (16 + 16 * PROJECT_BUDGETS_MAX)

/* key: number = slot */
#define SNAP_KEY_AT_ID 8
#define SNAP_KEY_AT_USED 16
#define SNAP_KEY_AT_COLLECTED 24
#define SNAP_KEY_AT_LAST_USE 32
#define SNAP_KEY_BYTES 40

/* table: number = id of its rule; SNAP_CELLS_ID: cells of usage */
#define SNAP_TABLE_AT_BUCKETS 8
#define SNAP_TABLE_AT_STRIDE 12
#define SNAP_TABLE_AT_ALGORITHM 16
#define SNAP_TABLE_AT_LEVEL 20
#define SNAP_TABLE_AT_TAKEN 24
#define SNAP_TABLE_AT_FULL_NS 32 /* how long all subjects count as full */
#define SNAP_TABLE_BYTES 40
#define SNAP_CELLS_ID 0u

/* subject: number = bucket; then its admissions */
#define SNAP_SUBJECT_AT_NAME 8
#define SNAP_SUBJECT_AT_TAKEN 16
#define SNAP_SUBJECT_AT_REST_NS 24
#define SNAP_SUBJECT_AT_COUNT 32
#define SNAP_SUBJECT_BYTES 40

/* cell: number = bucket */
#define SNAP_CELL_AT_NAME 8
#define SNAP_CELL_AT_WORDS 16 /* struct cell as it is */
#define SNAP_CELL_WORDS (sizeof(struct cell) / sizeof(word_t))
#define SNAP_CELL_BYTES (SNAP_CELL_AT_WORDS + sizeof(struct cell))

/* hold: number = slot */
#define SNAP_HOLD_AT_STATE 8
#define SNAP_HOLD_AT_KEY 16
#define SNAP_HOLD_AT_ORG 20
#define SNAP_HOLD_AT_KEY_ID 24
#define SNAP_HOLD_AT_ORG_ID 32
#define SNAP_HOLD_AT_TAKEN 40
#define SNAP_HOLD_AT_LEFT 48 /* ticks */
#define SNAP_HOLD_AT_UNITS 56
#define SNAP_HOLD_AT_FLAGS 64
#define SNAP_HOLD_AT_ROUTE 72
#define SNAP_HOLD_AT_BUDGETS 80
#define SNAP_HOLD_AT_CELL (80 + 8 * PROJECT_BUDGETS_MAX)
#define SNAP_HOLD_AT_LEASES (SNAP_HOLD_AT_CELL + SNAP_PLACE_BYTES)
#define SNAP_HOLD_AT_DRAWS                                                     \
	(SNAP_HOLD_AT_LEASES + SNAP_LEASE_BYTES * HOLD_LEASES_MAX)
#define SNAP2_HOLD_BYTES SNAP_HOLD_AT_DRAWS
#define SNAP_HOLD_BYTES (SNAP_HOLD_AT_DRAWS + 8 * HOLD_DRAWS_MAX)

/* An entry of a table; buckets 0: none. */
#define SNAP_PLACE_AT_BUCKET 0
#define SNAP_PLACE_AT_BUCKETS 4
#define SNAP_PLACE_AT_NAME 8
#define SNAP_PLACE_BYTES 16

/* A lease: the rule's name, "": none; and the subject's place, if the rule is
 * not the organization's own. */
#define SNAP_LEASE_AT_NAME 0
#define SNAP_LEASE_AT_PLACE 24
#define SNAP_LEASE_BYTES 40

/* trailer: kind SNAP_END, number 0 */
#define SNAP_END_AT_RECORDS 8
#define SNAP_END_AT_LENGTH 16
#define SNAP_END_BYTES 24    /* without the digest */
#define SNAP_DIGEST_BYTES 16 /* XXH3-128, canonical, of all bytes before it */

#define SNAP_ADMISSIONS_MAX 65536u /* entries of the largest ring */
#define SNAP_SUBJECT_ADMISSIONS_MAX                                            \
	((SUBJECTS_STRIDE_MAX - LINE_BYTES) / sizeof(word_t))
#define SNAP_BUFFER_BYTES 65536
#define SNAP_REST_NS_MAX (UINT64_C(1) << 60) /* 36 years */
static inline uint64_t snap_rest_ns(uint64_t rest_ns)
{
	return rest_ns < SNAP_REST_NS_MAX ? rest_ns : SNAP_REST_NS_MAX;
}

/* Older than any window: not worth restoring. */
#define SNAP_WINDOW_TICKS (WINDOW_MS_MAX * CLOCK_TICKS_PER_MS)
static_assert(SNAP_WINDOW_TICKS < CLOCK_BIAS,
	      "an age within a window has a positive stamp in a new boot");
static_assert(SNAP_WINDOW_TICKS < SNAP_AGE_MAX, "and fits");

/* ---- version 1, read only ---- */

#define SNAP1_VERSION 1u
/* organization; then `count` admissions: age << 18 | units */
#define SNAP1_ORG_AT_SLOT 0
#define SNAP1_ORG_AT_COUNT 4
#define SNAP1_ORG_AT_ID 8
#define SNAP1_ORG_AT_TICKS 24 /* since boot, when it was saved */
#define SNAP1_ORG_BYTES 32
#define SNAP1_UNITS_BITS 18
#define SNAP1_AGE_MAX ((UINT64_C(1) << (64 - SNAP1_UNITS_BITS)) - 1)
#define SNAP1_KEY_AT_SLOT 0
#define SNAP1_KEY_AT_LAST_USE 4
#define SNAP1_KEY_AT_ID 8
#define SNAP1_KEY_AT_USED 16
#define SNAP1_KEY_BYTES 24
#define SNAP1_END_AT_ORGS 0
#define SNAP1_END_AT_KEYS 4
#define SNAP1_END_AT_LENGTH 8
#define SNAP1_END_BYTES 16

static inline void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v |= (uint32_t)p[i] << 8 * i;
	return v;
}

static inline uint64_t get_le64(const uint8_t *p)
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

/* ---- writing ---- */

/* What is copied in one epoch section, before it goes to the disk: at most an
 * organization with all its windows full. */
#define SNAP_STAGE_BYTES                                                       \
	((size_t)SNAP_ORG_BYTES + CREDIT_POOLS_MAX * SNAP_POOL_BYTES +         \
	 PLAN_METERS_MAX * (SNAP_METER_BYTES +                                 \
			    SNAP_ADMISSIONS_MAX * SNAP_ADMISSION_BYTES))

struct snap_writer {
	struct arena *arena;
	struct epoch_reader *reader; /* or NULL */
	struct snapshot_info *info;
	int fd;
	int error; /* the first, as -errno */
	uint64_t bytes;
	uint64_t records;
	size_t len;
	XXH3_state_t *digest;
	uint64_t *holds; /* `state` of those that were live at first */
	uint32_t holds_count;
	size_t staged;
	uint8_t buf[SNAP_BUFFER_BYTES];
	uint8_t stage[SNAP_STAGE_BYTES];
	struct admission admissions[SNAP_ADMISSIONS_MAX];
};

/* Room for a record in the stage. */
uint8_t *snap_stage(struct snap_writer *w, size_t len);
uint8_t *snap_stage_record(struct snap_writer *w, enum snap_kind kind,
			   uint32_t number, size_t len);
void snap_stage_admissions(struct snap_writer *w, size_t count,
			   uint64_t taken_ticks);
/* Outside of sections: what is in the stage goes to the file. */
void snap_put_stage(struct snap_writer *w);

/* A section for each piece: a grace period, and with it the acknowledgement of
 * a revocation, never waits for the disk. */
void snap_enter(struct snap_writer *w);
void snap_leave(struct snap_writer *w);

bool snap_slot_used(const half_t *state);
/* The table of cells of usage, if there is one. */
bool snap_open_cells(struct arena *a, struct subjects *t);

void snap_save_orgs(struct snap_writer *w);
void snap_save_projects(struct snap_writer *w);
void snap_save_keys(struct snap_writer *w);
void snap_save_tables(struct snap_writer *w);
/* Before everything else, and after it. */
void snap_note_holds(struct snap_writer *w);
void snap_save_holds(struct snap_writer *w);

/* ---- reading ---- */

struct snap_reader {
	int fd;
	uint64_t size; /* of the file */
	uint64_t at;   /* bytes taken so far */
	uint64_t read; /* bytes read so far */
	size_t pos, len;
	XXH3_state_t *digest;
	struct arena *arena; /* NULL: check only */
	struct snapshot_info *info;
	uint32_t version;
	bool same_boot;
	bool told; /* the caller's `err` holds the sentence */
	struct instant now;
	char why[96]; /* what is wrong with the file */

	/* version 2: where we are */
	uint64_t records;
	uint32_t kind;     /* of the last record that belongs to no other */
	uint32_t number;   /* its number */
	struct org *org;   /* of the records that follow, or NULL: skipped */
	uint64_t taken_ns; /* when that was saved */
	uint32_t restored; /* a bit for each of its rules that was */
	const struct rule *rule; /* of the table that follows, or NULL */
	struct subjects table;
	bool table_open;
	uint32_t buckets, stride; /* of the table as it was */

	uint8_t buf[SNAP_BUFFER_BYTES];
	struct admission admissions[SNAP_ADMISSIONS_MAX];
};

/* What is wrong with the file. A macro, so that tools which follow values see
 * that it is never 0. */
void snap_describe(struct snap_reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#define DAMAGED(r, ...) (snap_describe(r, __VA_ARGS__), -EBADMSG)

/* The next `len` bytes (a record: less than the buffer); the second leaves
 * them there. */
int snap_take(struct snap_reader *r, size_t len, const uint8_t **ret_bytes);
int snap_look(struct snap_reader *r, size_t len, const uint8_t **ret_bytes);

/* Stamp and instant in this boot of what was `age` old at `taken` (since the
 * boot it was saved in). */
uint64_t snap_stamp(const struct snap_reader *r, uint64_t taken_ticks,
		    uint64_t age);
uint64_t snap_origin_ns(const struct snap_reader *r, uint64_t taken_ns);

/* Admissions into r->admissions, those that are too old left out. */
int snap_take_admissions(struct snap_reader *r, uint32_t count,
			 uint64_t taken_ticks, unsigned units_bits,
			 size_t *ret_kept);

/* The rule of the organization with this name, or NULL. */
const struct rule *snap_find_rule(const struct arena *a, const struct org *org,
				  const uint8_t name[static RULE_NAME_LEN]);
/* The slot holds an organization (a key) of this id. */
bool snap_holds(const half_t *slots, uint32_t slot, const half_t *state,
		const struct id *has, const uint8_t id[static ID_LEN]);

/* Everything between the header and the digest. */
int snap_read_records(struct snap_reader *r);
int snap_read_v1(struct snap_reader *r, const uint8_t *end);
/* Records whose head has been looked at. */
int snap_read_table(struct snap_reader *r);
int snap_read_subject(struct snap_reader *r, uint32_t bucket);
int snap_read_cell(struct snap_reader *r, uint32_t bucket);
int snap_read_hold(struct snap_reader *r);

/* Would snapshot_read() accept it? As snapshot_read(), but applies nothing;
 * `name` is relative to dir_fd, `dir` is for messages. */
int snapshot_verify(int dir_fd, const char *dir, const char *name, char *err,
		    size_t err_len);

#endif
