#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Reports leave the library's frames out where it has no debug information either. test/own_test.sh BUILD
#
# builds: dev release
source "$(dirname "$0")/shell.sh"
build_settings

# What a dump has of each goroutine's stack, and no frame of another's.
printf '%s\n' main_goroutine wait_for_value value_waiter door_waiter sleeper >"$work/wanted"
frames() { # NAME PROGRAM
    run "$2"; expect "$1" 0
    grep -vE '^(	|$|goroutine |created by |waits on |holds )' "$work/out" >"$work/frames"
    ok "$1: $(tr '\n' ' ' <"$work/frames")" cmp "$work/frames" "$work/wanted"
}

objdump -h "$build/libbelay.a" 2>/dev/null |
    awk '/file format/ { own = 0 } $2 == "bl__own" && !own++ { n++ } END { print n }' >"$work/tables"
ok 'every file of the library says where its code lies' test "$(ar t "$build/libbelay.a" | grep -cE '\.[cS]\.o$')" -eq \
    "$(cat "$work/tables")"
cp "$build/libbelay.a" "$work/bare.a"
ok 'strip' strip -g "$work/bare.a"
for library in "$build/libbelay.a" "$work/bare.a"; do
    ok "own.c compiles with $(basename "$library")" "$compiler" -O1 -I"$root/include" \
        "$root/test/tools/own.c" "$library" -lpthread -o "$work/own"
    frames "$(basename "$library")" "$work/own"
done
if [ -e "$build/libbelay.so" ]; then
    ok 'own.c compiles with libbelay.so' "$compiler" -O1 -I"$root/include" "$root/test/tools/own.c" \
        "$build/libbelay.so" -Wl,-rpath,"$build" -o "$work/shared"
    frames 'libbelay.so' "$work/shared"
fi

# A table that has the program in it, as with -flto, is not believed: then it is asked what the symbols say.
ok 'own.c compiles as one of the library' "$compiler" -O1 -g -I"$root/include" -include "$root/src/arch/own.h" \
    "$root/test/tools/own.c" "$build/libbelay.a" -lpthread -o "$work/mixed"
frames 'a table that is wrong' "$work/mixed"
ok 'own.c compiles with a small main' "$compiler" -O2 -I"$root/include" -Dmain=more -c "$root/test/tools/own.c" -o "$work/own.o"
# One that fits between the library's sections, where it is the first of its own.
echo 'int more(void); int main(void) { return more() + 1 - 1; }' >"$work/main.c"
ok 'a small main' "$compiler" -O2 "$work/main.c" "$work/own.o" "$work/bare.a" -lpthread -o "$work/small"
frames 'a small main' "$work/small"
finish
