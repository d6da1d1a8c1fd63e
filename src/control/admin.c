/* SPDX-License-Identifier: MIT */
#include "control/admin.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/admin_http.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/*
 * One epoll instance holds the listener, the connections, a timer and an
 * event counter. The timer ticks once a second while connections are open
 * and drives every deadline; the counter wakes us for input that already lies
 * in a buffer of ours, which no socket would report.
 */
#define TAG_LISTENER UINT64_C(0)
#define TAG_TIMER UINT64_C(1)
#define TAG_WAKE UINT64_C(2)
#define TAG_CONN UINT64_C(3) /* plus the index */

#define EVENTS_PER_STEP 64
#define ACCEPTS_PER_STEP 16
#define READS_PER_STEP 64 /* of one connection: 1 MiB */
#define LINGER_BYTES_MAX (8u << 20)
#define OUTPUT_MAX (REPLY_BODY_MAX + 4096)

enum phase {
	PHASE_FREE,
	PHASE_IDLE,   /* nothing of a request yet */
	PHASE_INPUT,  /* part of a request is here */
	PHASE_OUTPUT, /* the peer has a reply to fetch */
	PHASE_LINGER, /* all said; waits for the peer to close */
};

struct conn {
	int fd;
	enum phase phase;
	uid_t uid;
	uint64_t deadline_ms;
	uint32_t events;  /* registered with epoll */
	bool close_after; /* the reply in `out` is the last */
	bool runnable;    /* input in `in`, or a budget was used up */
	size_t drained;   /* bytes thrown away while lingering */
	size_t in_at, in_len;
	size_t out_at;
	struct buf out;
	struct admin_http http;
	char in[ADMIN_INPUT_BYTES];
};

struct admin {
	struct admin_options o;
	int epoll_fd, timer_fd, wake_fd;
	uint32_t places; /* of `conns` */
	uint32_t open_count;
	uint32_t away_count; /* of them, turned away */
	bool ticking;        /* the timer is armed */
	bool deaf; /* the listener is not polled: out of descriptors */
	struct reply reply;
	struct conn *conns; /* max_connections, then those turned away */
};

static int watch(struct admin *a, int op, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event e = {.events = events, .data.u64 = tag};

	return epoll_ctl(a->epoll_fd, op, fd, &e) < 0 ? -errno : 0;
}

static void tick(struct admin *a, bool on)
{
	struct itimerspec t = {0};

	if (a->ticking == on)
		return;
	t.it_value.tv_sec = t.it_interval.tv_sec = on ? 1 : 0;
	if (timerfd_settime(a->timer_fd, 0, &t, NULL) == 0)
		a->ticking = on;
}

