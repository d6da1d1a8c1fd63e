/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_INTERLEAVE_ATOMICS_H
#define STILE_TESTS_INTERLEAVE_ATOMICS_H

/*
 * tests/interleave/atomics - included before anything else (-include) when a
 * source of ours is built for interleave.h: each atomic access becomes a place
 * where another thread may go on. One thread runs at a time, so the access
 * itself is a plain one, and all are sequentially consistent.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Before an access, and after one that changed something. */
void interleave_point(const volatile void *at, const char *op,
		      const char *where);
void interleave_wrote(const volatile void *at, uint64_t from, uint64_t to);

/* What *ptr holds, without the _Atomic: a comma drops it. */
#define INTERLEAVE_PLAIN(ptr) __typeof__(((void)0, *(ptr)))

#undef atomic_load_explicit
#define atomic_load_explicit(ptr, order)                                       \
	({                                                                     \
		__auto_type load_at = (ptr);                                   \
		(void)(order);                                                 \
		interleave_point(load_at, "load", __func__);                   \
		(INTERLEAVE_PLAIN(load_at)) * load_at;                         \
	})

#undef atomic_store_explicit
#define atomic_store_explicit(ptr, value, order)                               \
	({                                                                     \
		__auto_type store_at = (ptr);                                  \
		uint64_t store_to = (uint64_t)(value), store_was;              \
		(void)(order);                                                 \
		interleave_point(store_at, "store", __func__);                 \
		store_was = (uint64_t)*store_at;                               \
		*store_at = (INTERLEAVE_PLAIN(store_at))store_to;              \
		interleave_wrote(store_at, store_was, store_to);               \
	})

/* Never fails without a reason, the weak one neither. */
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(ptr, expected, value, good,    \
						bad)                           \
	({                                                                     \
		__auto_type cas_at = (ptr);                                    \
		__auto_type cas_expected = (expected);                         \
		__typeof__(*cas_expected) cas_to = (value), cas_was;           \
		bool cas_done;                                                 \
		(void)(good), (void)(bad);                                     \
		interleave_point(cas_at, "cas", __func__);                     \
		cas_was = *cas_at;                                             \
		cas_done = cas_was == *cas_expected;                           \
		if (cas_done) {                                                \
			*cas_at = cas_to;                                      \
			interleave_wrote(cas_at, cas_was, cas_to);             \
		} else {                                                       \
			*cas_expected = cas_was;                               \
		}                                                              \
		cas_done;                                                      \
	})
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit                                  \
	atomic_compare_exchange_strong_explicit

/* `result`: of modify_was and modify_by. */
#define INTERLEAVE_MODIFY(ptr, value, op, result)                              \
	({                                                                     \
		__auto_type modify_at = (ptr);                                 \
		uint64_t modify_was, modify_by = (uint64_t)(value);            \
		interleave_point(modify_at, op, __func__);                     \
		modify_was = (uint64_t)*modify_at;                             \
		*modify_at = (INTERLEAVE_PLAIN(modify_at))(result);            \
		interleave_wrote(modify_at, modify_was, (uint64_t)*modify_at); \
		modify_was;                                                    \
	})
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(ptr, value, order)                           \
	INTERLEAVE_MODIFY(ptr, value, "add", modify_was + modify_by)
#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(ptr, value, order)                           \
	INTERLEAVE_MODIFY(ptr, value, "sub", modify_was - modify_by)
#undef atomic_fetch_or_explicit
#define atomic_fetch_or_explicit(ptr, value, order)                            \
	INTERLEAVE_MODIFY(ptr, value, "or", modify_was | modify_by)
#undef atomic_fetch_and_explicit
#define atomic_fetch_and_explicit(ptr, value, order)                           \
	INTERLEAVE_MODIFY(ptr, value, "and", modify_was &modify_by)
#undef atomic_exchange_explicit
#define atomic_exchange_explicit(ptr, value, order)                            \
	INTERLEAVE_MODIFY(ptr, value, "exchange", modify_by)

/* Not to be called: a fence orders nothing here. */
#undef atomic_thread_fence

#endif
