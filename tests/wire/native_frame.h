/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_WIRE_NATIVE_FRAME_H
#define STILE_TESTS_WIRE_NATIVE_FRAME_H

/* tests/wire/native_frame - a good frame, to be spoiled in one place. */
#include "wire/native.h"

#include <criterion/criterion.h>
#include <string.h>

#define KEY_AT 64

static uint8_t frame[NATIVE_LONG_REQUEST_BYTES];
static struct check c;
static struct check_extra extra;

static inline void put32(size_t at, uint32_t v)
{
	for (size_t i = 0; i < 4; i++)
		frame[at + i] = (uint8_t)(v >> (8 * i));
}

static inline void put64(size_t at, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		frame[at + i] = (uint8_t)(v >> (8 * i));
}

/* A good request that every test then spoils in one place. */
static inline void good_key(void)
{
	memset(frame, 0, sizeof(frame));
	frame[0] = NATIVE_CHECK_KEY;
	frame[1] = NATIVE_VERSION;
	frame[3] = 5;
	put32(4, 1);
	put64(8, UINT64_C(0x1122334455667788));
	memcpy(frame + KEY_AT, "il_ab", 5);
	memset(&c, 0xee, sizeof(c));
	memset(&extra, 0xee, sizeof(extra));
}

static inline void good_hash(void)
{
	good_key();
	frame[0] = NATIVE_CHECK_HASH;
	frame[3] = 0;
	for (size_t i = 0; i < 32; i++)
		frame[KEY_AT + i] = (uint8_t)(0xa0 + i);
}

static inline void expect_refused(bool go_on, enum reason reason,
				  enum detail detail)
{
	cr_assert_eq(native_decode(frame, &extra, &c), go_on);
	cr_assert_eq(c.credential, CREDENTIAL_NONE);
	cr_assert_eq(c.reason, reason);
	cr_assert_eq(c.detail, detail);
	cr_assert_eq(c.request_id, UINT64_C(0x1122334455667788));
}

#endif