static void wake(struct admin *a, struct conn *c)
{
	uint64_t one = 1;

	c->runnable = true;
	/* Full (2^64 - 1) means that it is readable already. */
	if (write(a->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static uint64_t tag_of(const struct admin *a, const struct conn *c)
{
	return TAG_CONN + (uint64_t)(c - a->conns);
}

static void want(struct admin *a, struct conn *c, uint32_t events)
{
	if (c->events == events)
		return;
	if (watch(a, EPOLL_CTL_MOD, c->fd, events, tag_of(a, c)) == 0)
		c->events = events;
}

static bool is_away(const struct admin *a, const struct conn *c)
{
	return c - a->conns >= (ptrdiff_t)a->o.max_connections;
}

static void drop(struct admin *a, struct conn *c)
{
	close(c->fd); /* leaves the epoll set as well */
	admin_http_deinit(&c->http);
	buf_deinit(&c->out);
	OPENSSL_cleanse(c->in, sizeof(c->in));
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	a->open_count--;
	a->away_count -= is_away(a, c);
}

static void enter(struct conn *c, enum phase phase, uint64_t deadline_ms)
{
	if (c->phase == phase)
		return;
	c->phase = phase;
	c->deadline_ms = deadline_ms;
}

/* Puts the reply behind what `out` still holds. */
static void queue_reply(struct admin *a, struct conn *c, bool head_only)
{
	reply_write(&a->reply, &c->out, c->close_after, head_only);
	reply_deinit(&a->reply);
	reply_init(&a->reply);
}

static void answer_error(struct admin *a, struct conn *c, unsigned status,
			 const char *code, const char *message)
{
	c->close_after = true;
	reply_error(&a->reply, status, code, "%s", message);
	queue_reply(a, c, false);
}

static void answer_broken(struct admin *a, struct conn *c)
{
	unsigned status = c->http.status;
	const char *code = status == 413   ? "payload_too_large"
			   : status == 503 ? "unavailable"
					   : "invalid_request";

	answer_error(a, c, status, code, admin_http_problem(&c->http));
}

static void answer_request(struct admin *a, struct conn *c)
{
	struct admin_request request = {
		.method = llhttp_get_method(&c->http.parser),
		.uid = c->uid,
		.target = c->http.target,
		.body = c->http.body.data,
		.body_len = c->http.body.len,
	};

	c->close_after = !admin_http_keeps_alive(&c->http);
	a->o.handle(a->o.arg, &request, &a->reply);
	queue_reply(a, c, request.method == HTTP_HEAD);
	admin_http_done(&c->http);
	/* Nothing of it stays behind in the input buffer. */
	OPENSSL_cleanse(c->in, c->in_at);
	/* Whatever comes next sets a deadline of its own. */
	c->phase = PHASE_FREE;
	c->deadline_ms = UINT64_MAX;
}

/* False when the connection is gone or has to wait. */
static bool flush(struct admin *a, struct conn *c, uint64_t now_ms)
{
	if (c->out.error) {
		drop(a, c);
		return false;
	}
	while (c->out_at < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->out_at,
				 c->out.len - c->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			enter(c, PHASE_OUTPUT, now_ms + ADMIN_REPLY_MS);
			want(a, c, EPOLLOUT);
			return false;
		}
		if (n < 0) {
			drop(a, c);
			return false;
		}
		c->out_at += (size_t)n;
	}
	buf_clear(&c->out);
	c->out_at = 0;
	if (c->phase == PHASE_OUTPUT)
		c->phase = PHASE_FREE;
	return true;
}

/* All was said: let the peer read it before the socket goes, since closing
 * with unread input would make its next write fail. */
static void linger(struct admin *a, struct conn *c, uint64_t now_ms)
{
	if (c->phase != PHASE_LINGER) {
		shutdown(c->fd, SHUT_WR);
		enter(c, PHASE_LINGER, now_ms + ADMIN_LINGER_MS);
	}
	want(a, c, EPOLLIN);
	for (int i = 0; i < READS_PER_STEP; i++) {
		ssize_t n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			c->drained += (size_t)n;
		if (n <= 0 || c->drained > LINGER_BYTES_MAX) {
			drop(a, c);
			return;
		}
	}
}

/* Fills the empty input buffer. False: gone, or nothing there. */
static bool receive(struct admin *a, struct conn *c, uint64_t now_ms)
{
	ssize_t n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);

	if (n < 0 && errno == EINTR)
		n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN) {
		if (c->http.started)
			enter(c, PHASE_INPUT, now_ms + ADMIN_REQUEST_MS);
		else
			enter(c, PHASE_IDLE, now_ms + a->o.idle_ms);
		want(a, c, EPOLLIN);
		return false;
	}
	if (n <= 0) {
		drop(a, c);
		return false;
	}
	c->in_at = 0;
	c->in_len = (size_t)n;
	return true;
}

/* Feeds what was received; true when a request was answered. */
static bool digest(struct admin *a, struct conn *c)
{
	enum admin_http_event event;

	c->in_at += admin_http_feed(&c->http, c->in + c->in_at,
				    c->in_len - c->in_at, &event);
	switch (event) {
	case ADMIN_HTTP_MORE:
		return false;
	case ADMIN_HTTP_CONTINUE:
		buf_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
		return false;
	case ADMIN_HTTP_REQUEST:
		answer_request(a, c);
		return true;
	case ADMIN_HTTP_BROKEN:
		break;
	}
	answer_broken(a, c);
	return true;
}

