/* SPDX-License-Identifier: MIT */
/*
 * probe.h: USDT probes: places that bpftrace, perf, SystemTap and gdb find by name, where
 * <sys/sdt.h> was there to build with (Debian: systemtap-sdt-dev). A probe is a nop and a note in
 * the ELF file that says where its arguments are, so it costs nothing as long as those are at hand:
 * fields of what is in a register anyway, no sums and no calls. ARCHITECTURE.md has the list.
 */
#ifndef BL__ARCH_PROBE_H
#define BL__ARCH_PROBE_H

#ifdef __has_include
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define BL__PROBE2(name, a, b) DTRACE_PROBE2(belay, name, a, b)
#define BL__PROBE3(name, a, b, c) DTRACE_PROBE3(belay, name, a, b, c)
#endif
#endif

#ifndef BL__PROBE2
#define BL__PROBE2(name, a, b) ((void)(a), (void)(b))
#define BL__PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
