/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_CONFIG_H
#define STILE_CONTROL_CONFIG_H

/*
 * control/config - every setting of stiled.
 *
 * One table in config.c has a row per option: dotted name, type, unit,
 * default, bounds, sentence. The parser, --help-config, --check-config and
 * docs/configuration.md come out of that table.
 * YAML nests at the dots:  http: { path: http.sock, max_connections: 4096 }
 * Relative paths are relative to the state directory's parent (--dir).
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_PATH_MAX 108 /* sun_path */

struct listener_config {
	char path[CONFIG_PATH_MAX]; /* "" = do not listen */
	uint32_t mode;		    /* 0660; admin 0600 */
	uint32_t max_connections;
};

enum restore_mode { RESTORE_SNAPSHOT, RESTORE_STRICT };
enum reset_form { RESET_EPOCH, RESET_DELTA };

struct config {
	char dir[PATH_MAX];	    /* --dir; "." default of --config runs */
	char runtime_dir[PATH_MAX]; /* arena; "" = $RUNTIME_DIRECTORY, else
				     * /dev/shm */
	struct listener_config native; /* native.path = stile.sock */
	struct listener_config http;   /* http.sock */
	struct listener_config admin;  /* admin.sock; max_connections 64 */
	uint32_t workers;	    /* 0 = one per CPU */
	uint32_t max_connections;   /* in all, 4096 */
	uint32_t idle_timeout_s;    /* 75, at least 60 */
	uint32_t recv_buffers;	    /* per worker, power of two, 512 */
	uint32_t send_buffers;	    /* per worker, 512 */
	uint64_t output_bytes_max;  /* unread replies per connection */
	uint32_t max_orgs, max_projects, max_keys;
	uint64_t ring_bytes; /* memory of all windows' rings together */
	uint32_t default_limit;	    /* 100 */
	uint64_t default_window_ms; /* 60000; in YAML default_limit: 100/60s */
	char key_prefix[12];	    /* il: [a-z0-9]{1,8} */
	char realm[64];		    /* stile */
	enum reset_form reset_form; /* http.reset: epoch|delta */
	uint32_t snapshot_interval_s; /* 10; 0 = on demand and at exit only */
	enum restore_mode restore;
	uint32_t drain_timeout_s; /* 10 */
	uint32_t log_level;	  /* enum log_level */
};

void config_defaults(struct config *c);

/* Reads a YAML file over the defaults and checks the whole. On failure writes
 * every fault as "file:line: what was expected" to `diag`; returns -EINVAL
 * (or the errno of opening it). */
int config_load(struct config *c, const char *path, FILE *diag);

/* The same checks for a config that did not come from a file. */
int config_check(const struct config *c, FILE *diag);

/* All options with defaults, bounds and sentences, as YAML comments. */
void config_print_reference(FILE *out);

/* "100/60s", "5/1500ms", "1000/1h", "10/31d" (ms s m h d). -EINVAL, -ERANGE. */
int config_parse_limit(const char *text, uint32_t *ret_limit,
		       uint64_t *ret_window_ms);
/* "1h", "500ms", "30d"; a bare number is seconds. */
int config_parse_duration(const char *text, uint64_t *ret_ms);

#endif
