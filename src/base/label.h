/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_LABEL_H
#define STILE_BASE_LABEL_H

/*
 * base/label - routes, scopes and request ids as the workers compare them: 64
 * bits of XXH3, or 128.
 *
 * Never 0, which means "none". Labels come from the proxy and the operator,
 * not from a client: nobody gains by two that are equal here.
 */
#include <stddef.h>
#include <stdint.h>

uint64_t label_hash(const char *label, size_t len);

/* 128 bits, of a request id; not both of them 0. */
void label_hash_128(const void *text, size_t len, uint64_t ret[static 2]);

#endif
