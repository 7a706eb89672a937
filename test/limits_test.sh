#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Hard times: little address space, few threads, settings that make no sense, fork, signals to any
# thread, a debugger, many plain threads, runs after one that left goroutines behind. Whatever comes,
# a program goes on with what there is, or gets an error that it can act on, or ends with a fatal error
# that says what was missing; it never hangs or crashes. test/limits_test.sh BUILD
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
build_settings
flags=(-std=gnu11 -O1 -g -Wall -Wextra -Werror -pthread)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
[[ $sanitize != *thread* ]] || flags+=(-DNO_THREADS_AFTER_FORK) # ThreadSanitizer dies of it
program=$work/program
unset BELAY_PROCS BELAY_STACK BELAY_MAX_THREADS BELAY_TRACEBACK BELAY_SUMMARY BELAY_ON_LEAK
unset BELAY_ON_DEADLOCK BELAY_IO
export BELAY_GRACE=1m ASAN_OPTIONS=detect_leaks=0
ulimit -c 0

ok 'the program compiles' "$compiler" "${flags[@]}" -I"$root/include" \
    "$root/test/limits/program.c" "$build/libbelay.a" -o "$program"
[ -x "$program" ] || finish

skip() { echo "skip $1: $2"; }

# The last run ended as one in need may: well, or with a shortage as a result or as a fatal error.
expect_coped() { # NAME
    if [ "$status" -eq 0 ] && ! grep -q '^lost' "$work/out"; then
        pass
    elif [ "$status" -eq 1 ] && grep -qE ': BL_E(NOMEM|AGAIN)$' "$work/out"; then
        pass
    elif [ "$status" -eq 2 ] && grep -q '^fatal error: .*out of memory' "$work/err"; then
        pass
    else
        fail "$1" "status $status"
    fi
}

# ---- Address space: from what a program needs at all to plenty.
if [ -n "$sanitize" ]; then
    skip 'little address space' 'sanitizers need more than any limit leaves'
else
    for kib in 4000 6000 8000 10000 12000 14000 16000 20000 24000 28000 32000 40000 48000 64000 \
        80000 100000 150000 250000 400000; do
        run prlimit --as=$((kib * 1024)) "$program"
        [ "$status" -eq 0 ] || continue # not even that
        for procs in 1 4; do
            run env BELAY_PROCS=$procs prlimit --as=$((kib * 1024)) "$program" crowd 1500
            expect_coped "$kib KiB of address space, $procs processors"
        done
    done
    run prlimit --as=4000000000 "$program" crowd 1500
    expect 'enough address space' 0
fi

# ---- Threads. The limit counts all of a user's, and does not bind root: so it is one of whom there
# is nobody else.
user=()
if [ "$(id -u)" -eq 0 ]; then
    user=(setpriv --reuid=$((60000 + $$ % 5000)) --regid=65534 --clear-groups)
    chmod 755 "$work"
fi
if ! run "${user[@]}" "$program" || [ "$status" -ne 0 ]; then
    skip 'few threads' "cannot become another user: $(head -n 1 "$work/err")"
else
    for n in 1 2 3 4 6 10; do
        run env BELAY_PROCS=8 prlimit --nproc=$n "${user[@]}" "$program" crowd 300
        expect_coped "$n threads"
    done
fi
for n in 1 2 3; do
    run env BELAY_PROCS=8 BELAY_MAX_THREADS=$n "$program" crowd 300
    expect "at most $n threads" 0
done

# ---- Settings
for stack in 1 4096 16k 17000 1m 100m 256m; do
    run env BELAY_STACK=$stack "$program" crowd 20
    expect "BELAY_STACK=$stack" 0
done
for stack in 1 8191 15k; do
    run env BELAY_STACK=$stack "$program" crowd 20
    expect_err "BELAY_STACK=$stack" '^belay: BELAY_STACK=[0-9]+ is less than [0-9]+, so [0-9]+ is used$'
done
for stack in 257m 99999999999999999999 9999999999999999k -1 0 abc '64k ' 1g; do
    run env "BELAY_STACK=$stack" "$program" crowd 20
    expect "BELAY_STACK=$stack" 0
    expect_err "BELAY_STACK=$stack" \
        "^belay: BELAY_STACK=$stack is not a number from 1 to [0-9]+, so 65536 is used$"
