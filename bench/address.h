/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_ADDRESS_H
#define STILE_BENCH_ADDRESS_H

/* bench/address - where a server listens: a Unix socket, or a port of the
 * loopback interface. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address {
	const char *path; /* NULL = the port */
	uint16_t port;
};

/* A blocking stream socket, connected (TCP without Nagle), or -errno. */
int address_connect(const struct address *a);

/* Listens at a Unix socket that is not there yet: a blocking descriptor, or
 * -errno. */
int address_listen(const char *path, int backlog);

/* For messages: the path or 127.0.0.1:port. */
void address_name(const struct address *a, char *out, size_t out_len);

/* A port that nobody listens on at this moment. -errno. */
int address_free_port(uint16_t *ret_port);

#endif
