/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <math.h>
#include <stdio.h>

void report_machine(const struct machine *m)
{
	printf("machine  %s, %u CPUs, Linux %s, load average %.2f\n"
	       "stile    %s, commit %s\n",
	       m->cpu, m->cpus, m->kernel, m->load_average, m->version,
	       m->commit);
}

void report_set_machine(json_t *to, const struct machine *m)
{
	json_object_update_new(to, json_pack("{s:s, s:s, s:s, s:s, s:i, s:f}",
					     "version", m->version, "commit",
					     m->commit, "cpu", m->cpu, "kernel",
					     m->kernel, "cpus", (int)m->cpus,
					     "load_average", m->load_average));
}

static double rounded(double v, double grain)
{
	return round(v / grain) * grain;
}

void report_spread(json_t *to, const char *name, struct spread s, double grain)
{
	char longer[64];

	json_object_set_new(to, name, json_real(rounded(s.median, grain)));
	snprintf(longer, sizeof(longer), "%s_min", name);
	json_object_set_new(to, longer, json_real(rounded(s.min, grain)));
	snprintf(longer, sizeof(longer), "%s_max", name);
	json_object_set_new(to, longer, json_real(rounded(s.max, grain)));
}

bool report_dump(const json_t *value)
{
	return json_dumpf(value, stdout,
			  JSON_INDENT(2) | JSON_REAL_PRECISION(10)) == 0 &&
	       putchar('\n') != EOF && fflush(stdout) == 0;
}