done
for name in BELAY_PROCS BELAY_MAX_THREADS; do
    for value in 0 -1 abc 1.5 '2 ' 99999999999999999999 4294967297; do
        run env "$name=$value" "$program" crowd 20
        expect "$name=$value" 0
        expect_err "$name=$value" \
            "^belay: $name=$value is not a number from 1 to [0-9]+, so [0-9]+ is used$"
    done
done
for procs in 257 1000000; do
    run env BELAY_PROCS=$procs "$program" crowd 20
    expect "BELAY_PROCS=$procs" 0
    expect_err "BELAY_PROCS=$procs" "^belay: BELAY_PROCS=$procs is more than 256, so 256 is used$"
done
for value in -1s abc 1x 's' nan; do
    run env "BELAY_GRACE=$value" "$program" crowd 20
    expect "BELAY_GRACE=$value" 0
    expect_err "BELAY_GRACE=$value" "^belay: BELAY_GRACE=$value is not a duration .* so 1s is used$"
done
for setting in ON_LEAK=maybe:report IO=fast:handoff ON_DEADLOCK=-1:report TRACEBACK=99999999999999999999:single; do
    run env "BELAY_${setting%:*}" "$program" crowd 20
    expect "$setting" 0
    expect_err "$setting" "^belay: BELAY_${setting%:*} is not one of .*, so ${setting#*:} is used$"
done
run env BELAY_DEBUG='handof=1,resources=yes lockorder' "$program" crowd 20
expect 'BELAY_DEBUG' 0
expect_err 'a word that is none' '^belay: BELAY_DEBUG=handof=1 is none of handoff, .*, so it is ignored$'
expect_err 'a value that is no number' '^belay: BELAY_DEBUG=resources=yes gives no number to resources, '
expect_err 'no value' '^belay: BELAY_DEBUG=lockorder gives no number to lockorder, '
run env BELAY_DEBUG='blockprofile=-5,traceall=1x' "$program" crowd 20
expect_err 'a value below zero' '^belay: BELAY_DEBUG=blockprofile=-5 gives no number to blockprofile, .* so it is ignored$'
expect_err 'a value with more behind it' '^belay: BELAY_DEBUG=traceall=1x gives no number to traceall, '
for value in yes 2 01; do
    run env BELAY_SUMMARY=$value "$program" crowd 20
    expect_err "BELAY_SUMMARY=$value" "^belay: BELAY_SUMMARY=$value is neither 0 nor 1, so 0 is used$"
done
run env BELAY_DEBUG='handoff=0,lockorder=0, blockprofile=1000,cold=1,spare=9' "$program" crowd 20
ok 'BELAY_DEBUG: no complaint' test ! -s "$work/err"
for name in $("$build/belay" help environment | grep -oE '^  BELAY_[A-Z_]{5,}' | sort -u); do
    run env "${name%?}=1" "$program" crowd 20
    expect_err "${name%?}" "^belay: ${name%?} is unknown, so it is ignored; did you mean $name\?$"
done
run env BELAY_TRACEBAKC=all BELAY_MAXTHREAD=9 BELAY_SIG_QUIT=off "$program" crowd 20
ok 'misspelt variables: a line each' test "$(wc -l <"$work/err")" -eq 3
run env BELAY_RACE='halt_on_eror=1,verbosity log_path=x exitcode=1 suppressions=y' "$program" crowd 20
expect_err 'an option of races that is misspelt' '^belay: BELAY_RACE: halt_on_eror is unknown, so it is ignored; did you mean halt_on_error\?$'
expect_err 'one without a value' '^belay: BELAY_RACE: verbosity is ignored; an option is NAME=VALUE, '
ok 'and none of the others' test "$(wc -l <"$work/err")" -eq 2
run env BELAY_URL=x BELAY_RATE=9 BELAY_ID=7 BELAY_PREFIX=/usr BELAY_SHARED=ON BELAY_BACKTRACE=1 BELAY_LEAKS_ALL=1 \
    BELAY_TEST_LIMIT=9 BELAY_EMULATOR=x BELAY_PROC= BELAY= BELAY_=1 "$program" crowd 20
