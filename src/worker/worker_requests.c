/* SPDX-License-Identifier: MIT */
#include "worker/worker_internal.h"

#include <string.h>

/* ---- bytes -> checks ---- */

static void break_off(struct worker *w, uint32_t idx)
{
	counter_add(&w->counters.protocol_errors, 1);
	conn_finish(&w->conns, idx);
}

/* The frames that stand whole in the buffer; false: not one. */
static bool parse_whole(struct worker *w, struct input *in, uint32_t *count)
{
	const struct native_run run = native_decode_run(
		ring_buffer(&w->ring, in->buffer) + in->off, in->len - in->off,
		in->conn_idx, GATE_BATCH_MAX - *count, &w->extras[*count],
		&w->checks[*count]);

	in->off += run.bytes;
	in->secret = in->secret || run.secret;
	*count += run.count;
	if (unlikely(run.broken))
		break_off(w, in->conn_idx);
	if (run.count == 0)
		return false;
	w->explains += (w->checks[*count - 1].flags & CHECK_EXPLAIN) != 0;
	return true;
}

/* A frame that came in parts: this is one of them. False: the carry holds a
 * check of this batch, so not yet. */
static bool parse_part(struct worker *w, struct input *in, uint32_t *count)
{
	struct session *s = &w->sessions[in->conn_idx];
	const uint8_t *bytes = ring_buffer(&w->ring, in->buffer) + in->off;
	const uint32_t whole =
		native_request_bytes(s->carry_len > 0 ? s->carry[0] : bytes[0]);
	uint32_t take = whole - s->carry_len;

	if (s->blocked_in == w->batch)
		return false;
	if (take > in->len - in->off)
		take = in->len - in->off;
	memcpy(s->carry + s->carry_len, bytes, take);
	s->carry_len += take;
	in->off += take;
	in->secret = in->carried = true;
	if (s->carry_len < whole)
		return true;
	s->carry_len = 0;
	s->blocked_in = w->batch;
	if (!native_decode(s->carry, &w->extras[*count], &w->checks[*count]))
		break_off(w, in->conn_idx);
	w->checks[*count].conn_idx = in->conn_idx;
	w->explains += (w->checks[*count].flags & CHECK_EXPLAIN) != 0;
	(*count)++;
	return true;
}

/* True when the input is used up; false: more in the next batch. */
static bool parse_native(struct worker *w, struct input *in, uint32_t *count)
{
	const struct conn *c = conn_at(&w->conns, in->conn_idx);
	const struct session *s = &w->sessions[in->conn_idx];

	while (in->off < in->len && conn_reads(c)) {
		if (*count == GATE_BATCH_MAX ||
		    unlikely(w->explains == GATE_EXPLAINS_MAX))
			return false;
		if (s->carry_len == 0 && parse_whole(w, in, count))
			continue;
		if (!parse_part(w, in, count))
			return false;
	}
	return true;
}

static void reply_probe(struct worker *w, uint32_t idx)
{
	struct http_parser *p = &w->parsers[idx];
	uint8_t *out = conn_room(&w->conns, idx, HTTP_REPLY_MAX);

	if (out == NULL)
		return;
	/* PAIRS: the control thread's store, relaxed: a flag that guards
	 * nothing. */
	conn_wrote(&w->conns, idx,
		   (uint32_t)http_encode_probe(
			   p,
			   atomic_load_explicit(&w->team->shared->ready,
						memory_order_relaxed),
			   out));
	if (http_must_close(p))
		conn_finish(&w->conns, idx);
	http_reply_done(p);
}

/* One check of a connection in a batch: the parser holds its key until the
 * reply. */
static bool parse_http(struct worker *w, struct input *in, uint32_t *count)
{
	struct conn *c = conn_at(&w->conns, in->conn_idx);
	struct session *s = &w->sessions[in->conn_idx];
	struct http_parser *p = &w->parsers[in->conn_idx];
	const uint8_t *bytes = ring_buffer(&w->ring, in->buffer);

	while (in->off < in->len && conn_reads(c)) {
		struct check *check = &w->checks[*count];
		enum http_event event;

		if (s->blocked_in == w->batch || *count == GATE_BATCH_MAX ||
		    unlikely(w->explains == GATE_EXPLAINS_MAX))
			return false;
		in->off += (uint32_t)http_feed(
			p, bytes + in->off, in->len - in->off, &event, check);
		switch (event) {
		case HTTP_MORE:
			break;
		case HTTP_PROBE:
			reply_probe(w, in->conn_idx);
			break;
		case HTTP_BROKEN:
		case HTTP_CHECK:
			if (event == HTTP_BROKEN)
				counter_add(&w->counters.protocol_errors, 1);
			check->conn_idx = in->conn_idx;
			s->blocked_in = w->batch;
			w->explains += (check->flags & CHECK_EXPLAIN) != 0;
			(*count)++;
			break;
		}
	}
	return true;
}

