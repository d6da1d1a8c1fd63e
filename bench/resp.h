/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_RESP_H
#define STILE_BENCH_RESP_H

/*
 * bench/resp - the Redis protocol, version 2, as a client of servers that we
 * start: commands of bulk strings, replies that are flat.
 */
#include "address.h"
#include "dialect.h"

#define RESP_ITEMS_MAX 8

struct resp_reply {
	char kind;      /* '+' status, '-' error, ':' number, '$', '*' */
	uint32_t count; /* of items; 1 but for '*' */
	int64_t numbers[RESP_ITEMS_MAX]; /* of ':'; else 0 */
	const char *text; /* of '+', '-', '$', or the last '$' in a '*' */
	size_t text_len;
};

/* Reads the reply at the beginning of `bytes`. Returns its length, 0 when it
 * is not complete, -1 when it is none that we know. */
ssize_t resp_read(const uint8_t *bytes, size_t len, struct resp_reply *ret);

/* Writes a command of argc strings. Returns false when it has no room. */
bool resp_command(char *out, size_t out_len, size_t argc,
		  const char *const *argv);

/* One command on a connection of its own; *ret_reply points into `buffer`.
 * Returns -1 with a sentence in `error`; an error of the server is one. */
int resp_call(const struct address *a, const char *command, uint8_t *buffer,
	      size_t buffer_len, struct resp_reply *ret_reply, char *error,
	      size_t error_len);

/* What a limiter's reply looks like: an array of numbers, of which the first
 * says whether, the second repeats the limit, the third is what remains. */
struct resp_limiter {
	uint32_t items;
	int64_t allowed; /* the first number when it is allowed: 1 or 0 */
	int64_t limit;
	bool names_org; /* one more item, a string: the organization's id */
};

/* The request is the command of argc strings, in which `key_arg` is the
 * position of one that is replaced: prefix, then the key. */
struct resp_form {
	size_t argc, key_arg;
	const char *const *argv;
	const char *prefix;
};

/* `limiter` has to live as long as d. Returns as dialect_build(). */
int resp_dialect(struct dialect *d, const struct workload *w,
		 const struct resp_form *form,
		 const struct resp_limiter *limiter);

/* SET prefix + key to the id of its organization, for load_pass(). */
int resp_dialect_set(struct dialect *d, const struct workload *w,
		     const char *prefix);

#endif
