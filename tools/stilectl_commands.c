/* SPDX-License-Identifier: MIT */
#include "stilectl.h"

/*
 * The one place that knows every command and option: the command line is
 * parsed, checked and explained from these rows. A command added here also
 * belongs in stilectl.bash-completion (the end-to-end test compares them).
 */
const struct ctl_option ctl_options[OPT_COUNT] = {
	[OPT_DIR] = {"dir", "DIR", "directory of stiled's sockets (see below)",
		     false},
	[OPT_SOCKET] = {"socket", "PATH",
			"the socket, if not DIR/admin.sock (check: "
			"DIR/http.sock)",
			false},
	[OPT_JSON] = {"json", NULL, "print JSON for programs", false},
	[OPT_HELP] = {"help", NULL, "explain stilectl, or the command", false},
	[OPT_VERSION] = {"version", NULL, "print the version", false},
	[OPT_ORG] = {"org", "ORG", "the organization: its id or name", false},
	[OPT_PROJECT] = {"project", "P", "the project: its id or name", false},
	[OPT_NAME] = {"name", "N", "a name for people, up to 100 bytes", false},
	[OPT_EXPIRES] = {"expires", "WHEN",
			 "RFC 3339 time, or +30d (units ms s m h d)", false},
	[OPT_LIMIT] = {"limit", "LIMIT",
		       "units per window, such as 100/60s (units ms s m h d)",
		       false},
	[OPT_GRACE] = {"grace", "TIME",
		       "how long the old key stays valid, such as 1h", false},
	[OPT_COST] = {"cost", "N", "units that the check costs", false},
	[OPT_ROUTE] = {"route", "R", "the route, or any label of the proxy's",
		       true},
	[OPT_PEEK] = {"peek", NULL, "ask without counting", false},
	[OPT_BY] = {"by", "WHAT", "project, key, route or hour", false},
	[OPT_FROM] = {"from", "WHEN", "RFC 3339 time, or how long ago: -7d",
		      false},
	[OPT_TO] = {"to", "WHEN", "the same; a full hour is exclusive", false},
	[OPT_CSV] = {"csv", NULL, "print CSV with a line of titles", false},
	[OPT_PLAN] = {"plan", "P", "the plan: its id or name", false},
	[OPT_CREDITS] = {"credits", "N", "count its credits, and grant so many",
			 false},
	[OPT_BUDGET] = {"budget", "B",
			"cap in a period: N/day, N/week, N/month, N/billing",
			false},
	[OPT_INDEX] = {"index", "I", "which of the two budgets: 0 or 1", false},
	[OPT_LEVEL] = {"level", "L",
		       "what it counts for: org, project, key, route, address",
		       false},
	[OPT_SHADOW] = {"shadow", NULL, "count and report, but deny nothing",
			false},
	[OPT_REQUESTS] = {"requests", NULL,
			  "each check counts 1, whatever it costs", false},
	[OPT_WHEN_FULL] = {"when-full", "DO",
			   "no room for another subject: deny, or pass", false},
	[OPT_MAX_SUBJECTS] = {"max-subjects", "N",
			      "room for so many keys, routes, ...", false},
	[OPT_SCOPE] = {"scope", "S",
		       "the scope that a check needs, or a key has", true},
	[OPT_NETWORK] = {"network", "CIDR", "clients that may use it", true},
	[OPT_KIND] = {"kind", "K",
		      "pack (if not said), trial, referral, provisional",
		      false},
	[OPT_MAX] = {"max", "N", "at most so many credits a month", false},
	[OPT_DAY] = {"day", "D", "day of the month, 1 to 31 (or its last)",
		     false},
	[OPT_TIMEZONE] = {"timezone", "Z", "such as Europe/Berlin", false},
	[OPT_AFTER] = {"after", "ID", "only those behind this one", false},
	[OPT_KEY] = {"key", "ID", "the key: its id, never the key itself",
		     false},
	[OPT_KEY_ID] = {"key-id", "ID", "the key: its id, in place of KEY",
			false},
	[OPT_ADDRESS] = {"address", "A", "the client's address", false},
	[OPT_REQUEST_ID] = {"request-id", "ID",
			    "the same again with the same ID is charged once",
			    false},
	[OPT_HOLD_TIME] = {"hold-time", "TIME",
			   "how long the reservation lasts, such as 5m", false},
};

