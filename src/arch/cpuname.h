/* SPDX-License-Identifier: MIT */
/* cpuname.h: what Go calls this architecture, and what the processor calls itself. */
#ifndef BL__ARCH_CPUNAME_H
#define BL__ARCH_CPUNAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { BL__CPU_NAME = 3 * 16 + 1 };

#if defined(__x86_64__)
#include <cpuid.h>

#define BL__GOARCH "amd64"

/* Without the spaces that some have around it. False: it has none. */
static inline bool bl__cpu_name(char name[BL__CPU_NAME])
{
    char text[BL__CPU_NAME] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t r[4];
        if (__get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3]) == 0)
            return false;
        memcpy(text + i * sizeof r, r, sizeof r);
    }
    size_t from = strspn(text, " "), end = strlen(text);
    while (end > from && text[end - 1] == ' ')
        end--;
    memcpy(name, text + from, end - from);
    name[end - from] = '\0';
    return end > from;
}
#else
#define BL__GOARCH "arm64"

static inline bool bl__cpu_name(char name[BL__CPU_NAME]) { return (void)name, false; }
#endif

#endif
