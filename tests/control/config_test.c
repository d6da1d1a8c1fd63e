/* SPDX-License-Identifier: MIT */
#include "control/config.h"
#include "control/config_option.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct config config;
static char *said;
static size_t said_len;

static int check_config(void)
{
	FILE *diag = open_memstream(&said, &said_len);
	int r = config_check(&config, diag);

	fclose(diag);
	return r;
}

static void refused(const char *faults)
{
	cr_assert_eq(check_config(), -EINVAL);
	cr_assert_str_eq(said, faults);
	free(said);
	config_defaults(&config);
}

Test(config, the_defaults_pass_their_own_checks)
{
	config_defaults(&config);
	cr_assert_eq(check_config(), 0, "%s", said);
	cr_assert_str_eq(config.native.path, "stile.sock");
	cr_assert_str_eq(config.http.path, "http.sock");
	cr_assert_str_eq(config.admin.path, "admin.sock");
	cr_assert_eq(config.admin.mode, 0600);
	cr_assert_eq(config.default_limit, 100);
	cr_assert_eq(config.default_window_ms, 60000);
	cr_assert_geq(config.idle_timeout_s, 60);
	free(said);
}

Test(config, rows_of_the_table_fit_their_fields)
{
	for (size_t i = 0; i < config_option_count; i++) {
		const struct option *o = &config_options[i];

		cr_assert_leq(o->offset + o->size, sizeof(struct config));
		cr_assert_lt(strlen(o->name), 64);
		cr_assert_eq(o->choices != NULL, o->type == OPTION_CHOICE, "%s",
			     o->name);
		cr_assert_eq(o->sentence[strlen(o->sentence) - 1], '.', "%s",
			     o->name);
		for (size_t j = 0; j < i; j++) {
			cr_assert_str_neq(o->name, config_options[j].name);
			cr_assert_neq(o->offset, config_options[j].offset);
		}
		/* A 32-bit field holds its largest value. */
		if (o->size == 4)
			cr_assert_leq(o->max, UINT32_MAX, "%s", o->name);
	}
}

/* Every option, one below, at and one above its bounds. */
Test(config, bounds_are_exact)
{
	char expected[OPTION_EXPECTED_MAX];

	for (size_t i = 0; i < config_option_count; i++) {
		const struct option *o = &config_options[i];
		uint64_t above =
			o->type == OPTION_POWER ? o->max * 2 : o->max + 1;
		uint64_t below =
			o->type == OPTION_POWER ? o->min / 2 : o->min - 1;
		char text[32];

		if (o->type != OPTION_COUNT && o->type != OPTION_POWER &&
		    o->type != OPTION_BYTES && o->type != OPTION_SECONDS)
			continue;
		config_defaults(&config);
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)o->max);
		cr_assert(option_set(o, &config, text, expected), "%s",
			  o->name);
		cr_assert(option_check(o, &config, expected));
		snprintf(text, sizeof(text), "%llu", (unsigned long long)above);
		cr_assert_not(option_set(o, &config, text, expected), "%s",
			      o->name);
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)o->min);
		cr_assert(option_set(o, &config, text, expected), "%s",
			  o->name);
		if (o->min == 0)
			continue;
		snprintf(text, sizeof(text), "%llu", (unsigned long long)below);
		cr_assert_not(option_set(o, &config, text, expected), "%s",
			      o->name);
	}
}

Test(config, a_refused_value_leaves_the_field_alone)
{
	char expected[OPTION_EXPECTED_MAX];

	for (size_t i = 0; i < config_option_count; i++) {
		struct config before;

		if (config_options[i].type == OPTION_DIR ||
		    config_options[i].type == OPTION_SOCKET)
			continue; /* nearly any text is a path */
		config_defaults(&config);
		before = config;
		cr_assert_not(option_set(&config_options[i], &config,
					 "?!?!?!?!?!?!?!?!?!?!?!?!?!?!?!?!?!?!?"
					 "!?!?!?!?!?!?!?!?!?!?!?!?!?!?!?!",
					 expected),
			      "%s", config_options[i].name);
		cr_assert_neq(expected[0], '\0');
		cr_assert_eq(memcmp(&config, &before, sizeof(config)), 0);
	}
}

