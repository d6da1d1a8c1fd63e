/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_LISTEN_H
#define STILE_CONTROL_LISTEN_H

/*
 * control/listen - the listening Unix sockets, and word to systemd.
 *
 * Threads    the control thread.
 */
#include <stddef.h>
#include <stdint.h>

/*
 * Binds and listens, with `mode` from the first moment on. A socket file whose
 * process is gone is removed; one that is in use is left alone (-EADDRINUSE,
 * after two seconds).
 * Returns the descriptor, or negative errno and a sentence in `err`.
 */
int listen_open(const char *path, uint32_t mode, char *err, size_t err_len);

/* Closes, and removes the file. */
void listen_close(int fd, const char *path);

/* sd_notify(3): "READY=1" and so on. Without $NOTIFY_SOCKET it does nothing;
 * what goes wrong is not worth stopping for. */
void notify_systemd(const char *state);

#endif
