/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_EPOCH_H
#define STILE_BASE_EPOCH_H

/*
 * base/epoch - grace periods: wait until every reader has let go of what it
 * saw before. A thin wrapper over ck_epoch.
 *
 * Threads    readers (workers, the snapshot thread): enter and leave, each on
 *            its own struct epoch_reader. epoch_wait(): one thread at a time.
 * Progress   enter and leave are wait-free; epoch_wait() blocks its caller
 *            until all sections that were open when it was called have ended.
 *            A reader that sleeps outside a section delays nobody.
 * Order      what the writer stored before epoch_wait() is seen by every
 *            section that begins after it returned (and everything that a
 *            section did happens before epoch_wait() returns).
 * Proof      tests/torture/epoch_torture.c
 */
#include <ck_epoch.h>

/* ThreadSanitizer does not see ck's inline assembly: tell it the order that
 * ck guarantees. */
#if defined(__SANITIZE_THREAD__)
#define STILE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STILE_TSAN 1
#endif
#endif
#ifdef STILE_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define tsan_acquire(addr) __tsan_acquire(addr)
#define tsan_release(addr) __tsan_release(addr)
#else
#define tsan_acquire(addr) ((void)(addr))
#define tsan_release(addr) ((void)(addr))
#endif

struct epoch {
	ck_epoch_t ck;
	ck_epoch_record_t waiter;
};

struct epoch_reader {
	ck_epoch_record_t record;
	struct epoch *epoch;
};

void epoch_init(struct epoch *e);

/* The reader's memory must live as long as the epoch: ck keeps it in a list. */
void epoch_register(struct epoch *e, struct epoch_reader *r);

static inline void epoch_enter(struct epoch_reader *r)
{
	ck_epoch_begin(&r->record, NULL);
	tsan_acquire(&r->epoch->waiter);
}

static inline void epoch_leave(struct epoch_reader *r)
{
	tsan_release(r->epoch);
	ck_epoch_end(&r->record, NULL);
}

void epoch_wait(struct epoch *e);

#endif
