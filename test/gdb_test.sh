#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The gdb script on a running program and on a core file, with symbols and without: test/gdb_test.sh BUILD
#
# builds: dev release
source "$(dirname "$0")/shell.sh"
build_settings
if ! command -v gdb >/dev/null 2>&1; then
    echo 'gdb_test: skipped: gdb is not installed (scripts/setup.sh test)'
    finish
fi
case $sanitize in
*thread* | *address*) echo 'gdb_test: skipped: not of a build with a sanitizer'; finish ;;
esac
script=$root/share/gdb/belay-gdb.py
ok 'stuck.c compiles' "$compiler" -std=gnu11 -O1 -g -I"$root/include" "$root/test/tools/stuck.c" \
    "$build/libbelay.a" -lpthread -o "$work/stuck"
[ -x "$work/stuck" ] || finish

debug() { # PROGRAM|-p PID… and commands
    run gdb -q -nx -batch "$@" -x "$script" -ex 'info goroutines' -ex 'goroutine 2 bt' \
        -ex 'goroutine all bt 1' -ex 'p $pc' -ex 'goroutine 99 bt' -ex 'goroutine x bt' \
        -ex 'p results' -ex 'p door' -ex 'p table' -ex 'p group' -ex 'p seats' -ex 'p alarm_timer' \
        -ex 'p *shown'
}

# NAME: what is there whether or not the program has symbols.
expect_goroutines() {
    expect_out "$1: waits" '^ +2 +\[chan receive(, [0-9a-z]+)?\] '
    expect_out "$1: a mutex" '^ +[0-9]+ +\[sync\.Mutex\.Lock(, [0-9a-z]+)?\] '
    expect_out "$1: started where" 'stuck\.c:[0-9]+ \(main_goroutine\)$'
    expect_err "$1: no such goroutine" '^There is no goroutine 99'
    expect_err "$1: no number" '^x is not the number of a goroutine'
}

expect_symbols() {
    expect_goroutines "$1"
    expect_out "$1: in which function" '^ +2 +\[chan receive.*\] +receive_result in receiver '
    expect_out "$1: its stack" '^#[0-9]+ .* receiver \(arg='
    expect_out "$1: and no further" '^#[0-9]+ .* bl__goroutine_main \(\)'
    expect_out "$1: channel" 'channel of 4 bytes, unbuffered, goroutine 2 waits to receive, made by main_goroutine at .*stuck\.c:[0-9]+$'
    expect_out "$1: mutex" 'mutex, held by goroutine [0-9]+, goroutine [0-9]+ waits$'
    expect_out "$1: rwmutex" 'rwmutex, held by 1 reader$'
    expect_out "$1: wait group" 'wait group, 3 to go, goroutine [0-9]+ waits$'
    expect_out "$1: semaphore" 'semaphore, 1 free, goroutine [0-9]+ waits$'
    expect_out "$1: timer" 'timer, due in [0-9]+m, starts fired, started by main_goroutine at '
    expect_out "$1: scope" 'scope "inner scope", 1 goroutine not joined, opened by scope_opener at '
    # gdb shows the thread when it loads a core, and goroutine 1 runs.
    ok "$1: the thread's own frame is not among them" test "$(grep -c '^#0' "$work/out")" -le 2
}

mkfifo "$work/in"
"$work/stuck" <"$work/in" >"$work/said" 2>/dev/null &
pid=$!
exec 3>"$work/in"
for ((i = 0; i < 1000; i++)); do
    grep -q ready "$work/said" && break
    sleep 0.01
done
debug -p "$pid"
if grep -q 'Operation not permitted' "$work/err"; then
    echo 'gdb_test: the running program is left out: ptrace is not permitted here'
else
    expect 'live' 0
    expect_symbols live
    gdb -nx -batch -p "$pid" -ex "gcore $work/gcore" >"$work/gcore.said" 2>&1
    if grep -q 'Memory read failed for corefile section, [0-9]\{5,\} bytes' "$work/gcore.said"; then
        debug "$work/stuck" "$work/gcore"
        expect_out "gcore's core file" "^No goroutines in this core file: their stacks are not in it"
    fi
    ok 'it goes on' kill -0 "$pid"
fi
exec 3>&-
wait "$pid"
status=$?
expect 'nothing was written into it' 0

# The kernel's core file: gdb's own gcore gives up a mapping at its first guard page.
mkdir "$work/dump"
(cd "$work/dump" && ulimit -c unlimited && "$work/stuck" abort >/dev/null 2>&1 </dev/null) 2>/dev/null
core=$(find "$work/dump" -type f | head -n 1)
if [ -z "$core" ]; then
    echo "gdb_test: core files are left out: the system puts them elsewhere" \
        "(/proc/sys/kernel/core_pattern: $(cat /proc/sys/kernel/core_pattern))"
else
    debug "$work/stuck" "$core"
    expect_symbols core
    objcopy --strip-all "$work/stuck" "$work/bare"
    debug "$work/bare" "$core"
    expect_goroutines 'core of a stripped program'
fi
debug /bin/true
expect_err 'no process' '^There is no process: start the program, or load a core file'
finish
