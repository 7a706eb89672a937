/* SPDX-License-Identifier: MIT */
/* process.h: running another program, and ending as it did. */
#ifndef BELAY_CMD_PROCESS_H
#define BELAY_CMD_PROCESS_H

#include "util.h"

typedef struct process_end {
    int status; /* exit status, if signal is 0 */
    int signal; /* what killed it, or 0 */
    bool core;  /* the system says that it dumped core */
} process_end;

typedef enum process_kind {
    PROCESS_TOOL,    /* a compiler */
    PROCESS_QUIET,   /* the same, its standard output dropped */
    PROCESS_PROGRAM, /* the user's */
} process_kind;

/* From here on, signals that ask belay to end are noted, and passed on where that is right. */
void process_init(void);

/*
 * Runs command (found as execvp does), waits for it and says how it ended. 0, or the errno value
 * with which it could not be started.
 * A program is passed the signals that belay gets, unless it has them from the terminal already.
 */
int process_run(const words *command, process_kind kind, process_end *end);

/* Hands what the command prints to take, piece by piece; quiet: what it says on stderr is dropped. False: it failed. */
bool process_read(const words *command, bool quiet,
                  void (*take)(void *arg, const char *text, size_t n), void *arg);

/* PATH has a program of that name. */
bool process_found(const char *name);

/* The first line that the command prints, without its end; false: it failed, or printed none that short. */
bool process_line(const words *command, char *line, size_t size);

/* The signal that asked belay to end since it started, or 0; and how often it was asked. */
int process_interrupted(void);
int process_interrupts(void);

/* Ends belay by this signal, without a core file of its own. */
void process_die(int signal) __attribute__((noreturn));

#endif
