/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_LINE_H
#define STILE_BASE_LINE_H

/* base/line - cache lines and the few compiler words everything uses. */

#define LINE_BYTES 64

#define LINE_ALIGNED __attribute__((aligned(LINE_BYTES)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
