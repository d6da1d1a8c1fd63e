/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include "commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void read_cpu_model(char *out, size_t out_len)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[512];

	snprintf(out, out_len, "unknown");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ':');

		if (!value || strncmp(line, "model name", 10) != 0)
			continue;
		value += strspn(value, ": \t");
		value[strcspn(value, "\n")] = '\0';
		snprintf(out, out_len, "%s", value);
		break;
	}
	fclose(f);
}

void machine_read(struct machine *ret_machine)
{
	struct utsname uts;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	memset(ret_machine, 0, sizeof(*ret_machine));
	read_cpu_model(ret_machine->cpu, sizeof(ret_machine->cpu));
	snprintf(ret_machine->kernel, sizeof(ret_machine->kernel), "%s",
		 uname(&uts) == 0 ? uts.release : "unknown");
	ret_machine->cpus = cpus > 0 ? (unsigned int)cpus : 1;
	if (getloadavg(&ret_machine->load_average, 1) != 1)
		ret_machine->load_average = -1; /* not known */
	ret_machine->version = STILE_VERSION;
	ret_machine->commit = STILE_COMMIT;
}
