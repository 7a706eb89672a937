#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Under valgrind the library is accused of nothing, and the program's own faults are found: test/valgrind_test.sh BUILD
#
# builds: dev release
source "$(dirname "$0")/shell.sh"
build_settings
if ! command -v valgrind >/dev/null 2>&1; then
    echo 'valgrind_test: skipped: valgrind is not installed (scripts/setup.sh test)'
    finish
fi
case $sanitize in
*thread* | *address*) echo 'valgrind_test: skipped: not of a build with a sanitizer'; finish ;;
esac
ok 'checked.c compiles' "$compiler" -std=gnu11 -O1 -g -I"$root/include" "$root/test/tools/checked.c" \
    "$build/libbelay.a" -lpthread -o "$work/checked"
[ -x "$work/checked" ] || finish

memcheck() { # PROCS [FAULT]
    run env BELAY_PROCS="$1" valgrind --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
        "$work/checked" ${2:+"$2"}
}

for procs in 1 4; do
    memcheck $procs
    expect "no fault at $procs" 0
    expect_err "said at $procs" 'ERROR SUMMARY: 0 errors'
done
memcheck 2 leak
expect 'a leak' 9
expect_err 'of so many bytes' '77 bytes in 1 blocks are definitely lost'
expect_err 'in the function of the goroutine' 'by 0x[0-9A-F]+: loses \(checked.c:[0-9]+\)'
memcheck 2 uninitialised
expect 'a value that nobody has set' 9
expect_err 'decides' 'Conditional jump or move depends on uninitialised value'
expect_err 'in its goroutine' 'at 0x[0-9A-F]+: decides \(checked.c:[0-9]+\)'
finish
