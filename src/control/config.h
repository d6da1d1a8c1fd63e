/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_CONFIG_H
#define STILE_CONTROL_CONFIG_H

/*
 * control/config - every setting of stiled.
 *
 * One table in config.c has a row per option: dotted name, type, unit,
 * default, bounds, sentence. The parser, --help-config, --check-config and
 * docs/configuration.md come out of that table.
 * Routes are not in it, for their names are the operator's: config_routes.c.
 * YAML nests at the dots:  http: { path: http.sock, max_connections: 4096 }
 * Relative socket paths are relative to `dir`.
 */
#include "gate/routes.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_PATH_MAX 108 /* sun_path */

struct listener_config {
	char path[CONFIG_PATH_MAX]; /* "" = do not listen */
	uint32_t mode;              /* 0660; admin 0600 */
	uint32_t max_connections;
};

enum hold_expiry { HOLD_EXPIRY_RETURN, HOLD_EXPIRY_KEEP };
enum restore_mode { RESTORE_SNAPSHOT, RESTORE_STRICT };
enum reset_form { RESET_EPOCH, RESET_DELTA };
enum error_form { ERRORS_FLAT, ERRORS_NESTED, ERRORS_PROBLEM };
enum pin_mode { PIN_OFF, PIN_ON };

struct config {
	char dir[PATH_MAX];            /* --dir; "." default of --config runs */
	char runtime_dir[PATH_MAX];    /* arena; "" = $RUNTIME_DIRECTORY, else
					* /dev/shm */
	struct listener_config native; /* native.path = stile.sock */
	struct listener_config http;   /* http.sock */
	struct listener_config admin;  /* admin.sock; max_connections 64 */
	uint32_t workers;              /* 0 = one per CPU */
	enum pin_mode pin;             /* each worker on a CPU of its own */
	uint32_t spin_us;              /* 0 = off */
	uint32_t max_connections;      /* in all, 4096 */
	uint32_t idle_timeout_s;       /* 75, at least 60 */
	uint32_t recv_buffers;         /* per worker, power of two, 512 */
	uint32_t send_buffers;         /* per worker, 512 */
	uint64_t output_bytes_max;     /* unread replies per connection */
	uint32_t max_orgs, max_projects, max_keys;
	uint64_t ring_bytes;        /* memory of all windows' rings together */
	uint32_t default_limit;     /* 100 */
	uint64_t default_window_ms; /* 60000; in YAML default_limit: 100/60s */
	char key_prefix[12];        /* il: [a-z0-9]{1,8} */
	char realm[64];             /* stile */
	enum reset_form reset_form; /* http.reset: epoch|delta */
	enum error_form error_form; /* http.errors: flat|nested|problem */
	uint32_t snapshot_interval_s; /* 10; 0 = on demand and at exit only */
	uint32_t request_ids;         /* 32768 */
	uint32_t request_id_ttl_s;    /* 10; 0 = not remembered */
	uint32_t holds;               /* 16384 */
	uint32_t hold_ttl_s;          /* 300 */
	int hold_expiry;              /* enum hold_expiry */
	uint32_t usage_cells;         /* 16384 */
	uint32_t rule_subjects;       /* 4096 */
	uint32_t usage_interval_s;    /* 5 */
	uint32_t usage_retention_s;   /* 90 days; 0 = for ever */
	uint32_t events_retention_s;  /* 90 days; 0 = for ever */
	uint32_t audit_retention_s;   /* 400 days; 0 = for ever */
	enum restore_mode restore;
	uint32_t clock_settle_s;  /* 600; 0 = a step is believed at once */
	uint32_t drain_timeout_s; /* 10 */
	uint32_t log_level;       /* enum log_level */
	struct routes routes;     /* none */
};

#define CONFIG_FILE_MAX (1u << 20) /* bytes of a file */
#define CONFIG_FAULTS_MAX 100      /* faults that are told */

void config_defaults(struct config *c);

/*
 * Reads a YAML file over what *c holds (call config_defaults() first) and
 * checks the whole. On failure *c is untouched and every fault is written to
 * `diag` as "file:line: name: what was expected"; returns -EINVAL, or the
 * errno of reading the file (told as well). `diag` may be NULL.
 */
int config_load(struct config *c, const char *path, FILE *diag);

/* The same from memory; `name` stands for the file in faults. */
int config_load_text(struct config *c, const char *name, const char *text,
		     size_t text_len, FILE *diag);

/* The same checks for a config that did not come from a file. */
int config_check(const struct config *c, FILE *diag);

/* The path of a listener as it is bound: `dir` put before a relative one.
 * -ENAMETOOLONG when it does not fit a socket address. */
int config_socket_path(const struct config *c, const struct listener_config *l,
		       char out[static CONFIG_PATH_MAX]);

/* All options with defaults, bounds and sentences, as a YAML file in which
 * everything is commented out. */
void config_print_reference(FILE *out);

/* "100/60s", "5/1500ms", "1000/1h", "10/31d" (ms s m h d; a bare number is
 * seconds). -EINVAL: not of that shape; -ERANGE: outside 1..8388607 in 1 ms to
 * 31 days. */
int config_parse_limit(const char *text, uint32_t *ret_limit,
		       uint64_t *ret_window_ms);
/* The same without a bound on either number. */
int config_parse_rate(const char *text, uint64_t *ret_units,
		      uint64_t *ret_period_ms);
/* "1h", "500ms", "30d"; a bare number is seconds. -EINVAL, -ERANGE (more
 * milliseconds than 64 bits hold). */
int config_parse_duration(const char *text, uint64_t *ret_ms);
/* 60000 -> "60s", 7200000 -> "2h", 1500 -> "1500ms". */
#define CONFIG_DURATION_MAX 24
void config_format_duration(uint64_t ms, char out[static CONFIG_DURATION_MAX]);
/* A whole number and nothing else. */
int config_parse_count(const char *text, uint64_t *ret_count);
/* "4096", "64KiB", "4MiB", "4GiB". -EINVAL, -ERANGE. */
int config_parse_bytes(const char *text, uint64_t *ret_bytes);

#endif
