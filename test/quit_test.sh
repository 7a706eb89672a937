#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What SIGQUIT does to a program, by its settings: test/quit_test.sh BUILD
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
build_settings
flags=(-std=gnu11 -O1 -g -fno-omit-frame-pointer -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
export ASAN_OPTIONS=detect_leaks=0
unset BELAY_TRACEBACK BELAY_SIGQUIT
ulimit -c 0
ok 'quit.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/tools/quit.c" \
    "$build/libbelay.a" -lpthread -o "$work/quit"
[ -x "$work/quit" ] || finish
mkfifo "$work/in"

# Waits until the file has N lines like REGEX.
await() { # FILE REGEX N
    for ((i = 0; i < 1000; i++)); do
        [ "$(grep -cE -- "$2" "$1" 2>/dev/null)" -ge "$3" ] && return 0
        sleep 0.01
    done
    return 1
}

# Starts the program with SIGQUIT as a terminal's shell leaves it, or ignored, as in the background.
start() { # default|ignored CASE [SETTING…]
    local how=$1 name=$2
    shift 2
    last_run="$* quit $name"
    : >"$work/out" >"$work/err"
    if [ "$how" = default ]; then
        env --default-signal=QUIT BELAY_PROCS=2 "$@" "$work/quit" "$name" \
            <"$work/in" >"$work/out" 2>"$work/err" &
    else
        env BELAY_PROCS=2 "$@" "$work/quit" "$name" <"$work/in" >"$work/out" 2>"$work/err" &
    fi
    pid=$!
    exec 3>"$work/in"
    await "$work/out" '^ready$' 1 || fail "$name" 'it did not get ready'
}

end() {
    { wait "$pid"; } 2>/dev/null
    status=$?
    exec 3>&-
}

go_on() {
    echo >&3
    end
}

for how in default ignored; do
    start $how stuck
    kill -QUIT "$pid"
    end
    expect "exits ($how)" 2
    expect_err "says why ($how)" '^SIGQUIT: quit$'
    expect_err "main ($how)" '^goroutine 1 \[(running|chan receive).*\]:$'
    expect_err "the waiter ($how)" '^goroutine [0-9]+ \[chan receive.*\]:$'
    expect_err "its channel ($how)" '^waits on channel 0x'
done

start default busy BELAY_PROCS=1
kill -QUIT "$pid"
end
expect 'exits with the processors busy' 2
expect_err 'the spinners' '^goroutine [0-9]+ \[(running|runnable).*\]:$'

for setting in BELAY_SIGQUIT=dump option=1; do
    start default "$([ $setting = option=1 ] && echo option || echo stuck)" "$setting"
    for n in 1 2; do
        kill -QUIT "$pid"
        await "$work/err" '^SIGQUIT: quit$' $n || fail "dump $n" 'no dump'
        await "$work/err" '^goroutine [0-9]+ \[chan receive' $n || fail "dump $n" 'no waiter'
    done
    if [ $setting = option=1 ]; then # longer than a SIGQUIT waits for its dump before the next one kills
        sleep 2.1
        kill -QUIT "$pid"
        await "$work/err" '^SIGQUIT: quit$' 3 || fail 'dump 3' 'no dump'
    fi
    go_on
    expect "goes on ($setting)" 7
done

# Its standard error is a pipe that is full, and that nobody reads: the dump does not get on.
mkfifo "$work/full"
exec 4<>"$work/full"
dd if=/dev/zero of="$work/full" oflag=nonblock bs=4096 count=4096 2>/dev/null
last_run='quit stuck 2>full'
: >"$work/out" >"$work/err"
env --default-signal=QUIT BELAY_PROCS=2 "$work/quit" stuck <"$work/in" >"$work/out" 2>"$work/full" 4>&- &
pid=$!
exec 3>"$work/in"
await "$work/out" '^ready$' 1 || fail full 'it did not get ready'
before=${EPOCHREALTIME/[.,]/}
kill -QUIT "$pid"
sleep 0.3
kill -QUIT "$pid"
sleep 0.3
kill -0 "$pid" 2>/dev/null && alive=1 || alive=0
took=$((${EPOCHREALTIME/[.,]/} - before))
ok 'a second one at once kills nobody' test "$alive" = 1 -o "$took" -gt 2000000
{ for ((i = 0; i < 120; i++)); do
    kill -QUIT "$pid" || break
    sleep 0.5
done; } 2>/dev/null
kill -KILL "$pid" 2>/dev/null
end
exec 4>&-
expect 'one after two seconds does' 131

start default stuck BELAY_SIGQUIT=off
kill -QUIT "$pid"
end
expect 'off: the default action' 131

start default handler
kill -QUIT "$pid"
await "$work/out" '^own handler called$' 1 || fail handler 'it was not called'
go_on
expect "the program's own handler" 7

start default ignores
kill -QUIT "$pid"
sleep 0.3
go_on
expect "the program's own SIG_IGN" 7
ok 'of which nothing is said' test ! -s "$work/err"

start default notify
kill -QUIT "$pid"
await "$work/out" '^channel got it$' 1 || fail notify 'the channel did not get it'
go_on
expect 'bl_notify takes it over' 7

start default after
kill -QUIT "$pid"
end
expect 'after the run: the default action' 131

run env --default-signal=QUIT "$work/quit" last
expect 'the last that a run does' 2
expect_err 'is said, too' '^SIGQUIT: quit$'

run env --default-signal=QUIT "$work/quit" child
expect_out 'a child of the process is killed by it' '^child killed$'

run env BELAY_SIGQUIT=never "$work/quit" after
expect_err 'a setting that there is not' '^belay: BELAY_SIGQUIT=never is not one of exit, dump, off, so exit is used$'
finish
