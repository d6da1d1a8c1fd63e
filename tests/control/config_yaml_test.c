/* SPDX-License-Identifier: MIT */
#include "control/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct config config;
static char *said;
static size_t said_len;

static int load_bytes(const char *text, size_t len)
{
	FILE *diag = open_memstream(&said, &said_len);
	int r;

	config_defaults(&config);
	r = config_load_text(&config, "f.yaml", text, len, diag);
	fclose(diag);
	return r;
}

static void forget(void)
{
	free(said);
	said = NULL;
}

static void accepts(const char *text)
{
	cr_assert_eq(load_bytes(text, strlen(text)), 0, "<%s>: %s", text, said);
	cr_assert_str_eq(said, "");
	forget();
}

/* Refused with exactly `faults`, and nothing of it is applied. */
static void refuses_bytes(const char *text, size_t len, const char *faults)
{
	struct config standard;

	config_defaults(&standard);
	cr_assert_eq(load_bytes(text, len), -EINVAL, "<%s>", text);
	cr_assert_str_eq(said, faults);
	cr_assert_eq(memcmp(&config, &standard, sizeof(config)), 0,
		     "half applied: <%s>", text);
	forget();
}

static void refuses(const char *text, const char *faults)
{
	refuses_bytes(text, strlen(text), faults);
}

/* Refused; the first fault begins with `start`. */
static void refuses_with(const char *text, size_t len, const char *start)
{
	cr_assert_eq(load_bytes(text, len), -EINVAL, "<%.60s>", text);
	cr_assert_eq(strncmp(said, start, strlen(start)), 0,
		     "<%.60s>: expected \"%s\", got \"%s\"", text, start, said);
	forget();
}

Test(config_yaml, nothing_means_the_defaults)
{
	static const char *const empty[] = {
		"",      "\n\n",       "# only a comment\n",
		"---\n", "---\n...\n", "{}",
		"~",     "null\n",     "\xef\xbb\xbf"};
	struct config standard;

	config_defaults(&standard);
	for (size_t i = 0; i < COUNT(empty); i++) {
		accepts(empty[i]);
		cr_assert_eq(memcmp(&config, &standard, sizeof(config)), 0);
	}
}

Test(config_yaml, groups_nest_at_the_dots)
{
	accepts("http:\n  path: /run/a.sock\n  max_connections: 7\n"
		"workers: 3\n");
	cr_assert_str_eq(config.http.path, "/run/a.sock");
	cr_assert_eq(config.http.max_connections, 7);
	cr_assert_eq(config.workers, 3);
	accepts("{http: {path: /run/b.sock}, \"workers\": 4}");
	cr_assert_str_eq(config.http.path, "/run/b.sock");
	cr_assert_eq(config.workers, 4);
	accepts("http.path: c.sock\n");
	cr_assert_str_eq(config.http.path, "c.sock");
}

Test(config_yaml, line_ends_and_a_mark_at_the_start_do_not_matter)
{
	accepts("\xef\xbb\xbfhttp:\r\n  path: a.sock\r\nworkers: 2\r\n");
	cr_assert_str_eq(config.http.path, "a.sock");
	cr_assert_eq(config.workers, 2);
	accepts("workers: 2"); /* no line end at all */
	cr_assert_eq(config.workers, 2);
}

Test(config_yaml, every_type_is_read)
{
	accepts("dir: /srv\nadmin: {mode: 0640}\nrecv_buffers: 1024\n"
		"output_bytes_max: 1MiB\nidle_timeout: 2m\n"
		"default_limit: 5/1500ms\nrestore: strict\n"
		"native: {path: \"\"}\nkey_prefix: ab1\n");
	cr_assert_str_eq(config.dir, "/srv");
	cr_assert_eq(config.admin.mode, 0640);
	cr_assert_eq(config.recv_buffers, 1024);
	cr_assert_eq(config.output_bytes_max, 1 << 20);
	cr_assert_eq(config.idle_timeout_s, 120);
	cr_assert_eq(config.default_limit, 5);
	cr_assert_eq(config.default_window_ms, 1500);
	cr_assert_eq(config.restore, RESTORE_STRICT);
	cr_assert_str_eq(config.native.path, "");
	cr_assert_str_eq(config.key_prefix, "ab1");
}

