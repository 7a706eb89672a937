/* SPDX-License-Identifier: MIT */
/* What a program must not drop: every call that waits, and its try_ and _until forms, a line each.
 * Not run: scripts/lint counts the lines that compilers warn of. */
#include <belay.h>

int (*const job)(void *) = NULL;

void drop(bl_chan *c, bl_case *cases, bl_mutex *m, bl_rwmutex *rw, bl_cond *cond, bl_waitgroup *wg,
          bl_sem *sem, bl_pool *p, bl_pipe *pipe, void *buf);
void drop(bl_chan *c, bl_case *cases, bl_mutex *m, bl_rwmutex *rw, bl_cond *cond, bl_waitgroup *wg,
          bl_sem *sem, bl_pool *p, bl_pipe *pipe, void *buf)
{
    bl_sleep(1);
    bl_chan_send(c, NULL);
    bl_chan_recv(c, NULL);
    bl_chan_try_send(c, NULL);
    bl_chan_try_recv(c, NULL);
    bl_chan_send_until(c, NULL, 1);
    bl_chan_recv_until(c, NULL, 1);
    bl_select(cases, 1);
    bl_try_select(cases, 1);
    bl_select_until(cases, 1, 1);
    BL_SELECT(BL_RECV(c, NULL));
    bl_mutex_try_lock(m);
    bl_mutex_lock_until(m, 1);
    bl_rwmutex_try_lock(rw);
    bl_rwmutex_lock_until(rw, 1);
    bl_rwmutex_try_rlock(rw);
    bl_rwmutex_rlock_until(rw, 1);
    bl_cond_wait(cond, m);
    bl_cond_wait_until(cond, m, 1);
    bl_waitgroup_wait(wg);
    bl_waitgroup_wait_until(wg, 1);
    bl_sem_acquire(sem, 1);
    bl_sem_try_acquire(sem, 1);
    bl_sem_acquire_until(sem, 1, 1);
    bl_pool_submit(p, job, NULL);
    bl_pool_try_submit(p, job, NULL);
    bl_pool_submit_until(p, job, NULL, 1);
    bl_blocking(job, NULL);
    bl_pipe_read(pipe, buf, 1);
    bl_pipe_read_until(pipe, buf, 1, 1);
    bl_pipe_write(pipe, buf, 1);
    bl_pipe_write_until(pipe, buf, 1, 1);
    bl_fd_wait(0, BL_READABLE, 1);
    bl_read(0, buf, 1);
    bl_read_until(0, buf, 1, 1);
    bl_write(0, buf, 1);
    bl_write_until(0, buf, 1, 1);
    bl_writev(0, NULL, 1);
    bl_writev_until(0, NULL, 1, 1);
    bl_recvfrom(0, buf, 1, 0, NULL, NULL);
    bl_recvfrom_until(0, buf, 1, 0, NULL, NULL, 1);
    bl_sendto(0, buf, 1, 0, NULL, 0);
    bl_sendto_until(0, buf, 1, 0, NULL, 0, 1);
    bl_accept(0, NULL, NULL);
    bl_accept_until(0, NULL, NULL, 1);
    bl_connect(0, NULL, 0);
    bl_connect_until(0, NULL, 0, 1);
}
