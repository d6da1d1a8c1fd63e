/* SPDX-License-Identifier: MIT */
#ifndef STILE_TOOLS_STILECTL_SECRET_H
#define STILE_TOOLS_STILECTL_SECRET_H

/*
 * stilectl_secret - keys leave no copy behind.
 *
 * Does       gives libcurl and jansson an allocator that wipes what it takes
 *            back, standard output a buffer that is wiped at the end,
 *            switches core dumps off, and finds keys where none belong.
 * Not done   a process killed on the way leaves its memory to the kernel,
 *            which clears pages before it hands them on.
 */
#include <stddef.h>

#define SECRET_KEY_MAX 255 /* bytes of a key that stile accepts */

/* Before any other call of libcurl or jansson. Returns 0 or CTL_TROUBLE. */
int secret_setup(void);
/* Flushes standard output; returns 0, or CTL_TROUBLE when that failed. */
int secret_teardown(void);

void *secret_malloc(size_t len);
void *secret_realloc(void *p, size_t len);
void secret_free(void *p);

/* Reads one key from standard input into key[], terminated, without the line
 * end. A terminal is asked without echo. Returns 0 or CTL_TROUBLE (told). */
int secret_read_key(char key[static SECRET_KEY_MAX + 1]);

/* Can this text be a key: 1 to SECRET_KEY_MAX bytes and none of them a
 * control character? Returns 0 or CTL_TROUBLE (told). */
int secret_check_key(const char *key, size_t key_len);

/* The key that an argument is, or the one on standard input when that is "-".
 * The argument is wiped: the list of processes shows what is in it now. Returns
 * 0 or CTL_TROUBLE (told). */
int secret_take_key(char *argument, char key[static SECRET_KEY_MAX + 1]);

/* The first whole key of stile's shape in `text`, or NULL. Its public id is
 * the SECRET_ID_LEN bytes from *ret_id on, what is secret the *ret_len bytes
 * from the returned place on. */
#define SECRET_ID_LEN 8
char *secret_find(char *text, const char **ret_id, size_t *ret_len);

#endif
