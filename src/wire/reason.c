/* SPDX-License-Identifier: MIT */
#include "wire/reason.h"

#include <assert.h>

#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

static const struct reason_info infos[REASON_COUNT] = {
	[REASON_ALLOW] = {200, TEXT("allow"), TEXT("Allowed")},
	[REASON_BAD_REQUEST] = {400, TEXT("bad_request"),
				TEXT("Malformed request")},
	[REASON_NO_CREDENTIAL] = {401, TEXT("no_credential"),
				  TEXT("Missing API key")},
	[REASON_INVALID_KEY] = {401, TEXT("invalid_key"),
				TEXT("Invalid API key")},
	[REASON_SUSPENDED] = {403, TEXT("suspended"),
			      TEXT("Organization suspended")},
	[REASON_RATE_LIMITED] = {429, TEXT("rate_limited"),
				 TEXT("Rate limit exceeded")},
	[REASON_COST_ABOVE_LIMIT] = {429, TEXT("cost_above_limit"),
				     TEXT("Cost is above the rate limit")},
	[REASON_NOT_READY] = {503, TEXT("not_ready"),
			      TEXT("Service not ready")},
	[REASON_CONCURRENCY] = {429, TEXT("concurrency"),
				TEXT("Too many requests in flight")},
	[REASON_BUDGET] = {402, TEXT("budget"), TEXT("Budget cap exceeded")},
	[REASON_CREDITS] = {402, TEXT("credits"), TEXT("Insufficient credits")},
	[REASON_SCOPE] = {403, TEXT("scope"), TEXT("Insufficient permissions")},
	[REASON_ROUTE] = {403, TEXT("route"),
			  TEXT("API key is not valid for this route")},
	[REASON_NETWORK] = {403, TEXT("network"),
			    TEXT("API key is not valid from this address")},
	[REASON_FULL] = {503, TEXT("full"), TEXT("No room to count in")},
	[REASON_NO_HOLD] = {404, TEXT("no_hold"), TEXT("No such reservation")},
};

static_assert(CHECK_COST_MAX == 1000000 && CHECK_HOLD_MS_MAX == 2678400000u,
	      "the messages below name them");

/* Only HTTP tells them, and it names its headers. */
static const struct text detail_messages[DETAIL_COUNT] = {
	[DETAIL_NONE] = TEXT("Malformed request"),
	[DETAIL_COST] = TEXT("Cost must be a whole number from 1 to 1000000"),
	[DETAIL_CREDENTIALS] = TEXT("Two different API keys were sent"),
	[DETAIL_FRAME] = TEXT("Unknown flag or non-zero reserved byte"),
	[DETAIL_VERSION] = TEXT("Unknown protocol version"),
	[DETAIL_HTTP] = TEXT("Malformed or too large HTTP request"),
	[DETAIL_ROUTE] = TEXT("X-Stile-Route and X-Stile-Scope must be 1 to 63 "
			      "printable ASCII characters, and one of each"),
	[DETAIL_ADDRESS] = TEXT("X-Forwarded-For must end in an IPv4 or IPv6 "
				"address"),
	[DETAIL_HOLD] = TEXT("X-Stile-Hold must be the id of a reservation: 16 "
			     "hexadecimal digits"),
	[DETAIL_ONCE] = TEXT("X-Request-Id must be at most 128 bytes, and only "
			     "one"),
	[DETAIL_PEEK] = TEXT("X-Stile-Peek must be 0 or 1"),
	[DETAIL_EXPLAIN] = TEXT("X-Stile-Explain must be 0 or 1"),
	[DETAIL_RESERVE] = TEXT("X-Stile-Reserve must be 0, 1, or a time from "
				"1ms to 31d, such as 500ms, 30s, 5m, 1h, 7d"),
	[DETAIL_SETTLED] = TEXT("Cost must be a whole number from 0 to "
				"1000000"),
	[DETAIL_COST_BESIDE] = TEXT("X-Stile-Cost is for checks and "
				    "/v1/settle"),
	[DETAIL_PEEK_BESIDE] = TEXT("X-Stile-Peek is for checks"),
	[DETAIL_HOLD_BESIDE] = TEXT("X-Stile-Hold is for /v1/settle, "
				    "/v1/refund and /v1/release"),
};

const struct reason_info *reason_info(uint8_t reason)
{
	return &infos[reason < REASON_COUNT ? reason : REASON_BAD_REQUEST];
}

struct text reason_detail_message(uint8_t detail)
{
	return detail_messages[detail < DETAIL_COUNT ? detail : DETAIL_NONE];
}
