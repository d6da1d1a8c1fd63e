/* SPDX-License-Identifier: MIT */
/*
 * worker/worker_requests, without a ring: a stream to each of three
 * connections, at once and in pieces over many rounds and receive buffers,
 * gives each the same replies. The verdict depends on every byte of the key,
 * as it stands in memory when it is decided.
 */
#include "fuzz.h"
#include "worker/worker_internal.h"

#define STREAMS 3
#define BUFFERS 16
#define OUTPUT_MAX (4u << 20)

struct outcome {
	size_t len[STREAMS];
	uint32_t flags[STREAMS];
	uint8_t bytes[STREAMS][OUTPUT_MAX];
};

static struct outcome once, cut;
static struct worker worker;
static struct workers team;
static struct workers_shared shared;

static void set_up(void)
{
	struct worker *w = &worker;

	shared.options.http = (struct http_options){.realm = "stile"};
	shared.options.idle_timeout_s = 60;
	team.shared = &shared;
	w->team = &team;
	w->options = &shared.options;
	w->ring.buffer_count = BUFFERS;
	w->ring.buffers = calloc(BUFFERS, RECV_BUFFER_BYTES);
	w->ring.buf_ring = calloc(BUFFERS, sizeof(struct io_uring_buf));
	w->inputs = calloc(BUFFERS, sizeof(*w->inputs));
	w->sessions = calloc(STREAMS, sizeof(*w->sessions));
	w->parsers = calloc(STREAMS, sizeof(*w->parsers));
	must(w->ring.buffers && w->ring.buf_ring && w->inputs && w->sessions &&
	     w->parsers);
	must(conns_init(&w->conns, &w->ring, STREAMS, 4096, UINT64_MAX,
			&w->counters) == 0);
}

static void open_stream(struct worker *w, uint32_t idx, uint32_t kind)
{
	struct conn *c = conn_at(&w->conns, idx);

	*c = (struct conn){.fd = -1,
			   .gen = c->gen + 1,
			   .flags = CONN_OPEN,
			   .kind = kind,
			   .first = CHUNK_NONE,
			   .last = CHUNK_NONE};
	worker_forget(w, idx);
}

/* Takes what was written, as the kernel would. */
static void collect(struct worker *w, uint32_t idx, struct outcome *o)
{
	struct conn *c = conn_at(&w->conns, idx);

	while (c->first != CHUNK_NONE) {
		struct chunk *k = &w->conns.chunks.chunks[c->first];
		uint32_t next = k->next;

		must(k->len <= OUTPUT_MAX - o->len[idx]);
		memcpy(o->bytes[idx] + o->len[idx],
		       chunk_bytes(&w->conns.chunks, c->first), k->len);
		o->len[idx] += k->len;
		chunks_give(&w->conns.chunks, c->first);
		c->first = next;
	}
	c->last = CHUNK_NONE;
	c->queued = 0;
	c->flags &= ~(unsigned)CONN_LISTED;
	w->conns.listed_count = 0;
}

/* Of every byte that an extra part holds when it is looked at. */
static uint32_t said(const struct check_extra *e)
{
	const uint8_t *at = (const uint8_t *)e;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*e); i++)
		sum = sum * 31 + at[i];
	return sum;
}

/* As many lines as the check says by what it is. */
static const struct explain *explain(unsigned number, uint32_t sum)
{
	static struct explain all[GATE_EXPLAINS_MAX];

	must(number < GATE_EXPLAINS_MAX);
	all[number].count = (uint8_t)(sum % (EXPLAIN_LINES_MAX + 1));
	for (unsigned i = 0; i < all[number].count; i++)
		all[number].lines[i] = (struct explain_line){
			.name = "org", .algorithm = 1, .limit = sum};
	return &all[number];
}

