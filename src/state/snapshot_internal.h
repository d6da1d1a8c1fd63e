/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_SNAPSHOT_INTERNAL_H
#define STILE_STATE_SNAPSHOT_INTERNAL_H

/*
 * state/snapshot_internal - the places of a snapshot file, as in
 * docs/snapshot-format.md. All numbers little-endian, whatever the machine.
 */
#include "base/clock.h"
#include "gate/layout.h"
#include "state/snapshot.h"

#include <stddef.h>
#include <stdint.h>

#define SNAP_MAGIC "STILSNAP"
#define SNAP_MAGIC_LEN 8
#define SNAP_VERSION 1u
#define SNAP_ENDIAN 0x01020304u

/* header */
#define SNAP_AT_VERSION 8
#define SNAP_AT_ENDIAN 12
#define SNAP_AT_BOOT_ID 16
#define SNAP_AT_TICKS 32 /* since boot, when it was begun */
#define SNAP_AT_WALL_MS 40
#define SNAP_AT_TICK_NS 48
#define SNAP_AT_FLAGS 52
#define SNAP_AT_ZERO 56
#define SNAP_HEADER_BYTES 64
#define SNAP_FLAG_CLEAN 1u

/* organization; then `count` admissions, oldest first */
#define SNAP_ORG_AT_SLOT 0
#define SNAP_ORG_AT_COUNT 4
#define SNAP_ORG_AT_ID 8
#define SNAP_ORG_AT_USED 16
#define SNAP_ORG_AT_TICKS 24 /* since boot, when it was saved */
#define SNAP_ORG_BYTES 32

/* admission: age in ticks << 18 | units */
#define SNAP_ADMISSION_BYTES 8
#define SNAP_UNITS_BITS 18
#define SNAP_AGE_MAX ((UINT64_C(1) << (64 - SNAP_UNITS_BITS)) - 1)

/* key */
#define SNAP_KEY_AT_SLOT 0
#define SNAP_KEY_AT_LAST_USE 4
#define SNAP_KEY_AT_ID 8
#define SNAP_KEY_AT_USED 16
#define SNAP_KEY_BYTES 24

/* trailer */
#define SNAP_END_AT_ORGS 0
#define SNAP_END_AT_KEYS 4
#define SNAP_END_AT_LENGTH 8
#define SNAP_DIGEST_BYTES 16 /* XXH3-128, canonical, of all bytes before it */
#define SNAP_END_BYTES 16    /* without the digest */

#define SNAP_ADMISSIONS_MAX 65536u /* entries of the largest ring */
#define SNAP_BUFFER_BYTES 65536

/* Older than any window: not worth restoring. */
#define SNAP_WINDOW_TICKS (WINDOW_MS_MAX * CLOCK_TICKS_PER_MS)
static_assert(SNAP_WINDOW_TICKS < CLOCK_BIAS,
	      "an age within a window has a positive stamp in a new boot");

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

/* Would snapshot_read() accept it? As snapshot_read(), but applies nothing;
 * `name` is relative to dir_fd, `dir` is for messages. */
int snapshot_verify(int dir_fd, const char *dir, const char *name, char *err,
		    size_t err_len);

#endif