#define ORG OPT_BIT(OPT_ORG)
#define PROJECT OPT_BIT(OPT_PROJECT)
#define NAME OPT_BIT(OPT_NAME)
#define EXPIRES OPT_BIT(OPT_EXPIRES)
#define ROUTE OPT_BIT(OPT_ROUTE)
#define ACCESS (OPT_BIT(OPT_SCOPE) | ROUTE | OPT_BIT(OPT_NETWORK))
#define RULE                                                                   \
	(OPT_BIT(OPT_LEVEL) | ROUTE | OPT_BIT(OPT_SHADOW) |                    \
	 OPT_BIT(OPT_REQUESTS) | OPT_BIT(OPT_WHEN_FULL) |                      \
	 OPT_BIT(OPT_MAX_SUBJECTS))
#define SUBJECT (OPT_BIT(OPT_KEY) | PROJECT | ROUTE | OPT_BIT(OPT_ADDRESS))
#define QUESTION                                                               \
	(OPT_BIT(OPT_KEY_ID) | OPT_BIT(OPT_COST) | ROUTE |                     \
	 OPT_BIT(OPT_SCOPE) | OPT_BIT(OPT_ADDRESS))
#define SUBJECT_OPTIONS "[--key ID|--project P|--route R|--address A]"
#define RULE_OPTIONS                                                           \
	"[--level L] [--route R] [--shadow] [--requests] [--when-full pass] "  \
	"[--max-subjects N]"
#define LIMIT_WORDS                                                            \
	"LIMIT is one of\n"                                                    \
	"  100/60s                   at most 100 units in any 60 seconds\n"    \
	"  gcra 10/1s burst 5        one each tenth of a second, 5 at once\n"  \
	"  inflight 5 lease 30s      5 at a time, each for at most 30s; "      \
	"with\n"                                                               \
	"                            --level address of each client\n"

