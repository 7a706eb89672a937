/* SPDX-License-Identifier: MIT */
/* tracer.h: the registers of threads of this process that sleep in the kernel. */
#ifndef BL__DEBUG_TRACER_H
#define BL__DEBUG_TRACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL__STOPPED_MOST = 64, BL__STOPPED_TEXT = 192, BL__STOPPED_WORDS = 40 };

typedef enum bl__stopped_result {
    BL__STOPPED_MOVED, /* it sleeps elsewhere by now, or has not been come to */
    BL__STOPPED_READ,
    BL__STOPPED_GONE,   /* it has ended */
    BL__STOPPED_REFUSED /* by the system */
} bl__stopped_result;

/* One that sleeps in a call of the system that goes on after a stop as if nothing had been, as far
 * as text says. */
typedef struct bl__stopped {
    int tid;
    int fd; /* of what the kernel says of its call */
    long number;
    size_t length; /* of what that was, … */
    char text[BL__STOPPED_TEXT];
    char now[BL__STOPPED_TEXT]; /* the tracer's */
    bl__stopped_result result;  /* out */
    size_t words;               /* out: so many are in word: all that the kernel has saved of it */
    uint64_t word[BL__STOPPED_WORDS];
} bl__stopped;

/* Stops each of them for a moment, one after the other. None notices. */
void bl__tracer_read(bl__stopped *list, size_t n);

#endif
