/* SPDX-License-Identifier: MIT */
/* xml.h: text as XML has it: for the tests' results, and for the command. */
#ifndef BL__TEST_XML_H
#define BL__TEST_XML_H

#include <stddef.h>

/* What XML has for the character that the n bytes at s begin with, which takes *len of them: NULL if
 * it is the same; "?" of what XML cannot have, and of a byte that is no UTF-8. */
const char *bl__xml_char(const char *s, size_t n, size_t *len);

#endif
