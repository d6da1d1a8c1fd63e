/* SPDX-License-Identifier: MIT */
#include "control/reply.h"

#include "wiped.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "il_secretSE_secretsecretsecretsecretsecret"

static struct reply reply;

static json_t *body(void)
{
	json_t *value = json_loadb(reply.body.data, reply.body.len, 0, NULL);

	cr_assert_not_null(value);
	return value;
}

static const char *member(const json_t *error, const char *name)
{
	const char *text = json_string_value(
		json_object_get(json_object_get(error, "error"), name));

	cr_assert_not_null(text);
	return text;
}

static void init(void)
{
	reply_json_init();
	reply_init(&reply);
}

static void deinit(void)
{
	reply_deinit(&reply);
}

TestSuite(reply, .init = init, .fini = deinit);

Test(reply, text_is_sent_as_it_is)
{
	reply_text(&reply, 503, "text/plain", "not ready\n");
	cr_assert_eq(reply.status, 503);
	cr_assert_str_eq(reply.content_type, "text/plain");
	cr_assert_eq(reply.body.len, 10);
}

Test(reply, json_ends_with_a_newline)
{
	reply_json(&reply, 201, json_pack("{s:i}", "a", 1));
	cr_assert_eq(reply.status, 201);
	cr_assert_str_eq(reply.content_type, "application/json");
	cr_assert_eq(reply.body.len, strlen("{\"a\":1}\n"));
	cr_assert_eq(memcmp(reply.body.data, "{\"a\":1}\n", 8), 0);
}

Test(reply, what_could_not_be_built_is_a_500_that_is_json)
{
	json_t *b;

	reply_json(&reply, 200, NULL);
	cr_assert_eq(reply.status, 500);
	b = body();
	cr_assert_str_eq(member(b, "code"), "internal");
	json_decref(b);
}

Test(reply, what_is_larger_than_a_reply_may_be_is_a_500)
{
	json_t *array = json_array();

	for (int i = 0; i < 50000; i++)
		json_array_append_new(
			array,
			json_pack("s%", SECRET SECRET SECRET, (size_t)100));
	reply_json(&reply, 200, array);
	cr_assert_eq(reply.status, 500);
	cr_assert_lt(reply.body.len, 200);
	json_decref(body());
}

Test(reply, the_last_answer_counts)
{
	json_t *b;

	reply_text(&reply, 200, "text/plain", "half a page of met");
	reply_error(&reply, 500, "internal", "No.");
	cr_assert_str_eq(reply.content_type, "application/json");
	b = body();
	cr_assert_str_eq(member(b, "message"), "No.");
	json_decref(b);
}

Test(reply, an_error_names_the_element_at_fault)
{
	json_t *b;

	reply_error_at(&reply, 409, "conflict", 17, "taken");
	b = body();
	cr_assert_str_eq(member(b, "code"), "conflict");
	cr_assert_eq(json_integer_value(json_object_get(
			     json_object_get(b, "error"), "index")),
		     17);
	json_decref(b);
}

Test(reply, a_sentence_that_is_not_utf8_is_told_in_ascii)
{
	json_t *b;

	reply_error(&reply, 400, "invalid_request", "\xc3%s\xff!", "\"a\n");
	b = body();
	cr_assert_str_eq(member(b, "message"), "?\"a\n?!");
	json_decref(b);
}

Test(reply, a_long_sentence_is_cut_and_stays_utf8)
{
	char text[1200] = "";
	json_t *b;

	/* 2-byte characters from an odd place: the cut falls into one. */
	strcpy(text, "x");
	for (int i = 0; i < 500; i++)
		strcat(text, "\xc3\xa4");
	reply_error(&reply, 400, "invalid_request", "%s", text);
	b = body();
	cr_assert_lt(strlen(member(b, "message")), 512);
	json_decref(b);
}

Test(reply, memory_that_held_a_key_is_wiped_before_it_is_given_back)
{
	json_t *value;

	wiped_watch("secretsecretsecret");
	value = json_pack("{s:s,s:s}", "id", "abc", "key", SECRET);
	/* Escapes take another way through the JSON library. */
	json_object_set_new(value, "escaped",
			    json_string(SECRET "\n\"\xc3\xa4"));
	reply_json(&reply, 201, value);
	cr_assert_not_null(memmem(reply.body.data, reply.body.len, SECRET,
				  strlen(SECRET)));
	reply_deinit(&reply);
	cr_assert_gt(wiped_frees(), 3, "the watch works");
	cr_assert_eq(wiped_leaks(), 0);
	wiped_watch(NULL);
	reply_init(&reply);
}

Test(reply, a_body_that_grows_leaves_no_copy_of_a_key_behind)
{
	char text[8192];

	memset(text, 'x', sizeof(text));
	wiped_watch("secretsecretsecret");
	buf_text(&reply.body, SECRET);
	for (int i = 0; i < 20; i++)
		buf_add(&reply.body, text, sizeof(text));
	buf_clear(&reply.body);
	cr_assert_gt(wiped_frees(), 3);
	cr_assert_eq(wiped_leaks(), 0);
	wiped_watch(NULL);
}

Test(reply, the_watch_sees_what_is_not_wiped)
{
	char *volatile copy; /* or a compiler leaves both calls out */

	wiped_watch("secretsecretsecret");
	copy = strdup(SECRET);
	free(copy);
	cr_assert_eq(wiped_leaks(), 1);
	wiped_watch(NULL);
}