Test(config, a_power_of_two_is_meant_exactly)
{
	char expected[OPTION_EXPECTED_MAX];
	const struct option *o = config_options;

	while (o->type != OPTION_POWER)
		o++;
	config_defaults(&config);
	cr_assert(option_set(o, &config, "1024", expected));
	cr_assert_not(option_set(o, &config, "1000", expected));
	cr_assert_not(option_set(o, &config, "0", expected));
}

Test(config, modes_are_octal_with_a_leading_zero)
{
	char expected[OPTION_EXPECTED_MAX];
	const struct option *o = config_options;

	while (o->type != OPTION_MODE)
		o++;
	config_defaults(&config);
	cr_assert(option_set(o, &config, "0660", expected));
	cr_assert_eq(config.native.mode, 0660);
	cr_assert_not(option_set(o, &config, "660", expected));
	cr_assert_not(option_set(o, &config, "0o660", expected));
	cr_assert_not(option_set(o, &config, "0680", expected));
	cr_assert_not(option_set(o, &config, "01777", expected));
	cr_assert_not(option_set(o, &config, "0", expected));
	cr_assert_not(option_set(o, &config, "-0660", expected));
}

Test(config, sockets_must_differ)
{
	config_defaults(&config);
	strcpy(config.http.path, "stile.sock");
	refused("http.path: expected another socket than native.path (one "
		"listener speaks one protocol)\n");
	strcpy(config.dir, "/srv");
	strcpy(config.admin.path, "/srv/http.sock");
	refused("admin.path: expected another socket than http.path (one "
		"listener speaks one protocol)\n");
}

Test(config, somebody_must_be_able_to_ask)
{
	config_defaults(&config);
	config.native.path[0] = '\0';
	cr_assert_eq(check_config(), 0);
	free(said);
	config.http.path[0] = '\0';
	refused("http.path: expected a path here or in native.path: with both "
		"turned off nobody could ask\n");
	config.admin.path[0] = '\0';
	cr_assert_eq(check_config(), -EINVAL);
	free(said);
}

Test(config, the_admin_socket_is_not_for_others)
{
	config_defaults(&config);
	config.admin.mode = 0660;
	cr_assert_eq(check_config(), 0);
	free(said);
	for (uint32_t bit = 1; bit <= 4; bit *= 2) {
		config.admin.mode = 0600 | bit;
		refused("admin.mode: expected a mode that allows nothing to "
			"others, such as 0600\n");
	}
}

/* A shorter time would tell a threshold twice in its period. */
Test(config, events_outlast_the_longest_period)
{
	config_defaults(&config);
	config.events_retention_s = 32 * 86400;
	cr_expect_eq(config_check(&config, NULL), 0);
	config.events_retention_s = 0;
	cr_expect_eq(config_check(&config, NULL), 0);
	config.events_retention_s = 32 * 86400 - 1;
	refused("events_retention: expected 32d or more, or 0s to keep events "
		"for ever\n");
}

Test(config, texts_that_would_break_a_key_or_a_header_are_refused)
{
	config_defaults(&config);
	strcpy(config.key_prefix, "Il");
	refused("key_prefix: expected 1..8 characters of a-z and 0-9\n");
	strcpy(config.key_prefix, "i_l");
	refused("key_prefix: expected 1..8 characters of a-z and 0-9\n");
	strcpy(config.realm, "a\"b");
	refused("http.realm: expected printable ASCII without quotes and "
		"backslashes\n");
	strcpy(config.realm, "a\r\nSet-Cookie: b");
	refused("http.realm: expected printable ASCII without quotes and "
		"backslashes\n");
	strcpy(config.realm, "\xc3\xa4");
	refused("http.realm: expected printable ASCII without quotes and "
		"backslashes\n");
}

