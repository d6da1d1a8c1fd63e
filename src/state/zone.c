/* SPDX-License-Identifier: MIT */
#include "state/zone.h"

#include "state/zone_rule.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONE_DIR "/usr/share/zoneinfo"

#define HEADER_LEN 44
#define TYPE_LEN 6

struct shift {
	int64_t at;
	int32_t offset_s; /* from then on */
};

/* Time as shown by clocks: `first` until shifts[0].at, then one shift after
 * the other, then what the rule says. */
struct zone {
	struct zone_rule rule;
	bool has_rule;
	int32_t first_offset_s;
	uint32_t count;
	struct shift shifts[];
};

/* ---- the file ---- */

struct header {
	uint32_t utc_marks, std_marks, leaps, times, types, chars;
};

static uint64_t big_endian(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | *p++;
	return v;
}

static bool read_header(const uint8_t *p, size_t len, struct header *h)
{
	if (len < HEADER_LEN || memcmp(p, "TZif", 4) != 0 || p[4] < '2')
		return false;
	h->utc_marks = (uint32_t)big_endian(p + 20, 4);
	h->std_marks = (uint32_t)big_endian(p + 24, 4);
	h->leaps = (uint32_t)big_endian(p + 28, 4);
	h->times = (uint32_t)big_endian(p + 32, 4);
	h->types = (uint32_t)big_endian(p + 36, 4);
	h->chars = (uint32_t)big_endian(p + 40, 4);
	return h->types > 0 && h->types <= 256;
}

/* Bytes after the header, `time_len` being 4 in the first half of a file and 8
 * in the second. */
static uint64_t body_len(const struct header *h, unsigned time_len)
{
	return (uint64_t)h->times * (time_len + 1) +
	       (uint64_t)h->types * TYPE_LEN + h->chars +
	       (uint64_t)h->leaps * (time_len + 4) + h->std_marks +
	       h->utc_marks;
}

static bool read_type(const uint8_t *types, uint32_t count, uint32_t i,
		      int32_t *ret_offset_s)
{
	if (i >= count)
		return false;
	*ret_offset_s = (int32_t)(uint32_t)big_endian(types + (size_t)i * 6, 4);
	return *ret_offset_s >= -ZONE_OFFSET_MAX_S &&
	       *ret_offset_s <= ZONE_OFFSET_MAX_S;
}

/* Times come in ascending order; those outside of our range keep what they
 * mean when they are put at its border. */
static bool read_shifts(struct zone *z, const uint8_t *p,
			const struct header *h)
{
	const uint8_t *indices = p + (size_t)h->times * 8;
	const uint8_t *types = indices + h->times;
	int64_t last = INT64_MIN;

	if (!read_type(types, h->types, 0, &z->first_offset_s))
		return false;
	for (uint32_t i = 0; i < h->times; i++) {
		struct shift *s = &z->shifts[i];
		int64_t at = (int64_t)big_endian(p + (size_t)i * 8, 8);

		if (at < last ||
		    !read_type(types, h->types, indices[i], &s->offset_s))
			return false;
		last = at;
		s->at = at < -ZONE_TIME_MAX_S  ? -ZONE_TIME_MAX_S
			: at > ZONE_TIME_MAX_S ? ZONE_TIME_MAX_S
					       : at;
	}
	z->count = h->times;
	return true;
}

/* "\nTZ\n" after the second half; empty when nobody knows how it goes on. */
static bool read_footer(struct zone *z, const uint8_t *p, size_t len)
{
	char text[ZONE_RULE_MAX + 1];
	const uint8_t *end;
	size_t text_len;

	if (len < 2 || p[0] != '\n')
		return false;
	end = memchr(p + 1, '\n', len - 1);
	if (end == NULL)
		return false;
	text_len = (size_t)(end - p - 1);
	if (text_len > ZONE_RULE_MAX || memchr(p + 1, '\0', text_len) != NULL)
		return false;
	memcpy(text, p + 1, text_len);
	text[text_len] = '\0';
	z->has_rule = text_len > 0;
	return !z->has_rule || zone_rule_parse(&z->rule, text);
}

