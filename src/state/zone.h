/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ZONE_H
#define STILE_STATE_ZONE_H

/*
 * state/zone - what the clocks of a time zone show, by its IANA name.
 *
 * Read from the system's TZif files (RFC 9636): the transitions, and the rule
 * in POSIX form that goes on after the last of them. Not through TZ, tzset()
 * and mktime(): these change the environment of a process that has other
 * threads, read the file anew with each change of zone, and take a name that
 * they do not know for UTC. "UTC" needs no file.
 *
 * Names      those of the tz database, as "Europe/Berlin". Whatever else lies
 *            in its folder (localtime, posix/, right/, tables) is no zone.
 * Bounds     ZONE_NAME_MAX bytes of name, ZONE_FILE_MAX bytes of file. A file
 *            may hold anything: offsets stay within ZONE_OFFSET_MAX_S.
 * Threads    any; a zone does not change once it is opened.
 */
#include <stddef.h>
#include <stdint.h>

#define ZONE_NAME_MAX 63
#define ZONE_FILE_MAX 65536
#define ZONE_OFFSET_MAX_S (26 * 3600)
/* Instants and local times are seconds within this from 1970. */
#define ZONE_TIME_MAX_S (INT64_C(1) << 40)

struct zone;

/* -ENOENT: there is no such zone. -EBADMSG: its file is damaged. */
int zone_open(struct zone **ret_zone, const char *name);
/* The same from a file's bytes. -EBADMSG, -ENOMEM. */
int zone_parse(struct zone **ret_zone, const uint8_t *data, size_t len);
struct zone *zone_free(struct zone *z);

/* What is added to UTC at this instant. */
int32_t zone_offset_s(const struct zone *z, int64_t utc_s);

/*
 * The earliest instant at which the zone's clocks show `local_s` (seconds
 * since 1970, as they show them) or later. Where clocks are put forward over
 * it that is the moment when they are; where they show it twice, the first.
 */
int64_t zone_first_instant(const struct zone *z, int64_t local_s);

#endif
