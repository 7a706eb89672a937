/* SPDX-License-Identifier: MIT */
/* source.h: one name for each source file in reports. */
#ifndef BL__DEBUG_SOURCE_H
#define BL__DEBUG_SOURCE_H

/* The whole path of the file, as the debug information has it, if that is known; else file. Where
 * it is neither, the text is good until some more have been asked for: for the line that is being
 * printed. Any thread, also in a signal handler. */
const char *bl__source(const char *file);

/* A file of the program's, as the debug information has it. */
void bl__source_met(const char *file);

/* A function of the program's. */
void bl__source_program(int (*fn)(void *arg));

#endif
