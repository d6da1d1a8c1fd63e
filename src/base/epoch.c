/* SPDX-License-Identifier: MIT */
#include "base/epoch.h"

#include <sched.h>

void epoch_init(struct epoch *e)
{
	ck_epoch_init(&e->ck);
	ck_epoch_register(&e->ck, &e->waiter, NULL);
}

void epoch_register(struct epoch *e, struct epoch_reader *r)
{
	r->epoch = e;
	ck_epoch_register(&e->ck, &r->record, NULL);
}

/* A reader may have been preempted inside its section; let it run. */
static void let_others_run(ck_epoch_t *e, ck_epoch_record_t *r, void *arg)
{
	(void)e;
	(void)r;
	(void)arg;
	sched_yield();
}

void epoch_wait(struct epoch *e)
{
	tsan_release(&e->waiter);
	ck_epoch_synchronize_wait(&e->ck, let_others_run, NULL);
	tsan_acquire(e);
}
