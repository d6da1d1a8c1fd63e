/* SPDX-License-Identifier: MIT */
#include "process.h"

#include "scratch.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char dir[80], log_path[96];

static void setup(void)
{
	cr_assert_eq(scratch_make("/tmp", dir, sizeof(dir)), 0);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
}

static void teardown(void)
{
	scratch_remove(dir);
}

TestSuite(process, .init = setup, .fini = teardown, .timeout = 60);

Test(process, program_is_found_where_path_says)
{
	char path[PATH_MAX];

	setenv("PATH", "/none:/bin", 1);
	cr_assert(process_find("sh", path, sizeof(path)));
	cr_assert_str_eq(path, "/bin/sh");
	cr_assert(process_find("/bin/sh", path, sizeof(path)));
	cr_assert_not(process_find("no-such-program", path, sizeof(path)));
	cr_assert_not(process_find("/etc/passwd", path, sizeof(path)));
}

Test(process, first_line_comes_from_either_stream)
{
	static const char *const out[] = {"/bin/sh", "-c", "echo a; echo b",
					  NULL};
	static const char *const err[] = {"/bin/sh", "-c", "echo v1 >&2", NULL};
	static const char *const none[] = {"/bin/sh", "-c", "exit 0", NULL};
	static const char *const missing[] = {"/none", NULL};
	char line[16];

	cr_assert(process_first_line(out, line, sizeof(line)));
	cr_assert_str_eq(line, "a");
	cr_assert(process_first_line(err, line, sizeof(line)));
	cr_assert_str_eq(line, "v1");
	cr_assert_not(process_first_line(none, line, sizeof(line)));
	cr_assert_not(process_first_line(missing, line, sizeof(line)));
}

Test(process, what_a_program_says_is_in_its_log)
{
	static const char *const argv[] = {
		"/bin/sh", "-c", "echo one; echo two >&2; kill -9 $$", NULL};
	struct process p = {0}, *const processes[] = {&p};
	char tail[PROCESS_LOG_TAIL], why[128];

	cr_assert_eq(process_spawn(&p, "our shell", argv, log_path, -1, -1), 0);
	process_explain(processes, 1, "it lives", why, sizeof(why));
	cr_assert_not_null(strstr(why, "our shell was ended by signal 9"), "%s",
			   why);
	process_log_tail(log_path, tail);
	cr_assert_str_eq(tail, "one\ntwo\n");
}

Test(process, stop_tells_a_clean_end_from_a_failure)
{
	static const char *const good[] = {"/bin/sleep", "60", NULL};
	static const char *const bad[] = {"/bin/sh", "-c", "exit 3", NULL};
	struct process p = {0};
	siginfo_t info;

	cr_assert(process_stop(&p), "never started");
	cr_assert_eq(process_spawn(&p, "sleep", good, log_path, -1, -1), 0);
	cr_assert(process_stop(&p));
	cr_assert_eq(process_spawn(&p, "shell", bad, log_path, -1, -1), 0);
	cr_assert_eq(waitid(P_PID, (id_t)p.pid, &info, WEXITED | WNOWAIT), 0);
	cr_assert_not(process_stop(&p));
}
