/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_REASON_H
#define STILE_WIRE_REASON_H

/*
 * wire/reason - what each reason is called, in one table.
 *
 * Codecs, metrics and tools take status, word and message from here, so that
 * a reason means the same wherever it is shown.
 */
#include "wire/check.h"

#include <stdint.h>

/* A string with its length, so that nobody measures it per request. */
struct text {
	const char *s;
	uint8_t len; /* without the terminator */
};

struct reason_info {
	uint16_t status;     /* HTTP */
	struct text word;    /* "rate_limited": for headers, labels, logs */
	struct text message; /* "Rate limit exceeded": for people; plain ASCII
			      * without '"' and '\' */
};

/* `reason` out of range: the row of REASON_BAD_REQUEST. Never null. */
const struct reason_info *reason_info(uint8_t reason);

/* The message of a malformed request, by which part was at fault. */
struct text reason_detail_message(uint8_t detail);

#endif
