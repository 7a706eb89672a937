/* SPDX-License-Identifier: MIT */
/* err.c: names and texts of results, from the one list in belay.h; and the library's version. */
#include <belay.h>

const char *bl_err_name(int err)
{
    if (err >= 0)
        return "BL_OK";
    switch (err) {
#define ERROR_NAME(name, value, text)                                                              \
    case value: return "BL_" #name;
        BL__ERRORS(ERROR_NAME)
#undef ERROR_NAME
    default: return "BL_E?";
    }
}

const char *bl_strerror(int err)
{
    if (err >= 0)
        return "success";
    switch (err) {
#define ERROR_TEXT(name, value, text)                                                              \
    case value: return text;
        BL__ERRORS(ERROR_TEXT)
#undef ERROR_TEXT
    default: return "unknown error";
    }
}

const char *bl_version(void) { return BELAY_VERSION; }
