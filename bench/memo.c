/* SPDX-License-Identifier: MIT */
#include "memo.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>

static uint64_t places(uint32_t keys)
{
	uint64_t n = 1;

	while (n < 2 * (uint64_t)keys)
		n *= 2;
	return n;
}

uint64_t memo_bytes(uint32_t keys)
{
	return places(keys) * sizeof(struct memo_entry);
}

int memo_init(struct memo *m, uint32_t keys)
{
	uint64_t bytes = memo_bytes(keys);
	void *p;

	if (getrandom(&m->secret, sizeof(m->secret), 0) != sizeof(m->secret))
		return -EIO;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	(void)madvise(p, bytes, MADV_HUGEPAGE);
	m->entries = p;
	m->mask = places(keys) - 1;
	return 0;
}

void memo_deinit(struct memo *m)
{
	if (m->entries != NULL)
		munmap(m->entries, (m->mask + 1) * sizeof(*m->entries));
	m->entries = NULL;
}

struct sip {
	uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void rounds(struct sip *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		s->a += s->b;
		s->c += s->d;
		s->b = rotate(s->b, 13) ^ s->a;
		s->d = rotate(s->d, 16) ^ s->c;
		s->a = rotate(s->a, 32);
		s->c += s->b;
		s->a += s->d;
		s->b = rotate(s->b, 17) ^ s->c;
		s->d = rotate(s->d, 21) ^ s->a;
		s->c = rotate(s->c, 32);
	}
}

static inline void take(struct sip *s, uint64_t word)
{
	s->d ^= word;
	rounds(s, 2);
	s->a ^= word;
}

static inline uint64_t last_word(const uint8_t *at, size_t len, size_t total)
{
	uint64_t word = (uint64_t)total << 56;

	for (size_t i = 0; i < len; i++)
		word |= (uint64_t)at[i] << (8 * i);
	return word;
}

struct memo_name memo_name(const struct memo *m, const void *key,
			   size_t key_len)
{
	const uint8_t *at = key;
	struct sip s = {
		.a = m->secret.low ^ UINT64_C(0x736f6d6570736575),
		.b = m->secret.high ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
		.c = m->secret.low ^ UINT64_C(0x6c7967656e657261),
		.d = m->secret.high ^ UINT64_C(0x7465646279746573),
	};
	struct memo_name name;
	size_t left = key_len;

	for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, at, sizeof(word)); /* little-endian */
		take(&s, word);
		at += sizeof(word);
	}
	take(&s, last_word(at, left, key_len));
	s.c ^= 0xee;
	rounds(&s, 4);
	name.low = s.a ^ s.b ^ s.c ^ s.d;
	s.b ^= 0xdd;
	rounds(&s, 4);
	name.high = s.a ^ s.b ^ s.c ^ s.d;
	return name;
}

void memo_learn(struct memo *m, const void *key, size_t key_len,
		const uint8_t hash[static SHA256_BYTES])
{
	struct memo_name name = memo_name(m, key, key_len);
	struct memo_entry *e = &m->entries[name.low & m->mask];

	e->name = name;
	memcpy(e->hash, hash, sizeof(e->hash));
}
