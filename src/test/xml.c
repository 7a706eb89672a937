/* SPDX-License-Identifier: MIT */
/* xml.c: see xml.h. Of the library it uses nothing, since the command has none. */
#include "test/xml.h"

#include <stdbool.h>
#include <stdint.h>

/* The length of the character that the n bytes at s begin with, if that is UTF-8 for one that XML
 * can have; else 0. */
static size_t char_length(const unsigned char *s, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (len <= 1)
        return s[0] >= ' ' || s[0] == '\t' || s[0] == '\n' ? len : 0;
    uint32_t v = s[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if (i >= n || (s[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s[i] & 0x3f);
    }
    bool surrogate = v >= 0xd800 && v <= 0xdfff;
    return v < least[len] || v > 0x10ffff || surrogate || v == 0xfffe || v == 0xffff ? 0 : len;
}

const char *bl__xml_char(const char *s, size_t n, size_t *len)
{
    size_t of = char_length((const unsigned char *)s, n);
    *len = of > 0 ? of : 1;
    switch (*s) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    default: return of > 0 && *s != 127 ? NULL : "?";
    }
}