/* As far as it gets without waiting, one answer at most. */
static void run(struct admin *a, struct conn *c, uint64_t now_ms)
{
	bool answered = false;

	c->runnable = false;
	for (int reads = 0; reads <= READS_PER_STEP;) {
		if (!flush(a, c, now_ms))
			return;
		if (c->close_after) {
			linger(a, c, now_ms);
			return;
		}
		if (c->in_at < c->in_len) {
			if (answered) {
				wake(a, c);
				return;
			}
			answered = digest(a, c);
			continue;
		}
		OPENSSL_cleanse(c->in, c->in_len);
		c->in_at = c->in_len = 0;
		if (!receive(a, c, now_ms))
			return;
		reads++;
	}
	/* The socket has more; epoll says so again. */
	want(a, c, EPOLLIN);
	if (c->in_at < c->in_len)
		wake(a, c);
	if (c->http.started)
		enter(c, PHASE_INPUT, now_ms + ADMIN_REQUEST_MS);
}

static bool welcome(int fd, uid_t *ret_uid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	*ret_uid = peer.uid;
	return peer.uid == 0 || peer.uid == geteuid();
}

static struct conn *free_conn(struct admin *a, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (a->conns[i].fd < 0)
			return &a->conns[i];
	return NULL;
}

/* False: the descriptor is closed. */
static bool adopt(struct admin *a, struct conn *c, int fd, uid_t uid,
		  uint64_t now_ms)
{
	if (watch(a, EPOLL_CTL_ADD, fd, EPOLLIN, tag_of(a, c)) < 0) {
		close(fd);
		return false;
	}
	c->fd = fd;
	c->uid = uid;
	c->events = EPOLLIN;
	buf_init(&c->out, OUTPUT_MAX);
	admin_http_init(&c->http);
	a->open_count++;
	a->away_count += is_away(a, c);
	enter(c, PHASE_IDLE, now_ms + a->o.idle_ms);
	tick(a, true);
	return true;
}

/* Says why and lingers, unread: a peer that is still writing its request when
 * the socket goes would never see the answer. */
static void turn_away(struct admin *a, int fd, uint64_t now_ms, unsigned status,
		      const char *code, const char *message)
{
	struct conn *c = free_conn(a, a->o.max_connections, a->places);

	if (!c) {
		close(fd);
		return;
	}
	if (!adopt(a, c, fd, 0, now_ms))
		return;
	answer_error(a, c, status, code, message);
	run(a, c, now_ms);
}

static void take(struct admin *a, int fd, uint64_t now_ms)
{
	struct conn *c = free_conn(a, 0, a->o.max_connections);
	uid_t uid = 0;

	if (!welcome(fd, &uid)) {
		log_event(LOG_LEVEL_WARN, "admin_refused", "uid=%u", uid);
		turn_away(a, fd, now_ms, 403, "forbidden",
			  "Only root and the user that stiled runs as may use "
			  "the admin socket.");
	} else if (!c) {
		log_event(LOG_LEVEL_WARN, "admin_full", "connections=%u",
			  a->o.max_connections);
		turn_away(a, fd, now_ms, 503, "unavailable",
			  "Too many admin connections are open; try again, or "
			  "raise admin.max_connections.");
	} else if (adopt(a, c, fd, uid, now_ms)) {
		run(a, c, now_ms);
	}
}

static void listen_again(struct admin *a, bool on)
{
	if (watch(a, EPOLL_CTL_MOD, a->o.listen_fd, on ? EPOLLIN : 0,
		  TAG_LISTENER) == 0)
		a->deaf = !on;
}

static void accept_some(struct admin *a, uint64_t now_ms)
{
	for (int i = 0; i < ACCEPTS_PER_STEP; i++) {
		int fd = accept4(a->o.listen_fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);
		int error = errno;

		if (fd >= 0) {
			take(a, fd, now_ms);
			continue;
		}
		if (error == EMFILE || error == ENFILE || error == ENOBUFS ||
		    error == ENOMEM) {
			log_event(LOG_LEVEL_ERROR, "admin_accept", "errno=%d",
				  error);
			/* Until the next tick, or we would spin. */
			listen_again(a, false);
			tick(a, true);
		}
		if (error != ECONNABORTED && error != EINTR)
			return;
	}
}

