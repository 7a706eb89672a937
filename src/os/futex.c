/* SPDX-License-Identifier: MIT */
#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"

/* ThreadSanitizer runs a signal's handler when the thread calls something that it intercepts, which
 * this call is not: so in the build of the library with it no sleep is long. */
enum { TSAN_SLEEP = 10000000 /* ns */ };

void bl__handlers_run(void)
{
#if BL__RACE
    static sem_t none; /* a call that is intercepted, and neither writes nor orders anything */
    (void)sem_trywait(&none);
#endif
}

void bl__futex_wait(uint32_t *word, uint32_t expected, int64_t timeout)
{
    if (BL__TSAN && timeout > TSAN_SLEEP)
        timeout = TSAN_SLEEP;
    struct timespec ts = {timeout / 1000000000, timeout % 1000000000};
    /* One with a timeout ends when there is a signal, also of a handler with SA_RESTART. */
    bool ends = BL__RACE || timeout != INT64_MAX;
    int saved = errno;
    if (timeout > 0)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, ends ? &ts : NULL, NULL, 0);
    if (BL__TSAN) {
        int cancel; /* or it would end a plain thread that is cancelled (pthread_cancel) */
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
        usleep(0);
        pthread_setcancelstate(cancel, NULL);
    }
    bl__handlers_run();
    errno = saved;
}

void bl__futex_wake(uint32_t *word, int n)
{
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
    errno = saved;
}
