/* SPDX-License-Identifier: MIT */
/* Which registers a function still uses after a call, by its code (src/debug/live.c). */
//belay:cflags -I../src -fno-strict-aliasing
#include <belay/test.h>

#include "debug/live.h"

#if defined(__x86_64__)

enum { RBX = 1 << 3, RBP = 1 << 6, R12 = 1 << 12 };

/* Pieces of code that are only looked at. */
#define CODE(name, ...)                                                                            \
    extern const char name[];                                                                      \
    __asm__(".pushsection .rodata\n" #name ":\n .intel_syntax noprefix\n" __VA_ARGS__              \
            "\n .att_syntax\n .popsection")

static uint32_t live(const char *code)
{
    return bl__live_after((uintptr_t)code) & (RBX | RBP | R12);
}

CODE(restored, "add rsp, 24\n pop rbx\n pop rbp\n pop r12\n ret");
CODE(not_restored, "xor eax, eax\n pop rbx\n ret");
CODE(handed_on, "mov rdi, rbx\n call restored\n pop rbx\n pop rbp\n pop r12\n ret");
CODE(in_an_address, "mov rax, [rsp+r12*8+400]\n pop rbx\n pop rbp\n pop r12\n ret");
CODE(in_a_byte, "test bh, 1\n pop rbx\n pop rbp\n pop r12\n ret");
CODE(over_a_call,
     "call restored\n movabs rax, 0x5b5b5b5b5b5b5b5b\n pop rbx\n pop rbp\n pop r12\n ret");
CODE(in_part, "mov bl, 1\n pop rbx\n pop rbp\n pop r12\n ret");
CODE(one_way,
     "test eax, eax\n js 1f\n pop rbx\n pop rbp\n pop r12\n ret\n 1: mov [rbp+8], eax\n ud2");
CODE(around, "1: test eax, eax\n mov edi, 9\n call restored\n jmp 1b");
CODE(around_twice,
     "1: cmp r12d, eax\n call restored\n jne 1b\n xor ebx, ebx\n mov ebp, eax\n jmp 1b");
CODE(by_pointer, "xor ebp, ebp\n jmp rax");
CODE(not_known, "xor ebp, ebp\n cpuid\n pop rbx\n pop r12\n ret");
CODE(exchanged, "xor rbx, rbp\n pop rbx\n pop rbp\n pop r12\n ret");

BL_TEST(what_is_written_first_is_not_in_use)
{
    BL_CHECK_EQ(t, live(restored), 0);
    BL_CHECK_EQ(t, live(over_a_call), 0);
    BL_CHECK_EQ(t, live(around), 0);
}

BL_TEST(what_is_read_first_is_in_use)
{
    BL_CHECK_EQ(t, live(handed_on), RBX);
    BL_CHECK_EQ(t, live(in_an_address), R12);
    BL_CHECK_EQ(t, live(in_a_byte), RBX);
    BL_CHECK_EQ(t, live(one_way), RBP);
    BL_CHECK_EQ(t, live(around_twice), R12);
    BL_CHECK_EQ(t, live(exchanged), RBX | RBP);
}

BL_TEST(what_is_not_known_is_in_use)
{
    BL_CHECK_EQ(t, live(not_restored), RBP | R12);
    BL_CHECK_EQ(t, live(in_part), RBX | RBP | R12);
    BL_CHECK_EQ(t, live(by_pointer), RBX | R12);
    BL_CHECK_EQ(t, live(not_known), RBX | R12);
    BL_CHECK_EQ(t, live(NULL), RBX | RBP | R12);
}

#else

BL_TEST(all_are_in_use) { BL_CHECK_EQ(t, bl__live_after(0), UINT32_MAX); }

#endif