Test(config_yaml, an_option_given_twice_is_told_with_both_lines)
{
	refuses("workers: 1\n\nworkers: 2\n",
		"f.yaml:3: workers: given twice, first in line 1\n");
	refuses("http: {path: a}\nhttp: {mode: 0600}\n",
		"f.yaml:2: http: this group is given twice\n");
	refuses("http.path: a\nhttp:\n  path: b\n",
		"f.yaml:3: http.path: given twice, first in line 1\n");
	/* The second is not read, so its own faults are not told. */
	refuses("workers: 1\n\"workers\": [x]\n",
		"f.yaml:2: workers: given twice, first in line 1\n");
}

Test(config_yaml, unknown_names_are_told_where_they_stand)
{
	refuses("worker: 1\n",
		"f.yaml:1: worker: there is no such option (stiled "
		"--help-config lists them)\n");
	refuses("http:\n  mode: 0600\n  pth: {deep: [er]}\nworkers: 1\n",
		"f.yaml:3: http.pth: there is no such option (stiled "
		"--help-config lists them)\n");
	refuses("\"\": 1\n", "f.yaml:1: : there is no such option (stiled "
			     "--help-config lists them)\n");
	refuses("<<: {workers: 1}\n",
		"f.yaml:1: <<: there is no such option (stiled --help-config "
		"lists them)\n");
	refuses("http: {\"\": 1, .: 2}\n",
		"f.yaml:1: http.: there is no such option (stiled "
		"--help-config lists them)\n"
		"f.yaml:1: http..: there is no such option (stiled "
		"--help-config lists them)\n");
	/* A zero byte does not end a name. */
	refuses("\"workers\\0x\": 1\n",
		"f.yaml:1: workers: there is no such option (stiled "
		"--help-config lists them)\n");
	refuses("\"a\\nb\\e[2Jcccccccccccccccccccccccccccccccccccccccccccccccc"
		"cccccccccccccccc\": 1\n",
		"f.yaml:1: a?b?[2Jcccccccccccccccccccccccccccccccccccccccccccc"
		"cccccccc: there is no such option (stiled --help-config lists "
		"them)\n");
}

Test(config_yaml, every_fault_is_told_not_only_the_first)
{
	refuses("workers: many\nhttp:\n  mode: 660\n  reset: never\nx: 1\n",
		"f.yaml:1: workers: expected a whole number, 0..62; got "
		"\"many\"\n"
		"f.yaml:3: http.mode: expected an octal file mode with a "
		"leading 0, such as 0660; got \"660\"\n"
		"f.yaml:4: http.reset: expected one of epoch, delta; got "
		"\"never\"\n"
		"f.yaml:5: x: there is no such option (stiled --help-config "
		"lists them)\n");
}

Test(config_yaml, the_number_of_faults_told_is_bounded)
{
	char text[150 * 8 + 1] = "";
	unsigned lines = 0;

	for (int i = 0; i < 150; i++)
		strcat(text, "x: 1\n");
	cr_assert_eq(load_bytes(text, strlen(text)), -EINVAL);
	for (const char *p = said; (p = strchr(p, '\n')); p++)
		lines++;
	cr_assert_eq(lines, CONFIG_FAULTS_MAX + 1);
	forget();
}

