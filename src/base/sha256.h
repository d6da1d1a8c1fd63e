/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_SHA256_H
#define STILE_BASE_SHA256_H

/*
 * base/sha256 - SHA-256 of a short message, the cheapest way OpenSSL offers.
 *
 * Threads    any; no shared state, no allocation.
 * Secrets    wipes its own copies of the message.
 */
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

void sha256(const void *msg, size_t msg_len, uint8_t out[static SHA256_BYTES]);

#endif
