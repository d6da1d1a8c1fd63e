/* SPDX-License-Identifier: MIT */
#include "peer_limit.h"

#include "resp.h"

int peer_probe(struct peer *p, struct contest *c, size_t argc,
	       const char *const *argv, uint32_t limit, int64_t allowed)
{
	char command[512];
	uint8_t buffer[512];
	struct resp_reply r;

	if (!resp_command(command, sizeof(command), argc, argv))
		return contest_fail(c, "%s: a long command", p->process.name);
	for (uint32_t i = 0; i <= limit; i++) {
		if (resp_call(&p->address, command, buffer, sizeof(buffer), &r,
			      c->stand.error, STAND_ERROR_LEN) < 0)
			return -1;
		if (r.kind != '*' || (r.numbers[0] == allowed) != (i < limit))
			return contest_fail(c,
					    "%s: call %u against a limit of "
					    "%u was not %s",
					    p->process.name, i + 1, limit,
					    i < limit ? "allowed" : "denied");
	}
	return 0;
}
