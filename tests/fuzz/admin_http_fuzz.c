/* SPDX-License-Identifier: MIT */
/*
 * control/admin_http: the bytes at once and in pieces of any size give the
 * same requests, and a refusal at the same one.
 */
#include "control/admin_http.h"
#include "fuzz.h"

#define TRACE_MAX (1u << 20)

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

static void note_request(struct trace *t, const struct admin_http *h)
{
	must(h->target_len <= ADMIN_TARGET_MAX);
	must(strlen(h->target) <= h->target_len);
	must(h->body.len <= ADMIN_BODY_MAX);
	note(t, h->target, h->target_len + 1);
	if (h->body.len > 0)
		note(t, h->body.data, h->body.len);
	note(t, &(uint8_t){admin_http_keeps_alive(h)}, 1);
	note(t, &(uint8_t){h->parser.method}, 1);
}

/* False: the connection would be closed. */
static bool feed(struct trace *t, struct admin_http *h, const uint8_t *bytes,
		 size_t len)
{
	while (len > 0) {
		enum admin_http_event event;
		size_t n = admin_http_feed(h, (const char *)bytes, len, &event);

		must(n <= len);
		bytes += n;
		len -= n;
		switch (event) {
		case ADMIN_HTTP_MORE:
			must(len == 0);
			break;
		case ADMIN_HTTP_CONTINUE:
			break; /* only to a peer that waits */
		case ADMIN_HTTP_REQUEST:
			note_request(t, h);
			if (!admin_http_keeps_alive(h))
				return false;
			admin_http_done(h);
			break;
		case ADMIN_HTTP_BROKEN:
			must(h->status >= 400 && h->status < 600);
			must(admin_http_problem(h)[0] != '\0');
			return false; /* of two faults either may be told */
		}
	}
	return true;
}

static void run(struct trace *t, const uint8_t *in, size_t len,
		struct cuts *cuts)
{
	struct admin_http h;
	bool open = true;

	t->len = 0;
	admin_http_init(&h);
	for (size_t at = 0; open && at < len;) {
		size_t piece = cuts ? cuts_next(cuts, len - at) : len - at;
		uint8_t *bytes = exact_copy(in + at, piece);

		open = feed(t, &h, bytes, piece);
		at += piece;
		free(bytes);
	}
	note(t, &open, sizeof(open));
	admin_http_deinit(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cuts cuts = cuts_of(data, size);

	run(&once, data, size, NULL);
	run(&cut, data, size, &cuts);
	must(once.len == cut.len &&
	     memcmp(once.bytes, cut.bytes, once.len) == 0);
	return 0;
}