int zone_parse(struct zone **ret_zone, const uint8_t *data, size_t len)
{
	struct header h;
	struct zone *z;

	/* The first half is for readers of old: 32-bit times. */
	if (len > ZONE_FILE_MAX || !read_header(data, len, &h) ||
	    body_len(&h, 4) > len - HEADER_LEN)
		return -EBADMSG;
	len -= HEADER_LEN + (size_t)body_len(&h, 4);
	data += HEADER_LEN + (size_t)body_len(&h, 4);
	/* Leap seconds: a clock that counts them is not civil time. */
	if (!read_header(data, len, &h) || body_len(&h, 8) > len - HEADER_LEN ||
	    h.leaps != 0)
		return -EBADMSG;
	z = calloc(1, sizeof(*z) + h.times * sizeof(z->shifts[0]));
	if (z == NULL)
		return -ENOMEM;
	data += HEADER_LEN;
	len -= HEADER_LEN;
	if (!read_shifts(z, data, &h) ||
	    !read_footer(z, data + (size_t)body_len(&h, 8),
			 len - (size_t)body_len(&h, 8))) {
		free(z);
		return -EBADMSG;
	}
	*ret_zone = z;
	return 0;
}

/* Parts of letters, digits, "+", "-" and "_" with "/" between them. The first
 * letter of each name of the database is large, of nothing else there. */
static bool is_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789+-_/";
	size_t len = strlen(name);

	return len > 0 && len <= ZONE_NAME_MAX && name[0] >= 'A' &&
	       name[0] <= 'Z' && strspn(name, allowed) == len &&
	       name[len - 1] != '/' && strstr(name, "//") == NULL;
}

static int read_file(const char *path, uint8_t *out, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = 0;
	int r = 0;

	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -ENOENT; /* "America" */
	for (*ret_len = 0; r == 0; *ret_len += (size_t)n) {
		n = read(fd, out + *ret_len, ZONE_FILE_MAX + 1 - *ret_len);
		if (n < 0)
			r = -errno;
		if (n <= 0)
			break;
	}
	close(fd);
	return r;
}

int zone_open(struct zone **ret_zone, const char *name)
{
	char path[sizeof(ZONE_DIR) + 1 + ZONE_NAME_MAX];
	uint8_t *data;
	size_t len = 0;
	int r;

	if (!is_name(name))
		return -ENOENT;
	if (strcmp(name, "UTC") == 0) {
		*ret_zone = calloc(1, sizeof(**ret_zone));
		return *ret_zone != NULL ? 0 : -ENOMEM;
	}
	data = malloc(ZONE_FILE_MAX + 1);
	if (data == NULL)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/%s", ZONE_DIR, name);
	r = read_file(path, data, &len);
	if (r == 0)
		r = zone_parse(ret_zone, data, len);
	free(data);
	return r;
}

struct zone *zone_free(struct zone *z)
{
	free(z);
	return NULL;
}

/* ---- the clocks ---- */

/* The offset at `utc_s`, and until when it stays. */
static int32_t offset_at(const struct zone *z, int64_t utc_s, int64_t *ret_end)
{
	uint32_t low = 0, high = z->count;

	while (low < high) { /* the first shift after utc_s */
		uint32_t middle = low + (high - low) / 2;

		if (z->shifts[middle].at <= utc_s)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < z->count)
		*ret_end = z->shifts[low].at;
	else if (z->has_rule)
		return zone_rule_offset(&z->rule, utc_s, ret_end);
	else
		*ret_end = INT64_MAX;
	return low > 0 ? z->shifts[low - 1].offset_s : z->first_offset_s;
}

static int64_t clamp(int64_t s)
{
	return s < -ZONE_TIME_MAX_S  ? -ZONE_TIME_MAX_S
	       : s > ZONE_TIME_MAX_S ? ZONE_TIME_MAX_S
				     : s;
}

int32_t zone_offset_s(const struct zone *z, int64_t utc_s)
{
	int64_t end;

	return offset_at(z, clamp(utc_s), &end);
}

int64_t zone_first_instant(const struct zone *z, int64_t local_s)
{
	/* Before this the clocks show less, whatever the offset is. */
	int64_t from = clamp(local_s) - ZONE_OFFSET_MAX_S;

	local_s = clamp(local_s);
	for (;;) {
		int64_t end;
		int64_t at = local_s - offset_at(z, from, &end);

		if (at < from)
			at = from;
		if (at < end)
			return at;
		from = end;
	}
}
