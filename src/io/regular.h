/* SPDX-License-Identifier: MIT */
/* regular.h: calls on regular files that are not to keep a processor waiting (BELAY_IO). */
#ifndef BL__IO_REGULAR_H
#define BL__IO_REGULAR_H

#include <sys/types.h>
#include <sys/uio.h>

#include "io/fd.h"

enum { BL__FETCH_MOST = 1 << 20 }; /* bytes that are brought in at once */

/* Is g's call on a regular file to be made by the two below? */
bool bl__regular_waits(const bl__g *g);

/* As readv and writev of regular file fd, f's, in use `use`; every call of one descriptor has its
 * turn. */
ssize_t bl__regular_read(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt,
                         bl_time deadline);
ssize_t bl__regular_write(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt,
                          bl_time deadline);

/* Parks until n bytes (at most BL__FETCH_MOST) at that place of f's file have been read into
 * memory, or could not be. BL_ENOSYS: there is no io_uring. Else as bl__fd_park. */
int bl__ring_fetch(bl__fd *f, uint32_t use, off_t at, size_t n, bl_time deadline);

#endif
