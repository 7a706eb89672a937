/* SPDX-License-Identifier: MIT */
#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"

/* ThreadSanitizer runs a signal's handler when the thread calls something that it intercepts, which
 * this call is not: so there no sleep is long. */
enum { TSAN_SLEEP = 10000000 /* ns */ };

void bl__futex_wait(uint32_t *word, uint32_t expected, int64_t timeout)
{
    if (BL__TSAN && timeout > TSAN_SLEEP)
        timeout = TSAN_SLEEP;
    struct timespec ts = {timeout / 1000000000, timeout % 1000000000};
    int saved = errno;
    long r = 0;
    if (timeout > 0)
        r = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
                    timeout == INT64_MAX ? NULL : &ts, NULL, 0);
    if (BL__TSAN || (r < 0 && BL__RACE && errno == EINTR)) {
        int cancel; /* or it would end a plain thread that is cancelled (pthread_cancel) */
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
        usleep(0);
        pthread_setcancelstate(cancel, NULL);
    }
    (void)r;
    errno = saved;
}

void bl__futex_wake(uint32_t *word, int n)
{
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
    errno = saved;
}
