/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_CONTROL_H
#define STILE_CONTROL_CONTROL_H

/*
 * control/control - what the admin API and the metrics page look at. stiled.c
 * fills it in; the control thread owns it.
 *
 * Hooks run on the control thread and get the whole struct; `hook_arg` is
 * theirs.
 */
#include "base/civil.h"
#include "base/counters.h"
#include "control/config.h"
#include "state/registry.h"
#include "state/snapshotter.h"
#include "state/usage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control {
	struct registry *registry;
	struct usage *usage;
	const struct config *config;
	/* worker_count pointers; the structs belong to the workers. */
	const struct counters *const *workers;
	uint32_t worker_count;
	const char *arena_path;
	bool arena_fresh;   /* it had no counters to carry on with */
	int64_t started_ms; /* civil time */
	const struct civil *civil;

	/* May checks be answered now? *ret_why: a short text if not. */
	bool (*ready)(const struct control *c, const char **ret_why);
	/* Takes a snapshot and waits for it. Negative errno, text in err. */
	int (*snapshot)(struct control *c, struct snapshot_info *ret_info,
			char *err, size_t err_len);
	void (*snapshot_last)(const struct control *c,
			      struct snapshot_result *ret_last);
	void *hook_arg;
};

#endif
