/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_CONTROL_ADMIN_STAND_H
#define STILE_TESTS_CONTROL_ADMIN_STAND_H

/*
 * The server on the admin socket for tests: real sockets, time as an argument.
 * Its handler answers "METHOD target body-length body".
 */
#include "control/admin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDLE_MS 75000
#define CONNECTIONS 4
#define GET "GET /a HTTP/1.1\r\nHost: stile\r\n\r\n"

struct admin_stand {
	char dir[64], path[80];
	struct admin *admin;
	uint64_t now_ms;
	unsigned handled; /* requests */
	size_t reply_len; /* bytes of each answer, at least */
	size_t body_len;  /* of the last request */
};

extern struct admin_stand stand;

void serve(void);
void stop(void);

/* Within that time of the real clock? */
bool has_something_to_do(int timeout_ms);
/* Until nothing is left to do at this time. */
void settle(void);
/* Lets time go by. */
void pass(uint64_t ms);

int dial(void);
void put(int fd, const char *text);
/* All that has arrived, until the next call; *ret_closed: the server has said
 * its last. */
const char *get(int fd, bool *ret_closed);

unsigned count(const char *in, const char *what);
void expect_status(const char *answer, unsigned status);
/* The last answer of the only connection: this status, then the end. */
void expect_last(int fd, unsigned status);

#endif
