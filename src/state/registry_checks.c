/* SPDX-License-Identifier: MIT */
/*
 * Checks that the control thread decides itself: those of the admin API. Its
 * gate is one more beside those of the workers, with a descriptor and a part of
 * the holds of its own, and needs no epoch section: who frees what a check
 * looks at is this thread.
 */
#include "state/registry_internal.h"

#include "gate/decide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int checks_open(struct registry *g)
{
	const struct gate_options options = {
		.routes = g->options.routes,
		.once_ms = g->options.request_id_ms,
		.hold_ms = g->options.hold_ms,
		.hold_keep = g->options.hold_keep,
		.control_holds = g->options.control_holds,
	};

	g->gate =
		aligned_alloc(LINE_BYTES, (sizeof(*g->gate) + LINE_BYTES - 1) /
						  LINE_BYTES * LINE_BYTES);
	if (g->gate == NULL)
		return -ENOMEM;
	memset(&g->counters, 0, sizeof(g->counters));
	gate_init(g->gate, g->arena, g->table, &g->prefix, OWNER_GATE,
		  &g->counters);
	gate_configure(g->gate, &options);
	return 0;
}

void checks_close(struct registry *g)
{
	free(g->gate);
}

void registry_check(struct registry *g, struct check *check,
		    struct verdict *ret_verdict)
{
	struct instant now = instant_now();

	gate_decide(g->gate, check, ret_verdict, 1, &now,
		    (uint64_t)registry_now_ms(g));
}

void registry_explain(struct registry *g, struct check *check,
		      struct verdict *ret_verdict)
{
	check->flags = CHECK_PEEK | CHECK_EXPLAIN;
	registry_check(g, check, ret_verdict);
}

void registry_settle(struct registry *g, uint64_t hold, uint32_t cost,
		     struct verdict *ret_verdict)
{
	struct check_extra extra = {.hold = hold};
	struct check check = {
		.credential = CREDENTIAL_HOLD, .extra = &extra, .cost = cost};

	registry_check(g, &check, ret_verdict);
}

const struct counters *registry_counters(const struct registry *g)
{
	return &g->counters;
}
