/* SPDX-License-Identifier: MIT */
/* build.h: `belay build`, and the building that `belay run` does. */
#ifndef BELAY_CMD_BUILD_H
#define BELAY_CMD_BUILD_H

#include "flags.h"

/* Compiles and links what f names into the program out. 0, or, after it has complained, an exit
 * status. */
int build_program(const flags *f, const char *out);

/* The compiler's command line for it, and the library. 0, or, after it has complained, an exit status. */
int build_command(words *command, const flags *f, const char *out);

/* Runs that. */
int build_run(const words *command, const flags *f);

/* The name of the program that is made of the files of f, without a directory. */
const char *build_name(const flags *f);

/* Where -o puts the program, or NULL without -o. */
const char *build_out(const flags *f);

int build_main(char **argv);
int run_main(char **argv);

#endif