Test(config_yaml, values_of_the_wrong_kind)
{
	refuses("workers: [1]\n",
		"f.yaml:1: workers: expected a whole number, 0..62\n");
	refuses("workers: {a: b}\n",
		"f.yaml:1: workers: expected a whole number, 0..62\n");
	refuses("workers: \"1\"\n", "f.yaml:1: workers: expected a whole "
				    "number, 0..62, without quotes\n");
	refuses("workers:\n", "f.yaml:1: workers: expected a whole number, "
			      "0..62; there is no value\n");
	refuses("workers: ~\n", "f.yaml:1: workers: expected a whole number, "
				"0..62; there is no value\n");
	refuses("http: a.sock\n",
		"f.yaml:1: http: expected a group of options\n");
	refuses("http: [a]\n", "f.yaml:1: http: expected a group of options\n");
	refuses("http:\n", "f.yaml:1: http: expected a group of options\n");
	refuses("- workers\n",
		"f.yaml:1: expected options as \"name: value\"\n");
	refuses("workers\n", "f.yaml:1: expected options as \"name: value\"\n");
	refuses("? [workers]\n: 1\n? {a: b}\n: 2\n",
		"f.yaml:1: expected the name of an option\n"
		"f.yaml:3: expected the name of an option\n");
	refuses("key_prefix: \"i\\0l\"\n",
		"f.yaml:1: key_prefix: expected text of 1..8 characters; got "
		"\"i\"\n");
}

Test(config_yaml, numbers_at_and_beyond_their_bounds)
{
	accepts("workers: 62\n");
	refuses("workers: 63\n", "f.yaml:1: workers: expected a whole number, "
				 "0..62; got \"63\"\n");
	static const char *const bad[] = {
		"-1",   "+1",   "1.0",        "0x10",
		"1e1",  "1_0",  "4294967297", "18446744073709551616",
		"true", "1KiB", "1s"};

	for (size_t i = 0; i < COUNT(bad); i++) {
		char text[64], faults[128];

		snprintf(text, sizeof(text), "workers: %s\n", bad[i]);
		snprintf(faults, sizeof(faults),
			 "f.yaml:1: workers: expected a whole number, 0..62; "
			 "got \"%s\"\n",
			 bad[i]);
		refuses(text, faults);
	}
}

Test(config_yaml, anchors_aliases_tags_and_merges_are_refused)
{
	refuses("workers: &a 1\n", "f.yaml:1: workers: expected a value "
				   "without tag or anchor\n");
	refuses("workers: !!int 1\n", "f.yaml:1: workers: expected a value "
				      "without tag or anchor\n");
	refuses("workers: *a\n",
		"f.yaml:1: workers: expected a whole number, 0..62\n");
	refuses("*a : 1\n", "f.yaml:1: expected the name of an option\n");
	refuses("http: &a {path: b}\n",
		"f.yaml:1: http: expected a group without tag or anchor\n");
	refuses("http: !x {path: b}\n",
		"f.yaml:1: http: expected a group without tag or anchor\n");
	refuses("&a workers: 1\n",
		"f.yaml:1: workers: expected a name without tag or anchor\n");
	refuses("!!str workers: 1\n",
		"f.yaml:1: workers: expected a name without tag or anchor\n");
	refuses("&all {workers: 1}\n",
		"f.yaml:1: expected options without tag or anchor\n");
	refuses("*x\n", "f.yaml:1: expected options as \"name: value\"\n");
}

Test(config_yaml, an_alias_bomb_is_only_a_list_of_unknown_names)
{
	static const char bomb[] = "a: &a [x,x,x,x,x,x,x,x,x]\n"
				   "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
				   "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
				   "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n";

	refuses_with(bomb, sizeof(bomb) - 1,
		     "f.yaml:1: a: there is no such option");
}

Test(config_yaml, several_documents_are_refused)
{
	refuses("workers: 1\n---\nworkers: 2\n",
		"f.yaml:2: expected one document, not several\n");
	refuses("---\n---\n", "f.yaml:2: expected one document, not several\n");
}

