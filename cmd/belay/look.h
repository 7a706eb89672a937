/* SPDX-License-Identifier: MIT */
/* look.h: the commands that look into a program. Each takes what is behind its name, and returns
 * belay's exit status. */
#ifndef BELAY_CMD_LOOK_H
#define BELAY_CMD_LOOK_H

int dump_main(char **argv);
int top_main(char **argv);
int profile_main(char **argv);
int trace_main(char **argv);

#endif
