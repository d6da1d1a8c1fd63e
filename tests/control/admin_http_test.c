/* SPDX-License-Identifier: MIT */
#include "control/admin_http.h"

#include "wiped.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TRANSCRIPT_MAX 8192
#define HOST "Host: stile\r\n"

/*
 * What a stream means, one line per event: "POST /target [body] keep",
 * "... close", "broken 413", "more" when a request is unfinished.
 */
struct run {
	struct admin_http http;
	char said[TRANSCRIPT_MAX];
	size_t said_len;
	unsigned continues;
	bool ended; /* broken, or the connection would be closed */
};

static struct run run;

static void say(const char *text)
{
	size_t len = strlen(text);

	cr_assert_lt(run.said_len + len, sizeof(run.said));
	memcpy(run.said + run.said_len, text, len + 1);
	run.said_len += len;
}

static void say_request(void)
{
	struct admin_http *h = &run.http;
	bool keep = admin_http_keeps_alive(h);
	char text[TRANSCRIPT_MAX];

	snprintf(text, sizeof(text), "%s %.100s [%.*s] %s\n",
		 llhttp_method_name(llhttp_get_method(&h->parser)), h->target,
		 h->body.len < 100 ? (int)h->body.len : 100,
		 h->body.len ? h->body.data : "", keep ? "keep" : "close");
	say(text);
	admin_http_done(h);
	run.ended = !keep;
}

static void feed(const char *in, size_t len)
{
	while (len > 0 && !run.ended) {
		enum admin_http_event event;
		char text[32];
		size_t took = admin_http_feed(&run.http, in, len, &event);

		cr_assert_leq(took, len);
		in += took;
		len -= took;
		switch (event) {
		case ADMIN_HTTP_MORE:
			cr_assert_eq(len, 0, "MORE takes everything");
			break;
		case ADMIN_HTTP_CONTINUE:
			run.continues++;
			break;
		case ADMIN_HTTP_REQUEST:
			say_request();
			break;
		case ADMIN_HTTP_BROKEN:
			snprintf(text, sizeof(text), "broken %u\n",
				 run.http.status);
			say(text);
			run.ended = true;
			break;
		}
	}
}

static void begin(void)
{
	memset(&run, 0x55, sizeof(run));
	run.said[0] = '\0';
	run.said_len = 0;
	run.continues = 0;
	run.ended = false;
	admin_http_init(&run.http);
}

static void end(void)
{
	if (!run.ended && run.http.started)
		say("more\n");
	admin_http_deinit(&run.http);
}

struct stream {
	const char *bytes;
	const char *said;
};

#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define POST(fields, body) "POST /p HTTP/1.1\r\n" HOST fields "\r\n" body

