/* SPDX-License-Identifier: MIT */
/*
 * peek.c: process_vm_readv on the own process; where that call is forbidden (some sandboxes),
 * through a pipe, whose write fails with EFAULT instead of crashing.
 */
#include "debug/peek.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PART = 4096 };

/* In pieces that an empty pipe surely takes. */
static bool pipe_copy(char *to, const char *from, size_t n)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    bool ok = true;
    while (ok && n > 0) {
        size_t part = n < PART ? n : PART;
        ok =
            write(ends[1], from, part) == (ssize_t)part && read(ends[0], to, part) == (ssize_t)part;
        to += part;
        from += part;
        n -= part;
    }
    close(ends[0]);
    close(ends[1]);
    return ok;
}

bool bl__peek(void *to, const void *from, size_t n)
{
    if (from == NULL)
        return false;
    int saved = errno;
    struct iovec here = {.iov_base = to, .iov_len = n};
    struct iovec there = {.iov_base = (void *)(uintptr_t)from, .iov_len = n};
    ssize_t got = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    bool ok = got == (ssize_t)n;
    if (got < 0 && errno != EFAULT)
        ok = pipe_copy(to, from, n);
    errno = saved;
    return ok;
}

bool bl__peek_near(bl__peek_pages *pages, void *to, const void *from, size_t n)
{
    uintptr_t at = (uintptr_t)from;
    if (at < pages->low || at > pages->high || pages->high - at < n) {
        pages->low = at / PART * PART;
        pages->high = (at + n + PART - 1) / PART * PART;
        if (!bl__peek(pages->copy, (const void *)pages->low, pages->high - pages->low)) {
            pages->low = pages->high = 0;
            return false;
        }
    }
    memcpy(to, pages->copy + (at - pages->low), n);
    return true;
}

bool bl__peek_text(char *to, size_t room, const char *from)
{
    if (from == NULL)
        return false;
    for (size_t n = 0; n + 1 < room;) { /* what follows its end may be in no page */
        size_t part = PART - (uintptr_t)(from + n) % PART;
        if (part > room - 1 - n)
            part = room - 1 - n;
        if (!bl__peek(to + n, from + n, part))
            return false;
        if (memchr(to + n, 0, part) != NULL)
            return true;
        n += part;
    }
    to[room - 1] = 0;
    return true;
}
