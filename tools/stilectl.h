/* SPDX-License-Identifier: MIT */
#ifndef STILE_TOOLS_STILECTL_H
#define STILE_TOOLS_STILECTL_H

/*
 * stilectl - what an operator types; a client of the admin socket.
 *
 * stilectl.c           reads the command line, finds the command, runs it
 * stilectl_commands.c  the table of commands and of options: names, help
 * stilectl_help.c      help texts out of that table, and "did you mean"
 * stilectl_records.c   organizations, projects and keys
 * stilectl_limits.c    plans, limits, budgets
 * stilectl_credits.c   credits, events, the audit trail
 * stilectl_import.c    key import, in batches
 * stilectl_check.c     check and key hash: the commands that hold a key
 * stilectl_charge.c    checks over the admin API: charge, reserve, settle
 * stilectl_explain.c   what limits say: explain, limit show and reset
 * stilectl_usage.c     usage: totals and reports
 * stilectl_server.c    status, snapshot, backup, metrics
 * stilectl_api.c       HTTP over the Unix socket (libcurl, jansson)
 * stilectl_calls.c     calls that most commands make
 * stilectl_pages.c     lists that the server hands out in pages
 * stilectl_print.c     tables and records for people
 * stilectl_secret.c    memory that is wiped when it is given back
 * stilectl_time.c      durations and times as text
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the process returns; `stilectl --help` explains them. */
enum ctl_exit {
	CTL_OK = 0,      /* done; check: allow */
	CTL_REFUSED = 1, /* the server said no; check: deny */
	CTL_TROUBLE = 2, /* wrong usage, or no answer; check: no verdict */
};

/* Every option there is; stilectl_commands.c has a row for each. */
enum ctl_option_id {
	OPT_DIR,
	OPT_SOCKET,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
	OPT_GLOBAL_COUNT, /* those above go with every command */
	OPT_ORG = OPT_GLOBAL_COUNT,
	OPT_PROJECT,
	OPT_NAME,
	OPT_EXPIRES,
	OPT_LIMIT,
	OPT_GRACE,
	OPT_COST,
	OPT_ROUTE,
	OPT_PEEK,
	OPT_BY,
	OPT_FROM,
	OPT_TO,
	OPT_CSV,
	OPT_PLAN,
	OPT_CREDITS,
	OPT_BUDGET,
	OPT_INDEX,
	OPT_LEVEL,
	OPT_SHADOW,
	OPT_REQUESTS,
	OPT_WHEN_FULL,
	OPT_MAX_SUBJECTS,
	OPT_SCOPE,
	OPT_NETWORK,
	OPT_KIND,
	OPT_MAX,
	OPT_DAY,
	OPT_TIMEZONE,
	OPT_AFTER,
	OPT_KEY,
	OPT_KEY_ID,
	OPT_ADDRESS,
	OPT_REQUEST_ID,
	OPT_HOLD_TIME,
	OPT_COUNT
};

#define OPT_BIT(id) (UINT64_C(1) << (id))

struct ctl_option {
	const char *name;
	const char *value; /* what its value is called; NULL = it has none */
	const char *help;  /* one line */
	bool repeats;      /* some commands take it several times */
};

#define CTL_ARGS_MAX 8  /* words of a command line that are no options */
#define CTL_MORE_MAX 96 /* values of options that repeat */

struct api;

/* One run: the command line as understood. */
struct ctl {
	const char *dir;            /* where the sockets are */
	const char *opt[OPT_COUNT]; /* value, "" for a flag; NULL = not given */
	/* Every value of the options that repeat, in order. */
	struct {
		unsigned id;
		const char *value;
	} more[CTL_MORE_MAX];
	unsigned more_count;
	char *arg[CTL_ARGS_MAX]; /* what follows the command's name */
	unsigned arg_count;
	struct api *api; /* the connection; opened by the first call */
};

struct ctl_command {
	const char *name; /* one to three words */
	const char *args; /* the rest of the synopsis */
	const char *summary;
	const char *details; /* paragraphs for --help; may be NULL */
	unsigned args_min, args_max;
	bool takes_key;    /* its argument is a key; no other's may be */
	uint64_t options;  /* OPT_BIT()s it takes */
	uint64_t required; /* OPT_BIT()s it cannot do without */
	uint64_t repeats;  /* OPT_BIT()s it takes several times */
	int (*run)(struct ctl *c);
};

extern const struct ctl_option ctl_options[OPT_COUNT];
extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;

static inline bool ctl_json(const struct ctl *c)
{
	return c->opt[OPT_JSON] != NULL;
}

/* One sentence on standard error, after "stilectl: ". What is secret of a key
 * in it is left out. */
void ctl_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* help */
void help_overview(void);
/* The commands whose first word is `group`; false when there are none. */
bool help_group(const char *group);
void help_command(const struct ctl_command *cmd);
/* The option or command (one or two words) nearest to `text`; NULL when none
 * is near. */
const char *help_nearest_option(const char *text);
const char *help_nearest_command(const char *text);

/* the commands */
int cmd_help(struct ctl *c);
int cmd_org_create(struct ctl *c);
int cmd_org_list(struct ctl *c);
int cmd_org_show(struct ctl *c);
int cmd_org_suspend(struct ctl *c);
int cmd_org_resume(struct ctl *c);
int cmd_org_limit(struct ctl *c);
int cmd_org_plan(struct ctl *c);
int cmd_org_billing(struct ctl *c);
int cmd_limit_set(struct ctl *c);
int cmd_limit_remove(struct ctl *c);
int cmd_limit_list(struct ctl *c);
int cmd_limit_show(struct ctl *c);
int cmd_limit_reset(struct ctl *c);
int cmd_plan_create(struct ctl *c);
int cmd_plan_list(struct ctl *c);
int cmd_plan_show(struct ctl *c);
int cmd_plan_remove(struct ctl *c);
int cmd_plan_limit_set(struct ctl *c);
int cmd_plan_limit_remove(struct ctl *c);
int cmd_project_create(struct ctl *c);
int cmd_project_budget(struct ctl *c);
int cmd_project_list(struct ctl *c);
int cmd_key_create(struct ctl *c);
int cmd_key_list(struct ctl *c);
int cmd_key_show(struct ctl *c);
int cmd_key_revoke(struct ctl *c);
int cmd_key_rotate(struct ctl *c);
int cmd_key_disable(struct ctl *c);
int cmd_key_enable(struct ctl *c);
int cmd_key_import(struct ctl *c);
int cmd_key_hash(struct ctl *c);
int cmd_credits_grant(struct ctl *c);
int cmd_credits_subscribe(struct ctl *c);
int cmd_credits_revoke(struct ctl *c);
int cmd_credits_overage(struct ctl *c);
int cmd_credits_list(struct ctl *c);
int cmd_credits_ledger(struct ctl *c);
int cmd_events(struct ctl *c);
int cmd_audit(struct ctl *c);
int cmd_check(struct ctl *c);
int cmd_charge(struct ctl *c);
int cmd_reserve(struct ctl *c);
int cmd_explain(struct ctl *c);
int cmd_settle(struct ctl *c);
int cmd_usage(struct ctl *c);
int cmd_status(struct ctl *c);
int cmd_snapshot(struct ctl *c);
int cmd_backup(struct ctl *c);
int cmd_metrics(struct ctl *c);

#endif
