/* SPDX-License-Identifier: MIT */
/*
 * label.h: the labels of goroutines.
 *
 * A set of labels is one block of memory, immutable, shared by all goroutines that inherited it,
 * and counted. No labels is NULL, and costs a spawn one test.
 */
#ifndef BL__CORE_LABEL_H
#define BL__CORE_LABEL_H

#include "core/sched.h"

struct bl__labels {
    const void *owner; /* immutable: the test that its goroutines are of, or NULL */
    uint32_t refs;     /* atomic */
    uint32_t count;    /* immutable: pairs */
    uint32_t bytes;    /* immutable: of text */
    char text[]; /* immutable: key, 0, value, 0 for each pair, in the order they were first set */
};

void bl__labels_free(bl__labels *l);

/* From here on the calling goroutine, and those that it starts, are owner's. Nothing without
 * memory. */
void bl__labels_own(const void *owner);

static inline bl__labels *bl__labels_retain(bl__labels *l)
{
    if (__builtin_expect(l != NULL, 0))
        add_relaxed(&l->refs, 1u);
    return l;
}

static inline void bl__labels_release(bl__labels *l)
{
    /* ORD(labels): whoever frees the block comes after all who have used it (bl__labels_free). */
    if (__builtin_expect(l != NULL, 0) && add_acq_rel(&l->refs, -1u) == 1)
        bl__labels_free(l);
}

#endif
