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

static void scopes_leave(const bl__g *g, const bl_scope *outer)
{
    while (g->inner != outer && g->inner != g->scope)
        (void)bl_scope_close(g->inner);
}

/* What the library's functions have to do in frames that have been left, or are given up: those
 * below at. One that a C++ exception has left is still noted, and may have been overwritten since;
 * what was noted before it is lost with it. */
static void within_leave(const char *at)
{
    bl__g *g = bl__self();
    const bl__within *w;
    while ((w = g->within) != NULL && w->id == g->id && w->frame < at) {
        g->within = w->outer;
        scopes_leave(g, w->inner);
        w->exit(w->arg);
    }
}

/* Asked before each frame is left: nothing more once the goroutine's own functions are. */
static _Unwind_Reason_Code exit_step(int version, _Unwind_Action actions,
                                     _Unwind_Exception_Class class, struct _Unwind_Exception *e,
                                     struct _Unwind_Context *context, void *arg)
{
    (void)version;
    (void)class;
    (void)arg;
    within_leave((const char *)_Unwind_GetCFA(context)); /* where this frame begins */
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
    /* Not on the stack, which the cleanups run on; nor is anything else there whose address is
     * taken, or AddressSanitizer would find what it keeps beside that in their way. Without memory
     * the cleanups are left out. */
    struct _Unwind_Exception *e = bl__zalloc(sizeof *e);
    if (e != NULL) {
        e->exception_cleanup = exit_object_free;
        (void)_Unwind_ForcedUnwind(e, exit_step, NULL);
        bl__free(e); /* a frame without unwinding information stood in the way */
    }
    within_leave((const char *)UINTPTR_MAX);
    bl__goroutine_end();
}
