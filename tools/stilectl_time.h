/* SPDX-License-Identifier: MIT */
#ifndef STILE_TOOLS_STILECTL_TIME_H
#define STILE_TOOLS_STILECTL_TIME_H

/* stilectl_time - durations and times as people and the API write them. */
#include <stdint.h>

#define TIME_TEXT_MAX 40

/*
 * WHEN as the API wants it, in UTC: an RFC 3339 time, or "+30d" (units ms s m
 * h d; none means seconds) after `now_ms` (wall clock). Returns 0, or
 * CTL_TROUBLE (told).
 */
int time_from_when(const char *when, int64_t now_ms,
		   char out[static TIME_TEXT_MAX]);

/* "2026-07-01T12:00:00.250Z" -> "2026-07-01 12:00:00Z". What is no RFC 3339
 * time stays as it is (cut at TIME_TEXT_MAX). */
void time_for_people(const char *rfc3339, char out[static TIME_TEXT_MAX]);

/* 93784 -> "1d 2h 3m 4s". */
void time_elapsed(int64_t s, char out[static TIME_TEXT_MAX]);

#endif