ok "a program's own variables: no complaint" test ! -s "$work/err"
run env BELAY_GRACE=99999999999999999999h "$program" crowd 20
expect 'an endless grace' 0
run env BELAY_PROCS= BELAY_STACK= BELAY_MAX_THREADS= BELAY_GRACE= BELAY_TRACEBACK= BELAY_ON_LEAK= \
    BELAY_ON_DEADLOCK= BELAY_IO= BELAY_SUMMARY= "$program" crowd 20
expect 'empty settings are none' 0
ok 'empty settings: no complaint' test ! -s "$work/err"

# ---- File descriptors: with the fewest not even the report of a deadlock finds its files.
for n in 4 5 16; do
    [ -z "$sanitize" ] || [ "$n" -ge 16 ] || continue
    run prlimit --nofile=$n "$program" crowd 300
    expect "$n file descriptors" 0
    run prlimit --nofile=$n "$program" deadlock
    expect "a deadlock with $n file descriptors" 2
    expect_err "a deadlock with $n file descriptors" '^fatal error: all goroutines are asleep'
    expect_err "a deadlock with $n file descriptors" '^goroutine 1 \[chan receive\]'
done

# ---- No thread may be made, as some containers' filters have it
run "$program" filtered; expect 'no clone3' 1
expect_out 'no clone3' ': BL_EPERM$'
expect_err 'no clone3' 'bl_run returns BL_EPERM: the system gives no thread: operation not permitted; '

# ---- Or one by which those that are stuck are known: then that is said. The names of threads, which
# prctl gives, are given in another way.
if [ -n "$sanitize" ]; then
    skip 'system calls that are filtered' 'sanitizers need them'
else
    run "$program" 'no prctl'; expect 'no prctl' 0
    expect_err 'no prctl' '^belay: leak: 1 goroutine is probably leaked: '
    for call in pipe2 tee; do
        run "$program" "no $call"; expect "no $call" 0
        expect_err "no $call" "^belay: whether goroutines are stuck cannot be told: the system refuses $call, "
        ok "no $call: once" test "$(wc -l <"$work/err")" -eq 1
    done
fi

# ---- Without /proc nobody can tell whether there are threads that could wake somebody: that is said, once
if [ -n "$sanitize" ]; then
    skip 'no /proc' 'sanitizers need it'
elif can_unshare 'no /proc' -rm; then
    last_run='deadlock without /proc'
    unshare -rm sh -c 'mount -t tmpfs none /proc && exec "$@"' sh timeout -k 2 60 "$program" deadlock \
        >"$work/out" 2>"$work/err" &
    job=$!
    for _ in $(seq 6000); do
        [ ! -s "$work/err" ] || break
        sleep 0.01
    done
    kill $job
    wait $job 2>/dev/null
    expect_err 'no /proc' '^belay: all goroutines are asleep; whether that is a deadlock cannot be told: '
fi

# ---- The first process of a container ends with its crash, whose signal does not kill it
if [ -n "$sanitize" ]; then
    skip 'the first process' 'sanitizers have handlers of their own'
elif can_unshare 'the first process' -rpf; then
    run unshare -rpf --kill-child "$program" raises
    expect 'the first process' 139
    expect_err 'the first process' '^\[signal SIGSEGV: '
fi

# ---- Without standard streams: nothing of the library's gets their numbers, to be read or printed into
run env BELAY_TRACE="$work/trace" bash -c '"$0" streams 0<&- 1>&- 2>&-' "$program"; expect 'no streams' 0

# ---- valgrind: what the program and the library still hold is not told as lost
if [ -n "$sanitize" ] || ! command -v valgrind >/dev/null; then
    skip 'valgrind' 'it is not installed, or the build has a sanitizer'
else
    run valgrind -q --leak-check=full --error-exitcode=9 "$program" kept
    expect 'valgrind' 0
    ok 'valgrind says nothing' test ! -s "$work/err"
fi

