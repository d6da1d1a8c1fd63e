/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ACCESS_H
#define STILE_STATE_ACCESS_H

/*
 * state/access - what a key may be used for, from text to the block that
 * workers read (struct access, gate/layout.h). Pure.
 */
#include "state/records_plans.h"

#define ACCESS_WHY_MAX 160
#define ACCESS_MAX (ACCESS_SCOPES_MAX + ACCESS_ROUTES_MAX + ACCESS_NETWORKS_MAX)
#define ACCESS_WORDS_MAX                                                       \
	((sizeof(struct access) +                                              \
	  8 * (ACCESS_SCOPES_MAX + ACCESS_ROUTES_MAX) +                        \
	  sizeof(struct network) * ACCESS_NETWORKS_MAX) /                      \
	 8)

/* "10.0.0.0/8", "192.0.2.7", "2001:db8::/32": an address and the number of its
 * leading bits that count (all of them when not said); the others are 0.
 * IPv4 becomes ::ffff:a.b.c.d. False: not of that shape. */
bool access_parse_network(const char *text, struct network *ret_network);

/* -EINVAL: `why` says what was expected. Counts the kinds as well. */
int access_check(const struct access_record *of, unsigned count,
		 char why[static ACCESS_WHY_MAX]);

/* The block for what access_check() found right: words used of `out`. */
unsigned access_fill(const struct access_record *of, unsigned count,
		     uint64_t out[static ACCESS_WORDS_MAX]);

/* Words of a block with this many of each. */
static inline unsigned access_words(uint32_t scopes, uint32_t routes,
				    uint32_t networks)
{
	return (unsigned)(sizeof(struct access) / 8) + scopes + routes +
	       networks * (unsigned)(sizeof(struct network) / 8);
}

#endif
