/* SPDX-License-Identifier: MIT */
/* frame.h: which words of its frame a function never touches. */
#ifndef BL__DEBUG_FRAME_H
#define BL__DEBUG_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL__FRAME_WORDS = 64 };

/* Of the function whose code begins at start: touched[i] is set if it may read or write the word i
 * words below its return address, or somebody else may. bytes: of its frame at pc, with the return
 * address. False: that is not known. */
bool bl__frame_touched(uintptr_t start, uintptr_t pc, size_t bytes, bool touched[BL__FRAME_WORDS]);

#endif
