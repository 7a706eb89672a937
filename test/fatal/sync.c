/* SPDX-License-Identifier: MIT */
/* Misuse of mutexes, condition variables, wait groups, semaphores. */
#include "cases.h"

static bl_mutex mutex;
static bl_rwmutex rwmutex;
static bl_cond cond;
static bl_waitgroup group;
static bl_once once;
static bl_sem sem;

static int mutex_unlock(void *arg)
{
    (void)arg;
    bl_mutex_unlock(&mutex);
    return 0;
}

static int mutex_relock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    bl_mutex_lock(&mutex);
    return 0;
}

static int mutex_stranger(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_mutex_lock(&mutex);
    bl_go(s, mutex_unlock, NULL);
    return bl_scope_wait(s);
}

static int mutex_copied(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    bl_mutex_unlock(&mutex);
    bl_mutex copy = mutex;
    bl_mutex_lock(&copy);
    return 0;
}

static int mutex_keeper(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    return 0;
}

static int mutex_orphan(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, mutex_keeper, NULL);
    (void)bl_scope_wait(s);
    bl_mutex_lock(&mutex);
    return 0;
}

static int rwmutex_unlock(void *arg)
{
    (void)arg;
    bl_rwmutex_unlock(&rwmutex);
    return 0;
}

static int rwmutex_runlock(void *arg)
{
    (void)arg;
    bl_rwmutex_runlock(&rwmutex);
    return 0;
}

static int rwmutex_relock(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&rwmutex);
    bl_rwmutex_lock(&rwmutex);
    return 0;
}

static int rwmutex_lock_rlock(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&rwmutex);
    bl_rwmutex_rlock(&rwmutex);
    return 0;
}

static int cond_copied(void *arg)
{
    (void)arg;
    bl_cond_signal(&cond);
    bl_cond copy = cond;
    bl_cond_signal(&copy);
    return 0;
}

static int cond_unlocked(void *arg)
{
    (void)arg;
    return KEEP(bl_cond_wait(&cond, &mutex));
}

static int wait_with_own(void *arg)
{
    bl_mutex own = {0};
    (void)arg;
    bl_mutex_lock(&own);
    return KEEP(bl_cond_wait(&cond, &own));
}

static int cond_two_mutexes(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, wait_with_own, NULL);
    bl_yield();
    bl_mutex_lock(&mutex);
    return KEEP(bl_cond_wait(&cond, &mutex));
}

static int waitgroup_negative(void *arg)
{
    (void)arg;
    bl_waitgroup_add(&group, 1);
    bl_waitgroup_done(&group);
    bl_waitgroup_done(&group);
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* Also one that has run already. */
static int once_copied(void *arg)
{
    (void)arg;
    bl_once_do(&once, nothing, NULL);
    bl_once copy = once;
    bl_once_do(&copy, nothing, NULL);
    return 0;
}

static int once_again(void *arg)
{
    bl_once_do(&once, once_again, arg);
    return 0;
}

static int sem_negative(void *arg)
{
    (void)arg;
    bl_sem_release(&sem, -1);
    return 0;
}

static int write_lock(void *arg)
{
    bl_rwmutex_lock(&rwmutex);
    bl_rwmutex_unlock(&rwmutex);
    return arg != NULL;
}

static int rwmutex_upgrade(void *arg)
{
    (void)arg;
    bl_rwmutex other = {0};
    bl_rwmutex_rlock(&other);
    bl_rwmutex_rlock(&rwmutex);
    bl_rwmutex_runlock(&other);
    bl_rwmutex_lock(&rwmutex);
    return 0;
}

static int rwmutex_rlock_twice(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_rwmutex_rlock(&rwmutex);
    bl_go(s, write_lock, NULL);
    bl_yield(); /* it waits */
    bl_rwmutex_rlock(&rwmutex);
    return 0;
}

static const fatal_case cases[] = {
    {"mutex_unlock", mutex_unlock},
    {"mutex_relock", mutex_relock},
    {"mutex_stranger", mutex_stranger},
    {"mutex_copied", mutex_copied},
    {"mutex_orphan", mutex_orphan},
    {"rwmutex_unlock", rwmutex_unlock},
    {"rwmutex_runlock", rwmutex_runlock},
    {"rwmutex_relock", rwmutex_relock},
    {"rwmutex_lock_rlock", rwmutex_lock_rlock},
    {"cond_copied", cond_copied},
    {"cond_unlocked", cond_unlocked},
    {"cond_two_mutexes", cond_two_mutexes},
    {"waitgroup_negative", waitgroup_negative},
    {"once_copied", once_copied},
    {"once_again", once_again},
    {"sem_negative", sem_negative},
    {"rwmutex_upgrade", rwmutex_upgrade},
    {"rwmutex_rlock_twice", rwmutex_rlock_twice},
};

CASES_MAIN(cases)
