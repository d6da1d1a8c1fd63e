/* SPDX-License-Identifier: MIT */
#include "stilectl_secret.h"

#include "stilectl.h"

#include "base/keytext.h"
#include "wire/check.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

static_assert(SECRET_KEY_MAX == CHECK_KEY_MAX, "as long as codecs accept");
static_assert(SECRET_ID_LEN == ID_LEN, "of a key");

/* A piece of a key this long is no longer a piece of a sentence. */
#define SECRET_PIECE_MIN 16

/* In front of each block: how much to wipe when it comes back. */
struct block {
	alignas(max_align_t) size_t len;
	alignas(max_align_t) unsigned char data[];
};

static char stdout_buf[BUFSIZ];
static volatile sig_atomic_t interrupted;

void *secret_malloc(size_t len)
{
	struct block *b;

	if (len > SIZE_MAX - sizeof(*b))
		return NULL;
	b = malloc(sizeof(*b) + len);
	if (!b)
		return NULL;
	b->len = len;
	/* cppcheck-suppress memleak; block_of() finds it again */
	return b->data;
}

static struct block *block_of(void *p)
{
	return (void *)((unsigned char *)p - offsetof(struct block, data));
}

void secret_free(void *p)
{
	struct block *b;

	if (!p)
		return;
	b = block_of(p);
	explicit_bzero(b->data, b->len);
	free(b);
}

void *secret_realloc(void *p, size_t len)
{
	void *grown = secret_malloc(len);
	size_t old_len;

	if (!p || !grown)
		return grown;
	old_len = block_of(p)->len;
	memcpy(grown, p, old_len < len ? old_len : len);
	secret_free(p);
	return grown;
}

static void *wiped_calloc(size_t count, size_t size)
{
	void *p;

	if (size && count > SIZE_MAX / size)
		return NULL;
	p = secret_malloc(count * size);
	if (p)
		memset(p, 0, count * size);
	return p;
}

static char *wiped_strdup(const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = secret_malloc(len);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

/* A socket that got the number of a closed standard output would be sent what
 * we print; what is opened here for reading refuses it. */
static void hold_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int secret_setup(void)
{
	static const struct rlimit none = {0, 0};

	hold_standard_streams();
	setrlimit(RLIMIT_CORE, &none);
	setvbuf(stdout, stdout_buf, _IOFBF, sizeof(stdout_buf));
	json_set_alloc_funcs(secret_malloc, secret_free);
	if (curl_global_init_mem(CURL_GLOBAL_NOTHING, secret_malloc,
				 secret_free, secret_realloc, wiped_strdup,
				 wiped_calloc) != CURLE_OK) {
		ctl_error("libcurl does not start: out of memory");
		return CTL_TROUBLE;
	}
	return 0;
}

int secret_teardown(void)
{
	int rc = 0;

	curl_global_cleanup();
	if (fflush(stdout) != 0 || ferror(stdout)) {
		ctl_error("cannot write to standard output: %s",
			  strerror(errno));
		rc = CTL_TROUBLE;
	}
	explicit_bzero(stdout_buf, sizeof(stdout_buf));
	return rc;
}

int secret_check_key(const char *key, size_t key_len)
{
	if (key_len == 0) {
		ctl_error("the key is empty");
		return CTL_TROUBLE;
	}
	if (key_len > SECRET_KEY_MAX) {
		ctl_error("the key is longer than %d bytes, which no key is",
			  SECRET_KEY_MAX);
		return CTL_TROUBLE;
	}
	for (size_t i = 0; i < key_len; i++) {
		unsigned char c = (unsigned char)key[i];

		if (c < 0x20 || c == 0x7f) {
			ctl_error("the key holds a line end or another control "
				  "character: give one key, on one line");
			return CTL_TROUBLE;
		}
	}
	return 0;
}

int secret_take_key(char *argument, char key[static SECRET_KEY_MAX + 1])
{
	size_t len = strlen(argument);
	int rc;

	if (strcmp(argument, "-") == 0)
		return secret_read_key(key);
	rc = secret_check_key(argument, len);
	if (rc == 0)
		memcpy(key, argument, len + 1);
	explicit_bzero(argument, len);
	return rc;
}

static size_t base62_len(const char *text)
{
	size_t len = 0;

	while (isalnum((unsigned char)text[len]))
		len++;
	return len;
}

char *secret_find(char *text, const char **ret_id, size_t *ret_len)
{
	for (char *at = text; *at; at += *at != '\0') {
		size_t prefix_len = base62_len(at);
		char *id = at + prefix_len + 1;

		at += prefix_len;
		if (prefix_len == 0 || prefix_len > KEYTEXT_PREFIX_MAX ||
		    *at != '_' || base62_len(id) != ID_LEN || id[ID_LEN] != '_')
			continue;
		*ret_len = base62_len(id + ID_LEN + 1);
		if (*ret_len < SECRET_PIECE_MIN)
			continue;
		*ret_id = id;
		return id + ID_LEN + 1;
	}
	return NULL;
}

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* Until the end of file; of a terminal, until the end of the line. */
static ssize_t read_input(char *buf, size_t buf_len, bool one_line)
{
	size_t len = 0;

	while (len < buf_len && !interrupted) {
		ssize_t n = read(STDIN_FILENO, buf + len, buf_len - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (one_line && buf[len - 1] == '\n')
			break;
	}
	return interrupted ? -EINTR : (ssize_t)len;
}

/* Without echo; an interrupt must not leave the terminal without it. */
static ssize_t read_terminal(char *buf, size_t buf_len)
{
	struct sigaction stop = {.sa_handler = on_interrupt}, old_int, old_term;
	struct termios saved, quiet;
	ssize_t len;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return -errno;
	sigaction(SIGINT, &stop, &old_int);
	sigaction(SIGTERM, &stop, &old_term);
	quiet = saved;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	fputs("key: ", stderr);
	len = read_input(buf, buf_len, true);
	fputc('\n', stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
	sigaction(SIGTERM, &old_term, NULL);
	sigaction(SIGINT, &old_int, NULL);
	return len;
}

int secret_read_key(char key[static SECRET_KEY_MAX + 1])
{
	/* Room for the line end and one byte more, to see what is too long. */
	char buf[SECRET_KEY_MAX + 3] = {0};
	ssize_t len = isatty(STDIN_FILENO)
			      ? read_terminal(buf, sizeof(buf))
			      : read_input(buf, sizeof(buf), false);
	int rc;

	if (len < 0) {
		ctl_error("cannot read the key from standard input: %s",
			  strerror((int)-len));
		explicit_bzero(buf, sizeof(buf));
		return CTL_TROUBLE;
	}
	if (len > 0 && buf[len - 1] == '\n')
		len--;
	if (len > 0 && buf[len - 1] == '\r')
		len--;
	rc = secret_check_key(buf, (size_t)len);
	if (rc == 0) {
		memcpy(key, buf, (size_t)len);
		key[len] = '\0';
	}
	explicit_bzero(buf, sizeof(buf));
	return rc;
}
