/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_CONFIG_OPTION_H
#define STILE_CONTROL_CONFIG_OPTION_H

/*
 * control/config_option - the table of options and what reads and prints one
 * of its rows. For config*.c only.
 */
#include "control/config.h"

enum option_type {
	OPTION_DIR,     /* a directory */
	OPTION_SOCKET,  /* path of a socket, "" = do not listen */
	OPTION_TEXT,    /* bounds are its length */
	OPTION_MODE,    /* 0660, octal */
	OPTION_COUNT,   /* a whole number */
	OPTION_POWER,   /* a whole number that is a power of two */
	OPTION_BYTES,   /* 4MiB */
	OPTION_SECONDS, /* 10s; bounds are seconds */
	OPTION_LIMIT,   /* 100/60s */
	OPTION_CHOICE,  /* one of some words; stored as its index */
};

struct option {
	const char *name; /* dotted */
	enum option_type type;
	const char *unit;     /* "" = none */
	const char *standard; /* the default, as text */
	uint64_t min, max;
	size_t offset, size; /* of the field in struct config */
	const char *const *choices;
	const char *sentence;
};

extern const struct option config_options[];
extern const size_t config_option_count;

#define OPTION_EXPECTED_MAX 256

/*
 * Puts `text` into the option's field. On failure returns false, with what
 * was expected in `expected`, and leaves the field alone.
 */
bool option_set(const struct option *o, struct config *c, const char *text,
		char expected[static OPTION_EXPECTED_MAX]);

/* Is the field's value inside its bounds? `expected` as above. */
bool option_check(const struct option *o, const struct config *c,
		  char expected[static OPTION_EXPECTED_MAX]);

/* What the option takes, for people: "a whole number, 1..62". */
void option_describe(const struct option *o,
		     char out[static OPTION_EXPECTED_MAX]);

/* Are numbers written without quotes? */
bool option_is_number(const struct option *o);

/* Where faults go; `lines[i]` is the line of config_options[i], 0 = its
 * default. */
struct config_faults {
	FILE *out;        /* may be NULL */
	const char *name; /* of the file, NULL = none */
	const uint32_t *lines;
	unsigned count;
};

void config_fault(struct config_faults *f, uint32_t line, const char *name,
		  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Bounds of every option and the checks across options. */
void config_check_all(const struct config *c, struct config_faults *f);

#endif
