/* SPDX-License-Identifier: MIT */
/* What a function uses, by its code: registers after a call (src/debug/live.c), words of its frame (src/debug/frame.c). */
//belay:cflags -I../src -fno-strict-aliasing
#include <belay/test.h>

#include "debug/frame.h"
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
    uint32_t handed;
    return bl__live_after((uintptr_t)code, &handed) & (RBX | RBP | R12);
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
CODE(one_way_back, "test eax, eax\n js 1f\n pop r12\n ret\n 1: mov rdi, rbp\n pop r12\n ret");
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

BL_TEST(what_is_never_touched_is_the_callers)
{
    uint32_t handed;
    (void)bl__live_after((uintptr_t)not_restored, &handed);
    BL_CHECK_EQ(t, handed & (RBX | RBP | R12), RBP | R12);
    (void)bl__live_after((uintptr_t)handed_on, &handed);
    BL_CHECK_EQ(t, handed & (RBX | RBP | R12), 0);
    (void)bl__live_after((uintptr_t)one_way_back, &handed);
    BL_CHECK_EQ(t, handed & (RBX | RBP | R12), RBX);
    (void)bl__live_after((uintptr_t)by_pointer, &handed);
    BL_CHECK_EQ(t, handed & (RBX | RBP | R12), 0);
}

BL_TEST(what_is_not_known_is_in_use)
{
    BL_CHECK_EQ(t, live(not_restored), RBP | R12);
    BL_CHECK_EQ(t, live(in_part), RBX | RBP | R12);
    BL_CHECK_EQ(t, live(by_pointer), RBX | R12);
    BL_CHECK_EQ(t, live(not_known), RBX | R12);
    BL_CHECK_EQ(t, live(NULL), RBX | RBP | R12);
}

/* ---- Frames ---- */

/* Bits of the words below the return address that are touched, of a frame of so many words at at;
 * -1: not known. */
static int touched(const char *code, const char *at, size_t words)
{
    bool is[BL__FRAME_WORDS];
    int bits = 0;
    if (!bl__frame_touched((uintptr_t)code, (uintptr_t)at, 8 * words, is))
        return -1;
    for (size_t i = 1; i < words; i++)
        bits |= is[i] ? 1 << i : 0;
    return bits;
}

#define FRAME(name, before, after)                                                                 \
    extern const char name##_at[];                                                                 \
    CODE(name, before "\n call restored\n" #name "_at:\n" after)

FRAME(rounded_up, "push rbx\n sub rsp, 16", "add rsp, 16\n pop rbx\n ret");
FRAME(by_the_stack_pointer, "sub rsp, 40\n mov [rsp+8], edi",
      "mov rax, [rsp+32]\n add rsp, 40\n ret");
FRAME(by_the_frame_pointer, "push rbp\n mov rbp, rsp\n sub rsp, 32\n mov [rbp-20], edi",
      "leave\n ret");
FRAME(on_another_way, "sub rsp, 40\n test edi, edi\n jne 1f",
      "add rsp, 40\n ret\n 1: mov [rsp], edi\n jmp on_another_way_at");
FRAME(of_the_caller, "sub rsp, 24\n mov rax, [rsp+32]", "add rsp, 24\n ret");
FRAME(pushed, "sub rsp, 24\n push 1\n push [rdi]", "add rsp, 40\n ret");
FRAME(address_taken, "sub rsp, 40\n lea rdi, [rsp+8]", "add rsp, 40\n ret");
FRAME(address_moved, "sub rsp, 40\n mov rdi, rsp", "add rsp, 40\n ret");
FRAME(address_taken_later, "push rbp\n mov rbp, rsp\n sub rsp, 32",
      "lea rdi, [rbp-16]\n call restored\n leave\n ret");
FRAME(of_any_size, "push rbp\n mov rbp, rsp\n sub rsp, rdi", "leave\n ret");
FRAME(indexed, "sub rsp, 40\n mov [rsp+rdi*8], rax", "add rsp, 40\n ret");
FRAME(two_heights, "test edi, edi\n jne 1f\n push rbx\n 1: push rbx", "pop rbx\n ret");

BL_TEST(words_that_no_code_mentions_are_not_touched)
{
    BL_CHECK_EQ(t, touched(rounded_up, rounded_up_at, 4), 1 << 1);
    BL_CHECK_EQ(t, touched(by_the_stack_pointer, by_the_stack_pointer_at, 6),
                1 << 4 | 1 << 3 | 1 << 1);
    BL_CHECK_EQ(t, touched(by_the_frame_pointer, by_the_frame_pointer_at, 6),
                1 << 1 | 1 << 2 | 1 << 3 | 1 << 4);
    BL_CHECK_EQ(t, touched(on_another_way, on_another_way_at, 6), 1 << 5 | 1 << 4);
    BL_CHECK_EQ(t, touched(of_the_caller, of_the_caller_at, 4), 0);
    BL_CHECK_EQ(t, touched(pushed, pushed_at, 6), 1 << 4 | 1 << 5);
}

BL_TEST(a_frame_whose_address_is_used_is_not_known)
{
    BL_CHECK_EQ(t, touched(address_taken, address_taken_at, 6), -1);
    BL_CHECK_EQ(t, touched(address_moved, address_moved_at, 6), -1);
    BL_CHECK_EQ(t, touched(address_taken_later, address_taken_later_at, 6), -1);
    BL_CHECK_EQ(t, touched(of_any_size, of_any_size_at, 6), -1);
    BL_CHECK_EQ(t, touched(indexed, indexed_at, 6), -1);
    BL_CHECK_EQ(t, touched(two_heights, two_heights_at, 2), -1);
    BL_CHECK_EQ(t, touched(rounded_up, rounded_up_at, 5), -1);
    BL_CHECK_EQ(t, touched(not_known, not_known + 1, 1), -1);
    BL_CHECK_EQ(t, touched(by_pointer, by_pointer + 1, 1), -1);
}

#else

BL_TEST(all_are_in_use)
{
    uint32_t handed;
    BL_CHECK_EQ(t, bl__live_after(0, &handed), UINT32_MAX);
    BL_CHECK_EQ(t, handed, 0);
}

BL_TEST(no_frame_is_known)
{
    bool touched[BL__FRAME_WORDS];
    BL_CHECK(t, !bl__frame_touched(0, 0, 16, touched));
}

#endif
