/* SPDX-License-Identifier: MIT */
/*
 * own.h: where the library's code lies, for reports, which leave it out (debug/own.h).
 *
 * Each file of the library says of each of its sections of code where that begins and ends, in a
 * section of its own, the table. The compiler need not be asked for anything, and the code stays
 * where debuggers and profilers look for it. A section's name is its beginning; the last of its
 * subsections is put at its end by the assembler. With the flag o an entry goes with the code, if
 * the linker drops that. The build includes this in every file (cmake/library.cmake); all.c does it
 * itself, and the assembly has an entry of its own.
 *
 * With -ffunction-sections the code is in other sections, and with -flto these are also the
 * program's: debug/own.c finds out.
 */
#ifndef BL__ARCH_OWN_H
#define BL__ARCH_OWN_H

/* Distances from where they stand, which need no relocation when the program is loaded. */
#define BL__OWN_CODE(section)                                                                      \
    ".pushsection " section ",\"ax\",%progbits\n.subsection 8191\n7001:\n.popsection\n"            \
    ".pushsection bl__own,\"ao\",%progbits," section "\n.balign 4\n"                               \
    ".long " section " - .\n.long 7001b - .\n.popsection\n"

/* Those that gcc puts functions into; clang's names end with a point. */
__asm__(BL__OWN_CODE(".text") BL__OWN_CODE(".text.unlikely") BL__OWN_CODE(".text.hot")
            BL__OWN_CODE(".text.startup") BL__OWN_CODE(".text.unlikely.")
                BL__OWN_CODE(".text.hot."));
#endif