uint32_t worker_parse(struct worker *w)
{
	uint32_t count = 0, i;

	w->batch++;
	w->explains = 0;
	while (w->input_first < w->input_count &&
	       w->inputs[w->input_first].off == w->inputs[w->input_first].len)
		w->input_first++;
	/* A full batch is not the last: the rest is looked at in the next. */
	for (i = w->input_first; i < w->input_count && count < GATE_BATCH_MAX;
	     i++) {
		struct input *in = &w->inputs[i];
		struct session *s = &w->sessions[in->conn_idx];
		struct conn *c = conn_at(&w->conns, in->conn_idx);

		/* An earlier input of this connection comes first. */
		if (in->off == in->len || s->waits_in == w->batch)
			continue;
		if (c->gen == in->conn_gen && conn_reads(c) &&
		    !(c->kind == PROTOCOL_NATIVE ? parse_native(w, in, &count)
						 : parse_http(w, in, &count))) {
			s->waits_in = w->batch;
		} else if (in->off < in->len) { /* it will not be read */
			in->secret = true;
			in->off = in->len;
		}
	}
	return count;
}

/* ---- verdicts -> replies ---- */

static void reply_http(struct worker *w, const struct check *c,
		       const struct verdict *v)
{
	struct http_parser *p = &w->parsers[c->conn_idx];
	uint8_t *out = conn_room(&w->conns, c->conn_idx, http_reply_max(c));

	if (out == NULL)
		return;
	conn_wrote(&w->conns, c->conn_idx,
		   (uint32_t)http_encode(p, &w->options->http, c, v,
					 w->civil_ms, out));
	if (http_must_close(p))
		conn_finish(&w->conns, c->conn_idx);
	http_reply_done(p);
}

/* Returns how many of the `count` checks from `at` on, one at least, are
 * answered, or never will be. */
static uint32_t reply_native(struct worker *w, uint32_t at, uint32_t count)
{
	const struct check *c = &w->checks[at];
	uint32_t idx = c->conn_idx, len, answered;
	uint8_t *out = conn_room(&w->conns, idx,
				 native_answer_bytes(c, &w->verdicts[at]));

	if (out == NULL)
		return 1;
	answered = native_encode_run(c, &w->verdicts[at], count, out,
				     conn_room_len(&w->conns, idx), &len);
	conn_wrote(&w->conns, idx, len);
	return answered;
}

void worker_encode(struct worker *w, uint32_t count)
{
	uint32_t i = 0;

	while (i < count) {
		const struct check *check = &w->checks[i];
		const struct conn *c = conn_at(&w->conns, check->conn_idx);

		if (c->flags & CONN_ABORT) {
			i++;
		} else if (c->kind == PROTOCOL_NATIVE) {
			i += reply_native(w, i, count - i);
		} else {
			reply_http(w, check, &w->verdicts[i]);
			i++;
		}
	}
}

void worker_recycle(struct worker *w)
{
	uint32_t i;

	for (i = 0; i < w->input_count; i++) {
		struct input *in = &w->inputs[i];
		struct session *s = &w->sessions[in->conn_idx];

		if (in->secret)
			explicit_bzero(ring_buffer(&w->ring, in->buffer),
				       in->len);
		/* What is left of a frame that has been answered. */
		if (in->carried)
			explicit_bzero(s->carry + s->carry_len,
				       sizeof(s->carry) - s->carry_len);
		ring_recycle(&w->ring, in->buffer);
	}
	w->input_count = w->input_first = 0;
	ring_publish(&w->ring);
}

void worker_forget(struct worker *w, uint32_t idx)
{
	explicit_bzero(w->sessions[idx].carry, sizeof(w->sessions[idx].carry));
	w->sessions[idx].carry_len = 0;
	if (conn_at(&w->conns, idx)->kind == PROTOCOL_HTTP)
		http_init(&w->parsers[idx]);
}
