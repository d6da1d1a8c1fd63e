/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_LABEL_H
#define STILE_BASE_LABEL_H

/*
 * base/label - routes and scopes as the workers compare them: 64 bits of XXH3.
 *
 * Never 0, which means "none". Labels come from the proxy and the operator,
 * not from a client: nobody gains by two that are equal here.
 */
#include <stddef.h>
#include <stdint.h>

uint64_t label_hash(const char *label, size_t len);

#endif
