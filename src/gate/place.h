/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_PLACE_H
#define STILE_GATE_PLACE_H

/*
 * gate/place - where a check is counted: the meters of rules that are not the
 * organization's own, the cell of usage, the request id's entry, the hold.
 *
 * Everything that has to be taken before the organization's claim begins, since
 * tables of subjects are changed by claims of the same descriptor.
 */
#include "gate/decide.h"

/* The check's ask, up to what step_run() decides. */
void ask_fill(struct gate *g, struct ask *a, const struct check *c,
	      struct verdict *v, struct key *key, bool suspended,
	      const struct instant *now);

/* Lets go of what is held at rules outside the organization, exactly once. */
void ask_release(struct gate *g, struct ask *a, const struct instant *now,
		 bool admitted);

#endif