Test(config, relative_sockets_are_in_dir_and_fit_an_address)
{
	char path[CONFIG_PATH_MAX];
	char expected[OPTION_EXPECTED_MAX];

	config_defaults(&config);
	cr_assert_eq(config_socket_path(&config, &config.http, path), 0);
	cr_assert_str_eq(path, "http.sock");
	strcpy(config.dir, "/srv/stile");
	cr_assert_eq(config_socket_path(&config, &config.http, path), 0);
	cr_assert_str_eq(path, "/srv/stile/http.sock");
	strcpy(config.http.path, "/run/http.sock");
	cr_assert_eq(config_socket_path(&config, &config.http, path), 0);
	cr_assert_str_eq(path, "/run/http.sock");

	/* dir + '/' + "a.sock" of 107 and of 108 bytes */
	strcpy(config.http.path, "a.sock");
	memset(config.dir, 'd', 100);
	config.dir[100] = '\0';
	cr_assert_eq(config_socket_path(&config, &config.http, path), 0);
	cr_assert_eq(strlen(path), 107);
	config.dir[100] = 'd';
	config.dir[101] = '\0';
	cr_assert_eq(config_socket_path(&config, &config.http, path),
		     -ENAMETOOLONG);
	cr_assert_eq(check_config(), -EINVAL);
	free(said);
	for (size_t i = 0; i < config_option_count; i++)
		if (strcmp(config_options[i].name, "dir") == 0)
			cr_assert(option_set(&config_options[i], &config, ".",
					     expected));
	cr_assert_eq(config.dir[50], '\0', "nothing of the longer one stays");
}

/* ---- the reference ---- */

static char *reference(void)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	config_print_reference(f);
	fclose(f);
	return text;
}

/* The reference with its settings, but not its sentences, uncommented. */
static char *uncomment(const char *text)
{
	char *out = calloc(1, strlen(text) + 1);
	size_t n = 0;

	while (*text) {
		size_t len = strcspn(text, "\n") + 1;
		size_t blank = 1 + strspn(text + 1, " ");

		cr_assert_eq(text[0], '#', "everything is commented out");
		if (text[blank] != '#' && text[blank] != '\n') {
			memcpy(out + n, text + 1, len - 1);
			n += len - 1;
		}
		text += len;
	}
	return out;
}

Test(config, the_reference_changes_nothing_as_it_is)
{
	char *text = reference();

	config_defaults(&config);
	cr_assert_eq(config_load_text(&config, "f", text, strlen(text), stderr),
		     0);
	free(text);
}

Test(config, the_reference_names_every_option_with_its_default)
{
	char *text = reference(), *settings = uncomment(text);
	struct config standard;
	size_t lines = 0, groups = 0;

	config_defaults(&standard);
	memset(&config, 0, sizeof(config));
	cr_assert_eq(config_load_text(&config, "f", settings, strlen(settings),
				      stderr),
		     0);
	cr_assert_eq(memcmp(&config, &standard, sizeof(config)), 0);
	for (const char *p = settings; *p; p = strchr(p, '\n') + 1) {
		lines++;
		groups += strchr(p, '\n')[-1] == ':';
	}
	/* And routes, of which there are none. */
	cr_assert_eq(lines - groups, config_option_count + 1);
	free(settings);
	free(text);
}

static char *read_document(void)
{
	FILE *f = fopen(CONFIGURATION_MD, "r");
	char *text = NULL;
	size_t room = 0;

	cr_assert_not_null(f, "%s", CONFIGURATION_MD);
	cr_assert_geq(getdelim(&text, &room, '\0', f), 0);
	fclose(f);
	return text;
}

Test(config, docs_configuration_md_holds_the_reference_as_the_code_prints_it)
{
	static const char mark[] = "```yaml reference\n";
	char *document = read_document(), *text = reference();
	char *at = strstr(document, mark), *end;

	cr_assert_not_null(at);
	at += sizeof(mark) - 1;
	end = strstr(at, "```");
	cr_assert_not_null(end);
	*end = '\0';
	cr_assert_str_eq(at, text,
			 "docs/configuration.md is out of date; its last "
			 "section says how to renew it");
	free(document);
	free(text);
}

/* The examples of the document are meant to be copied. */
Test(config, examples_in_docs_configuration_md_are_accepted)
{
	static const char mark[] = "```yaml\n";
	char *document = read_document(), *at = document;
	unsigned count = 0;

	while ((at = strstr(at, mark)) != NULL) {
		char *end;

		at += sizeof(mark) - 1;
		end = strstr(at, "```");
		cr_assert_not_null(end);
		config_defaults(&config);
		cr_assert_eq(config_load_text(&config, "example", at,
					      (size_t)(end - at), stderr),
			     0);
		at = end + 3;
		count++;
	}
	cr_assert_gt(count, 0);
	free(document);
}
