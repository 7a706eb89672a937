/* SPDX-License-Identifier: MIT */
/* live.h: which of the registers that a call keeps a function still uses after the call. */
#ifndef BL__DEBUG_LIVE_H
#define BL__DEBUG_LIVE_H

#include <stdbool.h>
#include <stdint.h>

/* Bits of the registers, by their numbers in debug information, whose values may be used by the
 * function from pc on. Those that are left out are written to before anybody reads them, on every
 * way that leads on from pc. *handed: those among them that the function never touches and hands back
 * to its caller. */
uint32_t bl__live_after(uintptr_t pc, uint32_t *handed);

/* Whether the function may have to do with registers of vectors from pc on. */
bool bl__live_vectors(uintptr_t pc);

#endif
