/* SPDX-License-Identifier: MIT */
/* own.h: which code is the library's own. */
#ifndef BL__DEBUG_OWN_H
#define BL__DEBUG_OWN_H

#include <stdbool.h>
#include <stdint.h>

/* False: it is not known where the library's code lies. */
bool bl__own_known(void);

/* True: the instruction at pc is the library's: some hundred comparisons, that read no symbols. Of
 * the functions that were inlined there all are, as those of belay.h are the program's where that
 * has called them. Any thread, also in a signal handler. */
bool bl__own_code(uintptr_t pc);

#endif