static void expire(struct admin *a, uint64_t now_ms)
{
	for (uint32_t i = 0; i < a->places; i++) {
		struct conn *c = &a->conns[i];

		if (c->fd < 0 || now_ms < c->deadline_ms)
			continue;
		if (c->phase == PHASE_INPUT) {
			answer_error(a, c, 408, "invalid_request",
				     "The request took longer than 30 "
				     "seconds to arrive.");
			run(a, c, now_ms);
		} else {
			drop(a, c);
		}
	}
}

static void drain_counter(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return; /* nothing in it, then */
}

static void run_waiting(struct admin *a, uint64_t now_ms)
{
	for (uint32_t i = 0; i < a->places; i++)
		if (a->conns[i].fd >= 0 && a->conns[i].runnable)
			run(a, &a->conns[i], now_ms);
}

static void on_event(struct admin *a, const struct epoll_event *e,
		     uint64_t now_ms)
{
	struct conn *c;

	if (e->data.u64 == TAG_LISTENER) {
		accept_some(a, now_ms);
	} else if (e->data.u64 == TAG_TIMER) {
		drain_counter(a->timer_fd);
		if (a->deaf)
			listen_again(a, true);
	} else if (e->data.u64 == TAG_WAKE) {
		drain_counter(a->wake_fd);
		run_waiting(a, now_ms);
	} else {
		c = &a->conns[e->data.u64 - TAG_CONN];
		/* It may have been dropped by an event before this one. One
		 * that took its place meanwhile finds nothing to read. */
		if (c->fd >= 0)
			run(a, c, now_ms);
	}
}

void admin_step_at(struct admin *a, uint64_t now_ms)
{
	struct epoll_event events[EVENTS_PER_STEP];
	int count = epoll_wait(a->epoll_fd, events, EVENTS_PER_STEP, 0);

	for (int i = 0; i < count; i++)
		on_event(a, &events[i], now_ms);
	expire(a, now_ms);
	if (a->open_count == 0 && !a->deaf)
		tick(a, false);
}

void admin_step(struct admin *a)
{
	admin_step_at(a, clock_ns(CLOCK_MONOTONIC) / 1000000);
}

int admin_fd(const struct admin *a)
{
	return a->epoll_fd;
}

uint32_t admin_connections(const struct admin *a)
{
	return a->open_count - a->away_count;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static struct admin *release(struct admin *a)
{
	close_fd(a->epoll_fd);
	close_fd(a->timer_fd);
	close_fd(a->wake_fd);
	reply_deinit(&a->reply);
	free(a->conns);
	free(a);
	return NULL;
}

static int prepare(struct admin *a)
{
	int r;

	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	a->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	a->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (a->epoll_fd < 0 || a->timer_fd < 0 || a->wake_fd < 0)
		return -errno;
	r = fcntl(a->o.listen_fd, F_GETFL);
	if (r < 0 || fcntl(a->o.listen_fd, F_SETFL, r | O_NONBLOCK) < 0)
		return -errno;
	r = watch(a, EPOLL_CTL_ADD, a->timer_fd, EPOLLIN, TAG_TIMER);
	if (r == 0)
		r = watch(a, EPOLL_CTL_ADD, a->wake_fd, EPOLLIN, TAG_WAKE);
	if (r == 0)
		r = watch(a, EPOLL_CTL_ADD, a->o.listen_fd, EPOLLIN,
			  TAG_LISTENER);
	return r;
}

int admin_open(const struct admin_options *o, struct admin **ret_admin)
{
	struct admin *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->o = *o;
	a->epoll_fd = a->timer_fd = a->wake_fd = -1;
	reply_init(&a->reply);
	a->places = o->max_connections + ADMIN_AWAY_MAX;
	a->conns = calloc(a->places, sizeof(*a->conns));
	if (!a->conns) {
		release(a);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < a->places; i++)
		a->conns[i].fd = -1;
	r = prepare(a);
	if (r < 0) {
		release(a);
		return r;
	}
	*ret_admin = a;
	return 0;
}

struct admin *admin_close(struct admin *a)
{
	if (!a)
		return NULL;
	for (uint32_t i = 0; i < a->places; i++)
		if (a->conns[i].fd >= 0)
			drop(a, &a->conns[i]);
	close(a->o.listen_fd);
	return release(a);
}