# ---- The size of threads' stacks, which the runtime's own take from the limit.
for kib in 24 32 64 100 256 1024 100000 unlimited; do
    [ -z "$sanitize" ] || [ "$kib" = unlimited ] || [ "$kib" -ge 1024 ] || continue
    [ "$kib" = unlimited ] && stack=unlimited || stack=$((kib * 1024))
    run prlimit --stack="$stack:" "$program" crowd 300
    expect "ulimit -s $kib" 0
    run prlimit --stack="$stack:" "$program" deadlock
    expect "a deadlock, ulimit -s $kib" 2
done

# ---- Fork, signals, plain threads, runs after a leaking one
for procs in 1 2 8; do
    for case in forks writers 'signals 0' 'signals 1' threads callers again late; do
        read -ra words <<<"$case"
        grace=$BELAY_GRACE
        [[ $case != again && $case != late ]] || grace=50ms # which leave something
        run env BELAY_PROCS=$procs BELAY_GRACE=$grace "$program" "${words[@]}"
        expect "$case, $procs processors" 0
        expect_out "$case, $procs processors" "^${words[0]}: done$"
        ok "$case, $procs processors: once" test "$(wc -l <"$work/out")" -eq 1
        if [ $grace = 50ms ]; then
            expect_err "$case, $procs processors: what it leaves" '^belay: leak: '
        else
            [ -n "$sanitize" ] || ok "$case, $procs processors: no complaint" test ! -s "$work/err"
        fi
    done
done

# ---- The child of a fork that goes on as if it had the runtime's threads
for call in 0 1 2 3 4 5 6 7; do
    for procs in 1 4; do
        run env BELAY_PROCS=$procs "$program" stray $call
        expect "stray call $call, $procs processors" 0
        expect_err "stray call $call, $procs processors" \
            '^fatal error: belay: the child of a fork called into the runtime'
        ok "stray call $call, $procs processors: status 2" test "$(wc -l <"$work/out")" -eq 1
    done
done

# Starts the endless case; its number is $pid, and it ends by SIGTERM.
start_debugged() { # PROCS
    : >"$work/debugged"
    pid=
    BELAY_PROCS=$1 timeout --foreground -k 2 60 "$program" debugged >"$work/debugged" 2>&1 \
        </dev/null &
    job=$!
    for _ in $(seq 1000); do
        pid=$(sed -n 's/^pid //p' "$work/debugged")
        [ -z "$pid" ] || break
        sleep 0.01
    done
}

end_debugged() { # NAME
    kill "$pid"
    wait "$job"
    status=$?
    cp "$work/debugged" "$work/out"
    expect "$1" 0
    ok "$1: went on, with the right result" \
        test "$(grep -v '^pid' "$work/debugged")" = 'debugged: done'
}

# ---- Stopped and continued
for procs in 1 4; do
    start_debugged $procs
    for _ in $(seq 20); do
        kill -STOP "$pid"
        sleep 0.01
        kill -CONT "$pid"
        sleep 0.005
    done
    end_debugged "stopped and continued, $procs processors"
done

# ---- A debugger comes and goes, twice; or starts the program.
debug() { # PROCS
    local name="a debugger, $1 processors"
    start_debugged "$1"
    for _ in 1 2; do
        run gdb -nx -batch -p "$pid" -ex 'thread apply all bt' -ex detach
        if grep -qiE 'ptrace: |could not attach' "$work/err"; then
            skip "$name" "$(grep -iE 'ptrace: |could not attach' "$work/err" | head -n 1)"
            kill "$pid"
            wait "$job"
            return
        fi
        expect_out "$name: sees the runtime" 'bl_run'
    done
    end_debugged "$name"
    run env BELAY_PROCS="$1" gdb -nx -batch -ex 'set print thread-events off' -ex run \
        --args "$program" crowd 100 # its own lines would come in the middle of the program's
    expect_out "$name: starts it" '^crowd: done$'
    expect_out "$name: starts it" 'exited normally'
}
if ! command -v gdb >/dev/null; then
    skip 'a debugger' 'gdb is not installed'
elif [[ $sanitize == *thread* ]]; then
    skip 'a debugger' 'ThreadSanitizer keeps it busy for minutes'
else
    debug 1
    debug 4
fi
finish
