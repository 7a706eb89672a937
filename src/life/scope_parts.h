/* SPDX-License-Identifier: MIT */
/*
 * scope_parts.h: what the files of a scope share among themselves.
 */
#ifndef BL__LIFE_SCOPE_PARTS_H
#define BL__LIFE_SCOPE_PARTS_H

#include "life/scope.h"

/* scope_join.c. By the opener: returns when nobody is left; reports once who is after the grace. */
void bl__scope_join(bl_scope *s, bl__g *g);
/* The same for at most the grace: how many are left. */
size_t bl__root_join(bl_scope *s, bl__g *g);
size_t bl__scope_join_bounded(bl_scope *s, bl__g *g);
/* How long what is in s may take to stop, once it was told to, before it is reported. */
bl_dur bl__scope_grace(const bl_scope *s);
/* g wants to join s and has not opened it: fatal, but for the main goroutine and the root scope. */
void bl__scope_adopt(bl_scope *s, bl__g *g);

/* scope.c. What s, whose context is in this state, says to who wants to start something. */
int bl__scope_refused(const bl_scope *s, int state);

/* scope_room.c. Only for a scope with a limit: waits for room and takes it: 0, or why not; takes it
 * whether or not there is any; gives it to the next. */
int bl__room_enter(bl_scope *s);
void bl__room_force(bl_scope *s);
void bl__room_leave(bl_scope *s);

/* timer.c. Stops the pending bl_after_func of s. */
void bl__timers_close(bl_scope *s);

#endif