Test(config_yaml, what_is_no_yaml_is_told_with_its_line)
{
	static const struct {
		const char *text;
		const char *start;
	} bad[] = {
		{"workers: 1\nhttp:\n\tpath: a\n",
		 "f.yaml:3: not valid YAML: "},
		{"workers: 1\nhttp: {path: a\n", "f.yaml:3: not valid YAML: "},
		{"workers: 1\nhttp: \"a\n", "f.yaml:3: not valid YAML: "},
		{"workers: 1\nhttp:\n  path: a\n mode: 0660\n",
		 "f.yaml:4: not valid YAML: "},
		{"%YAML 9.9\n---\n", "f.yaml:1: not valid YAML: "},
		{"workers: 1\n# fine\nhttp: \xff\n",
		 "f.yaml:3: not valid YAML: "},
		{"workers: 1\nkey_prefix: a\x07\n",
		 "f.yaml:2: not valid YAML: "},
		{"\xef\xbb\xbfworkers: 1\r\nkey_prefix: \xc3\r\n",
		 "f.yaml:2: not valid YAML: "},
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		refuses_with(bad[i].text, strlen(bad[i].text), bad[i].start);
	refuses_with("workers: 1\nx: \0\n", 15, "f.yaml:2: not valid YAML: ");
}

Test(config_yaml, nesting_has_a_bound)
{
	refuses("x: [[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]\n",
		"f.yaml:1: x: there is no such option (stiled --help-config "
		"lists them)\n");
	refuses("x:\n  [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n",
		"f.yaml:1: x: there is no such option (stiled --help-config "
		"lists them)\n"
		"f.yaml:2: nested more than 16 deep; the rest is not read\n");
}

/* 1 MiB of each must neither overflow the stack nor take for ever. */
Test(config_yaml, deep_and_long_input_is_refused, .timeout = 20)
{
	static const char *const pieces[] = {"[",    "{",   "? ",     "- ",
					     "a: {", "x\n", "a: b\n", "&a ",
					     "\"",   "|\n", "  ",     "*a\n"};
	char *text = malloc(CONFIG_FILE_MAX);

	for (size_t i = 0; i < COUNT(pieces); i++) {
		size_t len = strlen(pieces[i]);

		for (size_t at = 0; at + len <= CONFIG_FILE_MAX; at += len)
			memcpy(text + at, pieces[i], len);
		load_bytes(text, CONFIG_FILE_MAX / len * len);
		cr_assert_lt(said_len, 64 << 10);
		forget();
	}
	free(text);
}

/* ---- files ---- */

static int load_file(const char *path)
{
	FILE *diag = open_memstream(&said, &said_len);
	int r;

	config_defaults(&config);
	r = config_load(&config, path, diag);
	fclose(diag);
	return r;
}

Test(config_yaml, a_file_that_cannot_be_read_is_told)
{
	cr_assert_eq(load_file("/nowhere/stile.yaml"), -ENOENT);
	cr_assert_str_eq(said, "/nowhere/stile.yaml: cannot be read: No such "
			       "file or directory\n");
	forget();
	cr_assert_eq(load_file("/dev/shm"), -EISDIR);
	forget();
}

static int load_padded(size_t len)
{
	char path[] = "/dev/shm/config_yaml_test.XXXXXX";
	int fd = mkstemp(path), r;
	FILE *f = fdopen(fd, "w");

	fputs("workers: 5\n#", f);
	for (size_t i = 12; i < len; i++)
		fputc('x', f);
	fclose(f);
	r = load_file(path);
	unlink(path);
	return r;
}

Test(config_yaml, a_file_may_be_as_large_as_its_bound_and_no_larger)
{
	cr_assert_eq(load_padded(CONFIG_FILE_MAX), 0, "%s", said);
	cr_assert_eq(config.workers, 5);
	forget();
	cr_assert_eq(load_padded(CONFIG_FILE_MAX + 1), -EFBIG);
	cr_assert_not_null(strstr(said, "at most 1048576 bytes"), "%s", said);
	cr_assert_eq(config.workers, 0);
	forget();
}

Test(config_yaml, faults_need_not_be_told_to_anybody)
{
	config_defaults(&config);
	cr_assert_eq(config_load_text(&config, "f", "x: 1", 4, NULL), -EINVAL);
	cr_assert_eq(config_load(&config, "/nowhere/x", NULL), -ENOENT);
}