static const struct stream streams[] = {
	/* plain and pipelined */
	{GET("/a"), "GET /a [] keep\n"},
	{GET("/a") GET("/b?c=d") GET("/e"),
	 "GET /a [] keep\nGET /b?c=d [] keep\nGET /e [] keep\n"},
	{POST("Content-Length: 5\r\n", "hello") GET("/b"),
	 "POST /p [hello] keep\nGET /b [] keep\n"},
	{POST("Content-Length: 0\r\n", "") GET("/b"),
	 "POST /p [] keep\nGET /b [] keep\n"},
	{POST("", "") GET("/b"), "POST /p [] keep\nGET /b [] keep\n"},
	{POST("content-LENGTH:   5  \r\n", "hello"), "POST /p [hello] keep\n"},
	{POST("Content-Length: 5\r\nConnection: close\r\n", "hello") GET("/b"),
	 "POST /p [hello] close\n"},
	{"GET /a HTTP/1.0\r\n\r\n", "GET /a [] close\n"},
	{"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/b"),
	 "GET /a [] keep\nGET /b [] keep\n"},
	{"\r\n\r\n" GET("/a"), "GET /a [] keep\n"},
	{"HEAD /a HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\n",
	 "HEAD /a [] keep\nOPTIONS * [] keep\n"},
	/* what looks like a request in a body is a body */
	{POST("Content-Length: 18\r\n", "GET / HTTP/1.1\r\n\r\n") GET("/b"),
	 "POST /p [GET / HTTP/1.1\r\n\r\n] keep\nGET /b [] keep\n"},
	{POST("Content-Length: 17\r\n", "GET / HTTP/1.1\r\n\r\n"),
	 "POST /p [GET / HTTP/1.1\r\n\r] keep\nmore\n"},
	/* chunks */
	{POST("Transfer-Encoding: chunked\r\n",
	      "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n") GET("/b"),
	 "POST /p [hello] keep\nGET /b [] keep\n"},
	{POST("Transfer-Encoding: chunked\r\n",
	      "5;ext=\"1\"\r\nhello\r\n0\r\nX-Trailer: 1\r\nExpect: "
	      "nothing\r\n\r\n") GET("/b"),
	 "POST /p [hello] keep\nGET /b [] keep\n"},
	{POST("Transfer-Encoding: chunked\r\n", "0\r\n\r\n") GET("/b"),
	 "POST /p [] keep\nGET /b [] keep\n"},
	{POST("Transfer-Encoding: chunked\r\n", "5\r\nhellox\r\n0\r\n\r\n"),
	 "broken 400\n"},
	{POST("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"), "broken 400\n"},
	{POST("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n"),
	 "broken 400\n"},
	{POST("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"),
	 "broken 400\n"},
	/* two framings, or one that nobody can tell the end of */
	{POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	      "0\r\n\r\n"),
	 "broken 400\n"},
	{POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
	      "0\r\n\r\n"),
	 "broken 400\n"},
	{POST("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
	 "broken 400\n"},
	{POST("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
	 "broken 400\n"},
	{POST("Content-Length: 5, 5\r\n", "hello"), "broken 400\n"},
	{POST("Content-Length: +5\r\n", "hello"), "broken 400\n"},
	{POST("Content-Length: -5\r\n", "hello"), "broken 400\n"},
	{POST("Content-Length: 0x5\r\n", "hello"), "broken 400\n"},
	{POST("Content-Length: 5 5\r\n", "hello"), "broken 400\n"},
	{POST("Content-Length:\r\n", "hello"), "broken 400\n"},
	{POST("Content-Length: 18446744073709551621\r\n", "hello"),
	 "broken 400\n"},
	{POST("Transfer-Encoding: gzip\r\n", "hello"), "broken 400\n"},
	{POST("Transfer-Encoding: chunked, gzip\r\n", "hello"), "broken 400\n"},
	{POST("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "broken 400\n"},
	{POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
	      "0\r\n\r\n"),
	 "broken 400\n"},
	/* heads that proxies and servers read differently */
	{POST("Content-Length : 5\r\n", "hello"), "broken 400\n"},
	/* a folded line goes on with the value before it (RFC 9112, 5.2) */
	{POST(" Content-Length: 5\r\n", "hello"),
	 "POST /p [] keep\nbroken 400\n"},
	{"GET /a HTTP/1.1\nHost: a\n\n", "broken 400\n"},
	{"GET /a HTTP/1.1\r\nHost: a\rContent-Length: 5\r\n\r\nhello",
	 "broken 400\n"},
	{"GET  /a HTTP/1.1\r\n\r\n", "GET /a [] keep\n"},
	{"GET /a b HTTP/1.1\r\n\r\n", "broken 400\n"},
	{"GET /\x01 HTTP/1.1\r\n\r\n", "broken 400\n"},
	{"GET /\xc3\xa4 HTTP/1.1\r\n\r\n", "broken 400\n"},
	{"get /a HTTP/1.1\r\n\r\n", "broken 400\n"},
	{"STEAL /a HTTP/1.1\r\n\r\n", "broken 400\n"},
	{"GET /a HTTP/1.2\r\n\r\n", "broken 400\n"},
	{"GET /a HTTP/11.1\r\n\r\n", "broken 400\n"},
	{"GET /a HTPP/1.1\r\n\r\n", "broken 400\n"},
	{"GET /a HTTP/2.0\r\n\r\n", "broken 505\n"},
	{"GET /a\r\n\r\n", "broken 505\n"},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "broken 400\n"},
	{"\x16\x03\x01\x02\x00\x01", "broken 400\n"},
	{"HTTP/1.1 200 OK\r\n\r\n", "broken 400\n"},
	/* expectations */
	{POST("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
	 "POST /p [hello] keep\n"},
	{POST("expect: 100-Continue \r\nContent-Length: 5\r\n", "hello"),
	 "POST /p [hello] keep\n"},
	{POST("Expect: 200-ok\r\nContent-Length: 5\r\n", "hello"),
	 "broken 417\n"},
	{POST("Expect: 100-continue, a-longer-one\r\nContent-Length: 5\r\n",
	      "hello"),
	 "broken 417\n"},
	/* another protocol is not spoken; the request counts, with its body */
	{POST("Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n",
	      "hello") GET("/b"),
	 "POST /p [hello] close\n"},
	{"GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nzzz",
	 "GET /a [] close\n"},
	{"CONNECT a:1 HTTP/1.1\r\n\r\nzzz", "CONNECT a:1 [] close\n"},
	/* too much is known from the head alone */
	{POST("Content-Length: 4194305\r\n", ""), "broken 413\n"},
	/* not whole yet */
	{"GET /a HTTP/1.1\r\nHost: a\r\n", "more\n"},
	{POST("Content-Length: 5\r\n", "hell"), "more\n"},
	{"G", "more\n"},
};

Test(admin_http, streams_mean_what_they_should)
{
	for (size_t i = 0; i < COUNT(streams); i++) {
		begin();
		feed(streams[i].bytes, strlen(streams[i].bytes));
		end();
		cr_expect_str_eq(run.said, streams[i].said, "stream %zu: <%s>",
				 i, streams[i].bytes);
	}
}

Test(admin_http, byte_by_byte_means_the_same)
{
	for (size_t i = 0; i < COUNT(streams); i++) {
		begin();
		for (const char *p = streams[i].bytes; *p; p++)
			feed(p, 1);
		end();
		cr_expect_str_eq(run.said, streams[i].said, "stream %zu: <%s>",
				 i, streams[i].bytes);
	}
}

Test(admin_http, any_cut_in_two_means_the_same)
{
	for (size_t i = 0; i < COUNT(streams); i++) {
		size_t len = strlen(streams[i].bytes);

		for (size_t cut = 1; cut < len; cut++) {
			begin();
			feed(streams[i].bytes, cut);
			feed(streams[i].bytes + cut, len - cut);
			end();
			cr_assert_str_eq(run.said, streams[i].said,
					 "stream %zu cut at %zu: <%s>", i, cut,
					 streams[i].bytes);
		}
	}
}

Test(admin_http, any_fragmentation_means_the_same)
{
	const char *given = getenv("STILE_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 1;

	fprintf(stderr, "seed %u\n", seed);
	srandom(seed);
	for (unsigned round = 0; round < 20000; round++) {
		const struct stream *s =
			&streams[(size_t)random() % COUNT(streams)];
		size_t len = strlen(s->bytes), at = 0;

		begin();
		while (at < len) {
			size_t n = 1 + (size_t)random() % 24;

			n = n < len - at ? n : len - at;
			feed(s->bytes + at, n);
			at += n;
		}
		end();
		cr_assert_str_eq(run.said, s->said, "seed %u: <%s>", seed,
				 s->bytes);
	}
}

Test(admin_http, a_zero_byte_ends_nothing)
{
	static const char in_target[] = "GET /a\0b HTTP/1.1\r\n\r\n";
	static const char in_value[] = "GET /a HTTP/1.1\r\nA: \0\r\n\r\n";
	static const char in_body[] =
		POST("Content-Length: 3\r\n", "a\0b") GET("/c");

	begin();
	feed(in_target, sizeof(in_target) - 1);
	end();
	cr_assert_str_eq(run.said, "broken 400\n");
	begin();
	feed(in_value, sizeof(in_value) - 1);
	end();
	cr_assert_str_eq(run.said, "broken 400\n");
	begin();
	feed(in_body, sizeof(in_body) - 1);
	end();
	cr_assert_str_eq(run.said, "POST /p [a] keep\nGET /c [] keep\n",
			 "(the transcript ends at the zero)");
}

Test(admin_http, leave_to_go_on_is_given_only_when_the_body_is_awaited)
{
	static const struct {
		const char *bytes;
		unsigned continues;
	} cases[] = {
		{POST("Expect: 100-continue\r\nContent-Length: 5\r\n", ""), 1},
		{POST("Expect: 100-continue\r\nTransfer-Encoding: "
		      "chunked\r\n",
		      ""),
		 1},
		{POST("Expect: 100-continue\r\nContent-Length: 5\r\n", "h"), 0},
		{POST("Expect: 100-continue\r\nContent-Length: 0\r\n", ""), 0},
		{POST("Expect: 100-continue\r\n", ""), 0},
		{POST("Expect: 100-continue\r\nContent-Length: 9999999\r\n",
		      ""),
		 0},
		{POST("Content-Length: 5\r\n", ""), 0},
		{"POST /p HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: "
		 "5\r\n\r\n",
		 0},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		begin();
		feed(cases[i].bytes, strlen(cases[i].bytes));
		cr_assert_eq(run.continues, cases[i].continues, "%s",
			     cases[i].bytes);
		end();
	}
}

/* A request of which something is as long as told, and what is said. */
static const char *long_target(size_t len)
{
	static char text[ADMIN_HEAD_MAX];
	static char block[ADMIN_HEAD_MAX];

	memset(block, 'x', sizeof(block));
	block[0] = '/';
	snprintf(text, sizeof(text), "GET %.*s HTTP/1.1\r\n\r\n", (int)len,
		 block);
	begin();
	feed(text, strlen(text));
	end();
	return run.said;
}

Test(admin_http, targets_have_a_bound)
{
	cr_assert_eq(strncmp(long_target(ADMIN_TARGET_MAX), "GET /xxx", 8), 0);
	cr_assert_str_eq(long_target(ADMIN_TARGET_MAX + 1), "broken 414\n");
}

static const char *long_head(size_t len, size_t piece)
{
	static char text[ADMIN_HEAD_MAX + 100];
	int start = snprintf(text, sizeof(text), "GET /a HTTP/1.1\r\nA: ");

	memset(text + start, 'x', len - (size_t)start - 4);
	memcpy(text + len - 4, "\r\n\r\n", 4);
	begin();
	for (size_t at = 0; at < len; at += piece)
		feed(text + at, piece < len - at ? piece : len - at);
	end();
	return run.said;
}

Test(admin_http, heads_have_a_bound_however_they_arrive)
{
	static const size_t pieces[] = {1, 7, 4096, 1 << 20};

	for (size_t i = 0; i < COUNT(pieces); i++) {
		cr_assert_str_eq(long_head(ADMIN_HEAD_MAX, pieces[i]),
				 "GET /a [] keep\n");
		cr_assert_str_eq(long_head(ADMIN_HEAD_MAX + 1, pieces[i]),
				 "broken 431\n");
	}
}

Test(admin_http, the_bound_of_a_head_is_that_of_one_request)
{
	begin();
	for (int i = 0; i < 1000; i++) {
		feed(GET("/a"), strlen(GET("/a")));
		run.said_len = 0;
	}
	cr_assert_not(run.ended);
	end();
}

/* A body of `chunks` chunks of `len` bytes. */
static const char *chunked(size_t chunks, size_t len)
{
	char *text = malloc(len + 32);
	int head = snprintf(text, 32, "%zx\r\n", len);

	memset(text + head, 'x', len);
	memcpy(text + head + len, "\r\n", 2);
	begin();
	feed(POST("Transfer-Encoding: chunked\r\n", ""),
	     strlen(POST("Transfer-Encoding: chunked\r\n", "")));
	for (size_t i = 0; i < chunks && !run.ended; i++)
		feed(text, (size_t)head + len + 2);
	feed("0\r\n\r\n", 5);
	end();
	free(text);
	return run.said;
}

Test(admin_http, bodies_in_chunks_have_a_bound)
{
	cr_assert_eq(strncmp(chunked(1, ADMIN_BODY_MAX), "POST", 4), 0);
	cr_assert_str_eq(chunked(1, ADMIN_BODY_MAX + 1), "broken 413\n");
	cr_assert_eq(strncmp(chunked(64, ADMIN_BODY_MAX / 64), "POST", 4), 0);
	cr_assert_str_eq(chunked(65, ADMIN_BODY_MAX / 64), "broken 413\n");
	/* Far more framing than body */
	cr_assert_str_eq(chunked(2000000, 1), "broken 413\n");
}

Test(admin_http, trailers_have_a_bound)
{
	static const char start[] =
		POST("Transfer-Encoding: chunked\r\n", "0\r\n");

	begin();
	feed(start, sizeof(start) - 1);
	for (int i = 0; i < 1000000 && !run.ended; i++)
		feed("A: bbbbbbbbbbbb\r\n", 17);
	end();
	cr_assert_str_eq(run.said, "broken 413\n");
}

Test(admin_http, every_status_has_a_sentence_of_its_own)
{
	static const uint16_t all[] = {400, 413, 414, 417, 431, 503, 505};

	begin();
	for (size_t i = 0; i < COUNT(all); i++)
		for (size_t j = 0; j < i; j++) {
			const char *a;

			run.http.status = all[i];
			a = admin_http_problem(&run.http);
			run.http.status = all[j];
			cr_assert_str_neq(a, admin_http_problem(&run.http));
		}
	run.http.started = false;
	end();
}

Test(admin_http, a_body_leaves_nothing_behind)
{
	static char body[] =
		POST("Content-Length: 18\r\n", "secretsecretsecret");

	wiped_watch("secretsecretsecret");
	begin();
	feed(body, sizeof(body) - 1);
	cr_assert_str_eq(run.said, "POST /p [secretsecretsecret] keep\n");
	cr_assert_gt(run.http.body.cap, 0, "small memory is kept");
	cr_assert_null(memmem(run.http.body.data, run.http.body.cap,
			      "secretsecretsecret", 18));
	feed(body, sizeof(body) - 2); /* and a connection that breaks off */
	end();
	cr_assert_eq(wiped_leaks(), 0);
	cr_assert_gt(wiped_frees(), 0);
	wiped_watch(NULL);
}
