/* SPDX-License-Identifier: MIT */
/* symbol.h: from a program counter to function, file and line. */
#ifndef BL__DEBUG_SYMBOL_H
#define BL__DEBUG_SYMBOL_H

#include <stdbool.h>
#include <stdint.h>

/* One function at a program counter. Where functions were inlined there are several for one. */
typedef struct bl__symbol {
    uintptr_t pc;
    const char *func; /* NULL: unknown */
    const char *file; /* as in the debug information; NULL: none */
    int line;
    const char *module; /* path of the program or shared object; NULL: not in any */
    uintptr_t offset;   /* of pc in func where there is no file, else in module */
} bl__symbol;

/* Calls fn for each function at pc, the innermost first, at least once; fn's true ends it. The
 * strings live until the process ends or unloads the module. pc is that of an instruction: for a
 * return address one less. Any thread, also in a signal handler. */
void bl__symbol_each(uintptr_t pc, bool (*fn)(const bl__symbol *s, void *arg), void *arg);

/* The variable at an address: its name, of length bytes, and how far in it is. NULL: none is
 * known. */
const char *bl__symbol_data(const void *at, int *length, uintptr_t *offset);

/* A function's name, which is not NULL; of the library's by which programs call it, or NULL: it is a
 * part of the next one, in which it is inlined. */
const char *bl__symbol_called(const bl__symbol *s);

/* True: s is a function of this library (never the program's own). */
bool bl__symbol_is_runtime(const bl__symbol *s);

/* True: some function at pc is not this library's. Reads symbols only where bl__own_known says
 * no. */
bool bl__symbol_is_program(uintptr_t pc);

/* The folder of the library's sources that s comes from, always the same string for one folder.
 * NULL: it is the program's, or there is no debug information. */
const char *bl__symbol_layer(const bl__symbol *s);

/* True: the layer is one of those that switch goroutines, and no goroutine's own code. */
bool bl__layer_switches(const char *layer);

/* True: pc is in the C library, and that is not linked into the program; or in what the kernel maps
 * for it, the vDSO. */
bool bl__symbol_is_libc(uintptr_t pc);

/* The memory that debug information is kept in: a few megabytes, which lead to nothing of the
 * program's. */
void bl__symbol_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg);

#endif
