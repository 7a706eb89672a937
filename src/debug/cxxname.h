/* SPDX-License-Identifier: MIT */
/* cxxname.h: what a function of C++ is called in its source. */
#ifndef BL__DEBUG_CXXNAME_H
#define BL__DEBUG_CXXNAME_H

#include <stddef.h>

/* The name with its namespaces and classes, and without what follows, of a name as linkers know it
 * (Itanium C++ ABI): "Registry::find". In to, of room bytes; or name itself, if it is none of
 * those or is made of other parts. Template arguments are "<...>". */
const char *bl__cxx_name(const char *name, char *to, size_t room);

#endif
