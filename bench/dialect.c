/* SPDX-License-Identifier: MIT */
#include "dialect.h"

#include "base/check.h"
#include "pages.h"

#include <errno.h>
#include <string.h>

static uint8_t *append(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

static size_t requests_bytes(const struct dialect *d)
{
	return (size_t)d->request_count * d->request_bytes;
}

static uint8_t *put_request(uint8_t *at, const struct workload *w, uint32_t idx,
			    const struct dialect_form *form)
{
	const struct workload_key *k = &w->keys[w->order[idx] % w->key_count];

	at = append(at, form->before, strlen(form->before));
	at = append(at, k->text, k->text_len);
	if (form->between) {
		at = append(at, form->between, strlen(form->between));
		at = append(at, w->orgs[k->org_idx].c, ID_LEN);
	}
	return append(at, form->after, strlen(form->after));
}

int dialect_build(struct dialect *d, const struct workload *w,
		  const struct dialect_form *form)
{
	uint8_t *requests, *at;

	memset(d, 0, sizeof(*d));
	d->workload = w;
	d->request_count = w->frame_count;
	d->request_bytes =
		(uint32_t)(strlen(form->before) + w->keys[0].text_len +
			   strlen(form->after));
	if (form->between)
		d->request_bytes += (uint32_t)strlen(form->between) + ID_LEN;
	at = requests = pages_map(requests_bytes(d));
	if (!requests)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->request_count; i++)
		at = put_request(at, w, i, form);
	check(at == requests + requests_bytes(d)); /* keys of one length */
	d->requests = requests;
	return 0;
}

void dialect_free(struct dialect *d)
{
	pages_unmap(d->requests, requests_bytes(d));
	memset(d, 0, sizeof(*d));
}

ssize_t dialect_judge_each(dialect_judge_one *one, const struct dialect *d,
			   uint32_t first, uint32_t count, const uint8_t *bytes,
			   size_t len, struct workload_tally *tally,
			   uint32_t *ret_count, char *error, size_t error_len)
{
	size_t taken = 0;
	uint32_t done = 0;

	while (done < count) {
		ssize_t n = one(d, first + done, bytes + taken, len - taken,
				tally, error, error_len);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		taken += (size_t)n;
		done++;
	}
	*ret_count = done;
	return (ssize_t)taken;
}

/* Native replies may come in any order within their batch, so a batch is
 * judged as a whole. */
static ssize_t judge_batch(const struct dialect *d, bool from_null,
			   uint32_t first, uint32_t count, const uint8_t *bytes,
			   size_t len, struct workload_tally *tally,
			   uint32_t *ret_count, char *error, size_t error_len)
{
	size_t want = (size_t)count * NATIVE_REPLY_BYTES;

	*ret_count = 0;
	if (len < want)
		return 0;
	if (!workload_verify(d->workload, from_null, first, count, bytes, tally,
			     error, error_len))
		return -1;
	*ret_count = count;
	return (ssize_t)want;
}

static ssize_t judge_frames(const struct dialect *d, uint32_t first,
			    uint32_t count, const uint8_t *bytes, size_t len,
			    struct workload_tally *tally, uint32_t *ret_count,
			    char *error, size_t error_len)
{
	return judge_batch(d, false, first, count, bytes, len, tally, ret_count,
			   error, error_len);
}

static ssize_t judge_null(const struct dialect *d, uint32_t first,
			  uint32_t count, const uint8_t *bytes, size_t len,
			  struct workload_tally *tally, uint32_t *ret_count,
			  char *error, size_t error_len)
{
	return judge_batch(d, true, first, count, bytes, len, tally, ret_count,
			   error, error_len);
}

void dialect_of_frames(struct dialect *d, const struct workload *w,
		       bool from_null)
{
	*d = (struct dialect){
		.workload = w,
		.requests = w->frames,
		.request_bytes = NATIVE_REQUEST_BYTES,
		.request_count = w->frame_count,
		.reply_bytes_max = NATIVE_REPLY_BYTES,
		.reply_is_fixed = true,
		.judge = from_null ? judge_null : judge_frames,
	};
}
