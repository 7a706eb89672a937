/* SPDX-License-Identifier: MIT */
/* err.c: names and texts of results, from the one list in belay.h; where errno and h_errno are; the
 * library's version. */
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

/* With the barrier, or optimisation over files would see that it is always the same, as they call
 * __errno_location, and keep it over a switch. */
__attribute__((noinline)) int *bl__errno(void)
{
    __asm__ volatile("" ::: "memory");
    return __errno_location();
}

/* As netdb.h declares it where belay.h's macro is not there; in brackets it is not that.
 * NOLINTNEXTLINE(clang-diagnostic-reserved-identifier): libc's */
extern int *(__h_errno_location)(void);

__attribute__((noinline)) int *bl__h_errno_(void)
{
    __asm__ volatile("" ::: "memory");
    return (__h_errno_location)();
}

const char *bl_version(void) { return BELAY_VERSION; }
