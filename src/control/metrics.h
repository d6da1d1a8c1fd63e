/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_METRICS_H
#define STILE_CONTROL_METRICS_H

/*
 * control/metrics - the Prometheus text page (format 0.0.4). No label names
 * an organization, project or key.
 */
#include "control/buf.h"
#include "control/control.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* 0, or a negative errno (database, memory). */
int metrics_write(struct control *c, struct buf *out);

/* The sum over all workers and the control thread, which decides too. */
void metrics_sum(const struct control *c, struct counters *ret_sum);

#endif