const struct ctl_command ctl_commands[] = {
	{.name = "org create",
	 .args = "NAME [--limit 100/60s] [--plan P] [--credits N]",
	 .summary = "create an organization",
	 .details = "All keys of an organization share its limit. Without "
		    "--limit that of its plan applies, and the server's "
		    "default when the plan has none. Credits are counted once "
		    "some were granted, or with --credits 0.",
	 .args_min = 1,
	 .args_max = 1,
	 .options =
		 OPT_BIT(OPT_LIMIT) | OPT_BIT(OPT_PLAN) | OPT_BIT(OPT_CREDITS),
	 .run = cmd_org_create},
	{.name = "org list",
	 .args = "",
	 .summary = "list all organizations",
	 .details = "USED counts every unit ever allowed, IN WINDOW those that "
		    "weigh now.",
	 .run = cmd_org_list},
	{.name = "org show",
	 .args = "ORG",
	 .summary = "show one organization",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_org_show},
	{.name = "org suspend",
	 .args = "ORG",
	 .summary = "refuse every check of an organization",
	 .details = "Once this command has returned 0, no check that starts "
		    "later passes (403).",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_org_suspend},
	{.name = "org resume",
	 .args = "ORG",
	 .summary = "end a suspension",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_org_resume},
	{.name = "org limit",
	 .args = "ORG 200/60s",
	 .summary = "change an organization's limit while it is in use",
	 .details =
		 "1 to 8388607 units in a sliding window of 1ms to 31d (units "
		 "ms s m h d).",
	 .args_min = 2,
	 .args_max = 2,
	 .run = cmd_org_limit},
	{.name = "org plan",
	 .args = "ORG PLAN",
	 .summary = "give an organization another plan",
	 .details = "What its limits have counted stays.",
	 .args_min = 2,
	 .args_max = 2,
	 .run = cmd_org_plan},
	{.name = "org billing",
	 .args = "ORG [--day D] [--timezone Z]",
	 .summary = "say when an organization's billing periods begin",
	 .args_min = 1,
	 .args_max = 1,
	 .options = OPT_BIT(OPT_DAY) | OPT_BIT(OPT_TIMEZONE),
	 .run = cmd_org_billing},
	{.name = "limit set",
	 .args = "--org ORG NAME LIMIT " RULE_OPTIONS,
	 .summary = "set a limit of one organization",
	 .details = LIMIT_WORDS
	 "  off                       none, though the plan has it\n\n"
	 "A limit replaces the plan's of the same name. The one named org is "
	 "over all checks of the organization. What was counted stays, unless "
	 "level, algorithm or route change.",
	 .args_min = 2,
	 .args_max = 6,
	 .options = ORG | RULE,
	 .required = ORG,
	 .run = cmd_limit_set},
	{.name = "limit remove",
	 .args = "--org ORG NAME",
	 .summary = "end a limit of the organization's own",
	 .details = "It has again what its plan says.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = ORG,
	 .required = ORG,
	 .run = cmd_limit_remove},
	{.name = "limit list",
	 .args = "--org ORG",
	 .summary = "list the limits an organization has, wherever from",
	 .options = ORG,
	 .required = ORG,
	 .run = cmd_limit_list},
	{.name = "limit show",
	 .args = "--org ORG NAME " SUBJECT_OPTIONS,
	 .summary = "show what a limit has counted for one subject",
	 .details = "The subject is what the level of the limit asks for; none "
		    "for one of level org.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = ORG | SUBJECT,
	 .required = ORG,
	 .run = cmd_limit_show},
	{.name = "limit reset",
	 .args = "--org ORG NAME " SUBJECT_OPTIONS,
	 .summary = "forget what a limit has counted for one subject",
	 .details = "Budgets, credits and usage stay as they are, and requests "
		    "in flight are not forgotten. An address begins anew for "
		    "all organizations of the plan. The audit trail tells who "
		    "did it.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = ORG | SUBJECT,
	 .required = ORG,
	 .run = cmd_limit_reset},
	{.name = "plan create",
	 .args = "NAME",
	 .summary = "create a plan: limits for many organizations",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_plan_create},
	{.name = "plan list",
	 .args = "",
	 .summary = "list all plans",
	 .run = cmd_plan_list},
	{.name = "plan show",
	 .args = "PLAN",
	 .summary = "show a plan and its limits",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_plan_show},
	{.name = "plan remove",
	 .args = "PLAN",
	 .summary = "remove a plan that no organization has",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_plan_remove},
	{.name = "plan limit set",
	 .args = "PLAN NAME LIMIT " RULE_OPTIONS,
	 .summary = "set a limit of a plan while it is in use",
	 .details = LIMIT_WORDS "\nThe limit named org is for organizations "
				"that have none of their own.",
	 .args_min = 3,
	 .args_max = 7,
	 .options = RULE,
	 .run = cmd_plan_limit_set},
	{.name = "plan limit remove",
	 .args = "PLAN NAME",
	 .summary = "remove a limit of a plan",
	 .args_min = 2,
	 .args_max = 2,
	 .run = cmd_plan_limit_remove},
	{.name = "project create",
	 .args = "--org ORG NAME [--budget N/month]",
	 .summary = "create a project in an organization",
	 .details = "Keys may belong to a project, so that usage can be told "
		    "apart. A budget caps the units of all keys of the project "
		    "in a period: day, week, month (of the calendar in the "
		    "organization's time zone) or billing.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = ORG | OPT_BIT(OPT_BUDGET),
	 .required = ORG,
	 .run = cmd_project_create},
	{.name = "project list",
	 .args = "--org ORG",
	 .summary = "list the projects of an organization",
	 .options = ORG,
	 .required = ORG,
	 .run = cmd_project_list},
	{.name = "project budget",
	 .args = "PROJECT N/month|none [--index 1]",
	 .summary = "change a budget of a project",
	 .details = "PROJECT is an id. A project has two budgets, 0 and 1; "
		    "another number for the same kind of period keeps what was "
		    "used in it.",
	 .args_min = 2,
	 .args_max = 2,
	 .options = OPT_BIT(OPT_INDEX),
	 .run = cmd_project_budget},
	{.name = "key create",
	 .args = "--org ORG [--project P] [--name N] [--expires WHEN] "
		 "[--scope S]... [--route R]... [--network CIDR]...",
	 .summary = "create a key and show it, this once",
	 .details = "The key is printed on standard output, everything else on "
		    "standard error. stile keeps only its SHA-256: nobody can "
		    "show the key again. A key without --scope, --route or "
		    "--network may be used for all of them.",
	 .options = ORG | PROJECT | NAME | EXPIRES | ACCESS,
	 .required = ORG,
	 .repeats = ACCESS,
	 .run = cmd_key_create},
	{.name = "key list",
	 .args = "[--org ORG]",
	 .summary = "list the keys of an organization, or all keys",
	 .options = ORG,
	 .run = cmd_key_list},
	{.name = "key show",
	 .args = "ID",
	 .summary = "show what is known of a key (never the key)",
	 .details = "ID is the public part: the 8 characters after il_.",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_key_show},
	{.name = "key revoke",
	 .args = "ID",
	 .summary = "make a key worthless, at once and for good",
	 .details = "Once this command has returned 0, no check that starts "
		    "later passes with the key, on any thread, after any "
		    "crash. Revoking a revoked key changes nothing.",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_key_revoke},
	{.name = "key rotate",
	 .args = "ID [--grace 1h]",
	 .summary = "replace a key by a new one and show that, this once",
	 .details = "The new key takes over organization, project and name. "
		    "With --grace the old key stays valid for that time (never "
		    "beyond its own expiry); without it, it is revoked now.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = OPT_BIT(OPT_GRACE),
	 .run = cmd_key_rotate},
	{.name = "key disable",
	 .args = "ID",
	 .summary = "refuse a key until it is enabled again",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_key_disable},
	{.name = "key enable",
	 .args = "ID",
	 .summary = "end that",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_key_enable},
	{.name = "key import",
	 .args = "--org ORG [--project P] [--expires WHEN] [FILE|-]",
	 .summary = "import keys of another system by their SHA-256",
	 .details =
		 "Reads FILE, or standard input. One key a line, either\n"
		 "  <SHA-256 of the key, 64 hex digits> [name]\n"
		 "or a JSON object\n"
		 "  {\"hash\": \"<64 hex>\", \"name\": \"...\", \"project\": "
		 "\"...\", \"expires_at\": \"...\"}\n"
		 "Empty lines and lines that start with # are skipped. What a "
		 "line says about project and expiry wins over --project and "
		 "--expires. Lines are sent in batches; a batch is imported "
		 "wholly or not at all, and a fault is reported with its line "
		 "and with what has been imported before it.\n\n"
		 "Import only long random keys: SHA-256 does not hide a key "
		 "that can be guessed.",
	 .args_max = 1,
	 .options = ORG | PROJECT | EXPIRES,
	 .required = ORG,
	 .run = cmd_key_import},
	{.name = "key hash",
	 .args = "",
	 .summary = "print the SHA-256 of a key read from standard input",
	 .details = "For key import, and for clients of the native protocol "
		    "that send the hash. Needs no server.",
	 .run = cmd_key_hash},
	{.name = "credits grant",
	 .args = "ORG N [--kind K] [--route R] [--expires WHEN]",
	 .summary = "grant an organization a pool of credits",
	 .details = "From then on its credits are counted: without any, its "
		    "checks are denied (402). Pools are used up in the order "
		    "trial, subscription, pack, referral, provisional, "
		    "overage.",
	 .args_min = 2,
	 .args_max = 2,
	 .options = OPT_BIT(OPT_KIND) | ROUTE | EXPIRES,
	 .run = cmd_credits_grant},
	{.name = "credits subscribe",
	 .args = "ORG N",
	 .summary = "grant so many credits each month, the first now",
	 .details = "What is left at the end of a month lapses. Trials end. 0 "
		    "ends the subscription.",
	 .args_min = 2,
	 .args_max = 2,
	 .run = cmd_credits_subscribe},
	{.name = "credits revoke",
	 .args = "ORG POOL",
	 .summary = "close a pool; what is left of it is gone",
	 .args_min = 2,
	 .args_max = 2,
	 .run = cmd_credits_revoke},
	{.name = "credits overage",
	 .args = "ORG on|off [--max N]",
	 .summary = "pay as you go when all pools are empty, or not",
	 .args_min = 2,
	 .args_max = 2,
	 .options = OPT_BIT(OPT_MAX),
	 .run = cmd_credits_overage},
	{.name = "credits list",
	 .args = "ORG",
	 .summary = "list the pools of an organization",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_credits_list},
	{.name = "credits ledger",
	 .args = "ORG",
	 .summary = "list what was granted, and what was left in the end",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_credits_ledger},
	{.name = "check",
	 .args = "KEY [--cost N] [--route R] [--scope S] [--address A] "
		 "[--request-id ID] [--peek]",
	 .summary = "ask whether a key may pass now, as a proxy would",
	 .details =
		 "Asks DIR/http.sock and spends units like any other check, "
		 "unless --peek is given. Without --cost it is what the route "
		 "costs. `stilectl settle` ends the hold that "
		 "it tells, if a limit counts what is in flight. Exit status: "
		 "0 "
		 "allow, 1 deny, 2 error (malformed input, server not ready or "
		 "full, no answer).\n\n"
		 "With - for KEY the key is read from standard input. Prefer "
		 "that: other users of the machine can see a command line in "
		 "the list of processes, and the shell remembers it in its "
		 "history.",
	 .args_min = 1,
	 .args_max = 1,
	 .takes_key = true,
	 .options = OPT_BIT(OPT_COST) | OPT_BIT(OPT_ROUTE) |
		    OPT_BIT(OPT_SCOPE) | OPT_BIT(OPT_ADDRESS) |
		    OPT_BIT(OPT_REQUEST_ID) | OPT_BIT(OPT_PEEK),
	 .run = cmd_check},
	{.name = "charge",
	 .args = "KEY|--key-id ID [--cost N] [--route R] [--scope S] "
		 "[--address A] [--request-id ID] [--peek]",
	 .summary = "decide a check for a key, and count what it costs",
	 .details =
		 "The check that a proxy makes, over DIR/admin.sock, so that "
		 "the key's id is enough. It is decided as over the check "
		 "sockets: no limit, budget or state is passed over. Without "
		 "--cost it is what the route costs. With - for KEY the key is "
		 "read from standard input. Exit status: 0 allow, 1 deny, 2 "
		 "error.",
	 .args_max = 1,
	 .takes_key = true,
	 .options = QUESTION | OPT_BIT(OPT_REQUEST_ID) | OPT_BIT(OPT_PEEK),
	 .run = cmd_charge},
	{.name = "reserve",
	 .args = "KEY|--key-id ID [--cost N] [--route R] [--scope S] "
		 "[--address A] [--request-id ID] [--hold-time TIME]",
	 .summary = "the same for a cost that is known only later",
	 .details =
		 "HOLD of the answer is what `stilectl settle` ends, or a "
		 "settlement over any check socket. One that nobody ends "
		 "expires after TIME, 1ms to 31d (the server's hold_ttl), and "
		 "is returned or kept as the server is configured. Everything "
		 "else is as with `stilectl charge`.",
	 .args_max = 1,
	 .takes_key = true,
	 .options = QUESTION | OPT_BIT(OPT_REQUEST_ID) | OPT_BIT(OPT_HOLD_TIME),
	 .run = cmd_reserve},
	{.name = "settle",
	 .args = "HOLD [--cost N]",
	 .summary = "end a reservation or lease at what it has cost",
	 .details = "HOLD is what X-Stile-Hold or `stilectl reserve` said. "
		    "Without --cost it stays what "
		    "was reserved; 0 gives everything back. What budgets and "
		    "credits do not allow is not charged, and told.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = OPT_BIT(OPT_COST),
	 .run = cmd_settle},
	{.name = "explain",
	 .args = "KEY|--key-id ID [--cost N] [--route R] [--scope S] "
		 "[--address A]",
	 .summary = "what every limit says to a check, without counting it",
	 .details =
		 "Asks DIR/admin.sock. Without --cost it is what the route "
		 "costs. A limit in the shadow denies nothing; the one that "
		 "the check is denied for is marked. With - for KEY the key is "
		 "read from standard input. Exit status: 0 it would be "
		 "allowed, 1 denied, 2 error.",
	 .args_max = 1,
	 .takes_key = true,
	 .options = QUESTION,
	 .run = cmd_explain},
	{.name = "usage",
	 .args = "[--org ORG [--by WHAT] [--from WHEN] [--to WHEN]]",
	 .summary = "what was used, by project, key, route or hour",
	 .details =
		 "Without --org: one line for each organization. With --org: "
		 "the organization and each of its keys, with all units that "
		 "were ever allowed.\n\n"
		 "With --by a report of the hours that are kept, or of those "
		 "--from ... --to ...: from the hour that the first is in, up "
		 "to those that begin before the second. Checks and units are "
		 "those allowed, what was counted a moment ago included.",
	 .options = ORG | OPT_BIT(OPT_BY) | OPT_BIT(OPT_FROM) |
		    OPT_BIT(OPT_TO) | OPT_BIT(OPT_CSV),
	 .run = cmd_usage},
	{.name = "events",
	 .args = "[--after ID]",
	 .summary = "list what happened that is to be told",
	 .options = OPT_BIT(OPT_AFTER),
	 .run = cmd_events},
	{.name = "audit",
	 .args = "[--after ID]",
	 .summary = "list who changed what",
	 .options = OPT_BIT(OPT_AFTER),
	 .run = cmd_audit},
	{.name = "status",
	 .args = "",
	 .summary = "show how the server is doing",
	 .run = cmd_status},
	{.name = "snapshot",
	 .args = "",
	 .summary = "write the counters to disk now",
	 .run = cmd_snapshot},
	{.name = "backup",
	 .args = "FILE",
	 .summary = "copy the records to a new database file",
	 .details =
		 "stiled writes the file (mode 0600), so FILE has to be in a "
		 "directory that stiled may write to. An existing file is "
		 "never overwritten. It holds hashes, never keys.",
	 .args_min = 1,
	 .args_max = 1,
	 .run = cmd_backup},
	{.name = "metrics",
	 .args = "",
	 .summary = "print the metrics in Prometheus' text format",
	 .run = cmd_metrics},
	{.name = "help",
	 .args = "[COMMAND]",
	 .summary = "explain stilectl, or one command",
	 .args_max = 3,
	 .run = cmd_help},
};

const size_t ctl_command_count = sizeof(ctl_commands) / sizeof(*ctl_commands);
