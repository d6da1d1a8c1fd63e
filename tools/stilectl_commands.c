/* SPDX-License-Identifier: MIT */
#include "stilectl.h"

/*
 * The one place that knows every command and option: the command line is
 * parsed, checked and explained from these rows. A command added here also
 * belongs in stilectl.bash-completion (the end-to-end test compares them).
 */
const struct ctl_option ctl_options[OPT_COUNT] = {
	[OPT_DIR] = {"dir", "DIR", "directory of stiled's sockets (see below)"},
	[OPT_SOCKET] = {"socket", "PATH",
			"the socket, if not DIR/admin.sock (check: "
			"DIR/http.sock)"},
	[OPT_JSON] = {"json", NULL, "print JSON for programs"},
	[OPT_HELP] = {"help", NULL, "explain stilectl, or the command"},
	[OPT_VERSION] = {"version", NULL, "print the version"},
	[OPT_ORG] = {"org", "ORG", "the organization: its id or name"},
	[OPT_PROJECT] = {"project", "P", "the project: its id or name"},
	[OPT_NAME] = {"name", "N", "a name for people, up to 100 bytes"},
	[OPT_EXPIRES] = {"expires", "WHEN",
			 "RFC 3339 time, or +30d (units ms s m h d)"},
	[OPT_LIMIT] = {"limit", "LIMIT",
		       "units per window, such as 100/60s (units ms s m h d)"},
	[OPT_GRACE] = {"grace", "TIME",
		       "how long the old key stays valid, such as 1h"},
	[OPT_COST] = {"cost", "N", "units that the check asks for (1)"},
	[OPT_ROUTE] = {"route", "R", "the route to name in the check"},
	[OPT_PEEK] = {"peek", NULL, "ask without counting"},
	[OPT_BY] = {"by", "WHAT", "project, key, route or hour"},
	[OPT_FROM] = {"from", "WHEN", "RFC 3339 time, or how long ago: -7d"},
	[OPT_TO] = {"to", "WHEN", "the same; a full hour is exclusive"},
	[OPT_CSV] = {"csv", NULL, "print CSV with a line of titles"},
};

#define ORG OPT_BIT(OPT_ORG)
#define PROJECT OPT_BIT(OPT_PROJECT)
#define NAME OPT_BIT(OPT_NAME)
#define EXPIRES OPT_BIT(OPT_EXPIRES)

const struct ctl_command ctl_commands[] = {
	{.name = "org create",
	 .args = "NAME [--limit 100/60s]",
	 .summary = "create an organization",
	 .details = "All keys of an organization share its limit. Without "
		    "--limit the server's default applies.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = OPT_BIT(OPT_LIMIT),
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
	 .details = "1 to 65536 units in a sliding window of 1ms to 31d (units "
		    "ms s m h d).",
	 .args_min = 2,
	 .args_max = 2,
	 .run = cmd_org_limit},
	{.name = "project create",
	 .args = "--org ORG NAME",
	 .summary = "create a project in an organization",
	 .details = "Keys may belong to a project, so that usage can be told "
		    "apart.",
	 .args_min = 1,
	 .args_max = 1,
	 .options = ORG,
	 .required = ORG,
	 .run = cmd_project_create},
	{.name = "project list",
	 .args = "--org ORG",
	 .summary = "list the projects of an organization",
	 .options = ORG,
	 .required = ORG,
	 .run = cmd_project_list},
	{.name = "key create",
	 .args = "--org ORG [--project P] [--name N] [--expires WHEN]",
	 .summary = "create a key and show it, this once",
	 .details = "The key is printed on standard output, everything else on "
		    "standard error. stile keeps only its SHA-256: nobody can "
		    "show the key again.",
	 .options = ORG | PROJECT | NAME | EXPIRES,
	 .required = ORG,
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
	{.name = "check",
	 .args = "KEY [--cost N] [--route R] [--peek]",
	 .summary = "ask whether a key may pass now, as a proxy would",
	 .details =
		 "Asks DIR/http.sock and spends units like any other check, "
		 "unless --peek is given. Exit status: 0 allow, 1 deny, 2 "
		 "error (malformed input, server not ready, no answer).\n\n"
		 "With - for KEY the key is read from standard input. Prefer "
		 "that: other users of the machine can see a command line in "
		 "the list of processes, and the shell remembers it in its "
		 "history.",
	 .args_min = 1,
	 .args_max = 1,
	 .takes_key = true,
	 .options = OPT_BIT(OPT_COST) | OPT_BIT(OPT_ROUTE) | OPT_BIT(OPT_PEEK),
	 .run = cmd_check},
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
	 .args_max = 2,
	 .run = cmd_help},
};

const size_t ctl_command_count = sizeof(ctl_commands) / sizeof(*ctl_commands);
