/* SPDX-License-Identifier: MIT */
/*
 * wire/http: the bytes at once and in pieces of any size give the same checks
 * and the same replies, and each reply is one well-formed response.
 */
#include "fuzz.h"
#include "wire/http.h"
#include "wire/reason.h"

#define TRACE_MAX (1u << 20)

/* All that one run gave. */
struct trace {
	size_t len;
	uint8_t bytes[TRACE_MAX];
};

static struct trace once, cut;

static void note(struct trace *t, const void *bytes, size_t len)
{
	must(len <= TRACE_MAX - t->len);
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* One response: status line, header lines, an empty line, and as much body as
 * Content-Length says (none to HEAD). */
static void check_response(const uint8_t *out, size_t len, bool head)
{
	char text[HTTP_EXPLAIN_MAX + 1], *line = text, *end;
	unsigned long body = 0;
	unsigned lengths = 0;

	must(len > 0 && len < sizeof(text));
	memcpy(text, out, len);
	text[len] = '\0';
	must(strlen(text) == len);
	must(starts(text, "HTTP/1.1 "));
	while ((end = strstr(line, "\r\n")) != line) {
		must(end != NULL);
		for (char *c = line; c < end; c++)
			must(*c >= ' ' && *c <= '~');
		if (line != text) {
			char *colon = memchr(line, ':', (size_t)(end - line));

			must(colon != NULL && colon > line && colon[1] == ' ');
		}
		if (starts(line, "Content-Length: ")) {
			body = strtoul(line + 16, NULL, 10);
			lengths++;
		}
		line = end + 2;
	}
	must(lengths == 1);
	must(strlen(line + 2) == (head ? 0 : body));
}

static const struct explain explained = {
	.count = EXPLAIN_LINES_MAX,
	.lines = {{.name = "org", .limit = 1}, {.level = 255, .algorithm = 9}},
};

/* What a check may refer to besides its key. */
static void check_extra(const struct check *c)
{
	const struct check_extra *e = c->extra;

	must(e->route_len <= LABEL_MAX && strlen(e->route) == e->route_len);
	must(e->scope_len <= LABEL_MAX && strlen(e->scope) == e->scope_len);
	must((e->route_hash != 0) == (e->route_len != 0));
	must((e->scope_hash != 0) == (e->scope_len != 0));
	must(e->hold_ms <= CHECK_HOLD_MS_MAX);
	must(e->hold_ms == 0 || (c->flags & CHECK_RESERVE) ||
	     c->credential != CREDENTIAL_KEY);
	must((e->hold != 0) == (c->credential == CREDENTIAL_HOLD) ||
	     c->credential == CREDENTIAL_NONE);
}

static struct verdict verdict_of(const struct check *c, uint32_t nth)
{
	struct verdict v = {.reason = c->reason, .detail = c->detail};

	v.credits = v.budget = CREDITS_NONE;
	if (c->credential == CREDENTIAL_NONE)
		return v;
	v.charged = c->cost;
	v.credits = nth % 3 ? nth : CREDITS_NONE;
	v.budget = nth % 5 ? UINT64_MAX - 1 - nth : CREDITS_NONE;
	if (c->credential == CREDENTIAL_HOLD) {
		v.reason = nth % 2 ? REASON_NO_HOLD : REASON_ALLOW;
		return v;
	}
	v.flags = nth % 2 ? VERDICT_REPEATED : 0;
	v.explain = c->flags & CHECK_EXPLAIN ? &explained : NULL;
	if (c->flags & CHECK_RESERVE) {
		v.hold = UINT64_MAX - nth;
		v.hold_ms = c->extra ? c->extra->hold_ms : UINT64_MAX;
	}
	v.reason = (uint8_t)((c->key[0] + nth) % REASON_COUNT);
	memcpy(v.key.c, "key00001", ID_LEN);
	memcpy(v.limit_name, "org", 4);
	if (v.reason != REASON_INVALID_KEY)
		memcpy(v.org.c, "org00001", ID_LEN);
	v.limit = c->cost * 4000u;
	v.remaining = c->cost;
	v.reset_ms = v.window_ms = UINT32_MAX - nth;
	v.retry_ms = nth;
	return v;
}

static void answer(struct trace *t, struct http_parser *p,
		   enum http_event event, const struct check *c, uint32_t nth)
{
	const struct http_options opt = {.realm = "stile",
					 .errors = nth % 3,
					 .reset_is_delta = nth % 2 != 0};
	uint8_t out[HTTP_EXPLAIN_MAX];
	size_t len;

	note(t, &event, sizeof(event));
	if (event == HTTP_PROBE) {
		len = http_encode_probe(p, nth % 2 == 0, out);
	} else {
		struct verdict v = verdict_of(c, nth);

		if (c->credential == CREDENTIAL_KEY) {
			must(c->key_len > 0 && c->reason == REASON_ALLOW);
			must(c->cost <= CHECK_COST_MAX);
			note(t, c->key, c->key_len);
		} else if (c->credential == CREDENTIAL_HOLD) {
			must(c->flags == 0 && c->extra && c->extra->hold);
			must(c->cost <= CHECK_COST_MAX ||
			     c->cost == SETTLE_AS_RESERVED);
		} else {
			must(c->credential == CREDENTIAL_NONE);
			must(c->reason != REASON_ALLOW);
		}
		must((c->flags &
		      ~(CHECK_PEEK | CHECK_RESERVE | CHECK_EXPLAIN)) == 0);
		note(t, &c->flags, 1);
		note(t, &c->cost, sizeof(c->cost));
		if (c->extra) {
			check_extra(c);
			note(t, c->extra, sizeof(*c->extra));
		}
		len = http_encode(p, &opt, c, &v, 1700000000000 + nth, out);
		must(len <= http_reply_max(c));
	}
	check_response(out, len, p->is_head);
	note(t, out, len);
}

static void run(struct trace *t, const uint8_t *in, size_t len,
		struct cuts *cuts)
{
	struct http_parser p;
	uint32_t nth = 0;
	size_t at = 0;

	t->len = 0;
	http_init(&p);
	/* The bound of the trace, not of the parser. */
	while (at < len && t->len < TRACE_MAX - 2 * HTTP_EXPLAIN_MAX) {
		size_t piece = cuts ? cuts_next(cuts, len - at) : len - at;
		uint8_t *bytes = exact_copy(in + at, piece);
		size_t took = 0;

		while (took < piece &&
		       t->len < TRACE_MAX - 2 * HTTP_EXPLAIN_MAX) {
			enum http_event event;
			struct check c;
			size_t n;

			memset(&c, 0xa5, sizeof(c));
			n = http_feed(&p, bytes + took, piece - took, &event,
				      &c);
			must(n <= piece - took);
			took += n;
			if (event == HTTP_MORE) {
				must(took == piece);
				continue;
			}
			answer(t, &p, event, &c, nth++);
			must(event != HTTP_BROKEN || http_must_close(&p));
			http_reply_done(&p);
			must(p.key_len == 0 && p.value_len == 0);
		}
		at += piece;
		free(bytes);
	}
	note(t, &(uint8_t){http_must_close(&p)}, 1);
	note(t, &(uint8_t){http_in_request(&p)}, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cuts cuts = cuts_of(data, size);
	struct cuts bytewise = {.largest = 1};

	run(&once, data, size, NULL);
	run(&cut, data, size, &cuts);
	must(once.len == cut.len &&
	     memcmp(once.bytes, cut.bytes, once.len) == 0);
	if (size > 2000)
		return 0;
	run(&cut, data, size, &bytewise);
	must(once.len == cut.len &&
	     memcmp(once.bytes, cut.bytes, once.len) == 0);
	return 0;
}