static void decide(struct worker *w, uint32_t count)
{
	unsigned explained = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct check *c = &w->checks[i];
		struct verdict *v = &w->verdicts[i];
		const uint8_t *key =
			c->credential == CREDENTIAL_KEY ? c->key : c->hash;
		uint32_t len =
			c->credential == CREDENTIAL_KEY ? c->key_len : 32;
		uint32_t sum = c->cost;

		*v = (struct verdict){.reason = c->reason, .detail = c->detail};
		if (c->credential == CREDENTIAL_NONE)
			continue;
		if (c->extra)
			sum += said(c->extra);
		if (c->credential == CREDENTIAL_HOLD) {
			v->charged = sum;
			continue;
		}
		while (len-- > 0)
			sum = sum * 31 + *key++;
		memcpy(v->org.c, "org00001", ID_LEN);
		memcpy(v->limit_name, "org", 4);
		v->reason = sum % 2 ? REASON_ALLOW : REASON_RATE_LIMITED;
		v->limit = sum;
		v->remaining = c->flags;
		if (c->flags & CHECK_EXPLAIN)
			v->explain = explain(explained++, sum);
	}
}

/* One round of the worker, less what needs a ring. */
static void round_of(struct worker *w, struct outcome *o)
{
	uint32_t count;

	while ((count = worker_parse(w)) > 0) {
		must(count <= GATE_BATCH_MAX);
		decide(w, count);
		worker_encode(w, count);
	}
	for (uint32_t i = 0; i < w->input_count; i++)
		must(w->inputs[i].off == w->inputs[i].len);
	worker_recycle(w);
	must(w->input_count == 0);
	for (uint32_t i = 0; i < STREAMS; i++)
		collect(w, i, o);
}

static void add_input(struct worker *w, uint32_t idx, const uint8_t *bytes,
		      uint32_t len)
{
	struct conn *c = conn_at(&w->conns, idx);
	uint32_t buffer = w->input_count;

	memcpy(ring_buffer(&w->ring, buffer), bytes, len);
	w->inputs[w->input_count++] = (struct input){
		.conn_idx = idx,
		.conn_gen = c->gen,
		.buffer = buffer,
		.len = len,
		.secret = c->kind == PROTOCOL_HTTP,
	};
}

/* Each connection's own stream: a third of the input, as far as it goes. */
static void run(struct outcome *o, const uint8_t *in, size_t len,
		uint32_t kinds, struct cuts *cuts)
{
	struct worker *w = &worker;
	size_t part = len / STREAMS, at[STREAMS] = {0};

	for (uint32_t i = 0; i < STREAMS; i++) {
		o->len[i] = 0;
		open_stream(w, i,
			    kinds >> i & 1 ? PROTOCOL_HTTP : PROTOCOL_NATIVE);
	}
	while (at[0] < part || at[1] < part || at[2] < part) {
		uint32_t inputs = cuts ? 1 + cuts_draw(cuts, BUFFERS) : BUFFERS;

		for (uint32_t i = 0; i < inputs; i++) {
			uint32_t idx =
				cuts ? cuts_draw(cuts, STREAMS) : i % STREAMS;
			size_t left = part - at[idx];
			size_t piece =
				cuts ? cuts_next(cuts, left ? left : 1) : left;

			if (piece > left)
				continue;
			if (piece > RECV_BUFFER_BYTES)
				piece = RECV_BUFFER_BYTES;
			add_input(w, idx, in + part * idx + at[idx],
				  (uint32_t)piece);
			at[idx] += piece;
		}
		round_of(w, o);
	}
	for (uint32_t i = 0; i < STREAMS; i++)
		o->flags[i] = conn_at(&w->conns, i)->flags;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cuts cuts = cuts_of(data, size);
	uint32_t kinds;

	if (worker.team == NULL)
		set_up();
	if (size < 1)
		return 0;
	kinds = data[0];
	run(&once, data + 1, size - 1, kinds, NULL);
	run(&cut, data + 1, size - 1, kinds, &cuts);
	for (uint32_t i = 0; i < STREAMS; i++) {
		must(once.len[i] == cut.len[i]);
		must(once.flags[i] == cut.flags[i]);
		must(memcmp(once.bytes[i], cut.bytes[i], once.len[i]) == 0);
	}
	return 0;
}
