/* SPDX-License-Identifier: MIT */
/* belay/version.h: the version of the header a program was compiled against. */
#ifndef BELAY_VERSION_H
#define BELAY_VERSION_H

#define BELAY_VERSION_MAJOR 0
#define BELAY_VERSION_MINOR 1
#define BELAY_VERSION_PATCH 0
#define BELAY_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that the program runs with, as "MAJOR.MINOR.PATCH". Any thread. */
const char *bl_version(void);

#ifdef __cplusplus
}
#endif
#endif
