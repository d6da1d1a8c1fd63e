/* SPDX-License-Identifier: MIT */
#include "wiped.h"

#include <malloc.h>
#include <string.h>

static const char *watched;
static size_t leaks, frees;

void __real_free(void *p);
void __wrap_free(void *p);

void wiped_watch(const char *secret)
{
	watched = secret;
	leaks = 0;
	frees = 0;
}

size_t wiped_leaks(void)
{
	return leaks;
}

size_t wiped_frees(void)
{
	return frees;
}

void __wrap_free(void *p)
{
	if (p && watched) {
		frees++;
		if (memmem(p, malloc_usable_size(p), watched, strlen(watched)))
			leaks++;
	}
	__real_free(p);
}
