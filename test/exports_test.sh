#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What libbelay.so exports is what the public headers declare, no less and no more; and libbelay.a
# brings no name into a program that does not begin with bl_. test/exports_test.sh BUILD
#
# builds: dev release
source "$(dirname "$0")/shell.sh"

cd "$root/include" || exit 2
# The names in front of a parenthesis, at the first column's declarations; comments and macros go.
for header in $(find . -name '*.h' | sed 's|^\./||'); do
    echo "#include <$header>"
done | gcc -std=c11 -I. -E -P -x c - | tr '\n;{' ' \n\n' | grep -v 'static inline' |
    grep -oE '\bbl_[a-z0-9_]+ ?\([^*]' | sed 's,[ (].*,,' | sort -u >"$work/declared"

if grep -q "^BELAY_SHARED:BOOL=ON" "$build/CMakeCache.txt"; then # not: the file is there, which may be of an older setting
    nm -D --defined-only "$build/libbelay.so" | awk '{ print $3 }' | grep -v '^$' | sort -u \
        >"$work/exported"
    ok 'libbelay.so exports something' test -s "$work/exported"
    comm -23 "$work/declared" "$work/exported" >"$work/lacking"
    comm -13 "$work/declared" "$work/exported" | grep -v '^__cxa_get_globals' >"$work/excess" # core/m.c
    ok "declared and not exported: $(tr '\n' ' ' <"$work/lacking")" test ! -s "$work/lacking"
    ok "exported and not declared: $(tr '\n' ' ' <"$work/excess")" test ! -s "$work/excess"
fi

ok 'the headers declare something' test -s "$work/declared"
nm --defined-only "$build/libbelay.a" 2>/dev/null |
    awk 'NF == 3 && $2 ~ /[A-Z]/ { print $3 }' | sort -u >"$work/names"
# gcc's name for a way to return (arch/switch.h); libbacktrace's own, when its objects are packed in;
# asan's marks of files it has instrumented; the base of sys/sdt.h's probes, weak and hidden.
# The two by which a C++ runtime finds its exceptions (core/m.c) are weak.
grep -vE '^(bl_|__x86_return_thunk$|__cxa_get_globals(_fast)?$|backtrace_|__odr_asan|__asan_|_\.stapsdt\.base$|__start_|__stop_)' "$work/names" >"$work/strange"
ok "names of libbelay.a: $(tr '\n' ' ' <"$work/strange")" test ! -s "$work/strange"
comm -23 "$work/declared" "$work/names" >"$work/undefined"
ok "declared and not defined: $(tr '\n' ' ' <"$work/undefined")" test ! -s "$work/undefined"
finish
