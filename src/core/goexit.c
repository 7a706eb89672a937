/* SPDX-License-Identifier: MIT */
/*
 * goexit.c: the end of a goroutine from within the functions that it is in, as runtime.Goexit in
 * Go.
 *
 * The stack is unwound as pthread_exit does it (Itanium C++ ABI: Exception Handling, section 1.6.2,
 * forced unwinding), so that BL_SCOPE, BL_LOCK and every __attribute__((cleanup)) of frames that
 * were compiled with -fexceptions do their work. The unwinder keeps its state in the exception
 * object alone, so a cleanup may wait, and go on on another thread.
 */
#include <stdlib.h>
#include <unwind.h>

#include "arch/sanitize.h"
#include "core/proc.h"

static void exit_object_free(_Unwind_Reason_Code code, struct _Unwind_Exception *e)
{
    (void)code;
    bl__free(e);
}

/* Asked before each frame is left: nothing more once the goroutine's own functions are. */
static _Unwind_Reason_Code exit_step(int version, _Unwind_Action actions,
                                     _Unwind_Exception_Class class, struct _Unwind_Exception *e,
                                     struct _Unwind_Context *context, void *arg)
{
    (void)version;
    (void)class;
    (void)arg;
    bool base = _Unwind_GetRegionStart(context) == (uintptr_t)bl__goroutine_main;
    if (!base && (actions & _UA_END_OF_STACK) == 0)
        return _URC_NO_REASON;
    bl__free(e);
    bl__goroutine_end();
}

void bl__goroutine_exit(void)
{
    bl__g *g = bl__self();
    if (g->id <= 1)
        bl__fatal(
            "belay: %s cannot be ended from within: only a goroutine that bl_go has started can",
            g->id == 1 ? "the main goroutine" : "a plain thread");
    /* Not on the stack, which the cleanups run on. Without memory they are left out. */
    struct _Unwind_Exception *e = bl__zalloc(sizeof *e);
    if (e != NULL) {
        e->exception_cleanup = exit_object_free;
        (void)_Unwind_ForcedUnwind(e, exit_step, NULL);
        bl__free(e); /* a frame without unwinding information stood in the way */
    }
    bl__goroutine_end();
}
