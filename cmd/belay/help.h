/* SPDX-License-Identifier: MIT */
/* help.h: what the command says about itself. */
#ifndef BELAY_CMD_HELP_H
#define BELAY_CMD_HELP_H

#include <stdbool.h>
#include <stdio.h>

/* The overview. */
void help_all(FILE *to);

/* The page of one command or topic, on standard output. 0, or EXIT_USAGE if there is none. */
int help_command(const char *name);

/* The word asks for it: -h or -help, with one dash or two. */
bool help_asked(const char *word);

/* The commands' names, NULL behind the last. */
extern const char *const *const help_names;

#endif
