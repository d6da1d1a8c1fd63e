/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_CHECK_H
#define STILE_BASE_CHECK_H

/*
 * base/check - stop on a bug.
 *
 * check()      stays on in release: the process stops rather than decide on
 *              a broken premise. Never for what a peer, the kernel or an
 *              operator can cause.
 * check_hot()  the same where the cost would show; debug builds only.
 */
_Noreturn void check_failed(const char *expr, const char *file, int line);

#define check(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))

#ifdef NDEBUG
#define check_hot(expr) ((void)sizeof(!(expr)))
#else
#define check_hot(expr) check(expr)
#endif

#endif
