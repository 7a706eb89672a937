#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The commands that look into a running program: test/look_test.sh BUILD
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
flags=(-std=gnu11 -O1 -g -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
export ASAN_OPTIONS=detect_leaks=0 BELAY_PROCS=2

# Starts $work/NAME and waits until it says that it is ready: $! is its number. It ends when its standard input does.
start() { # NAME
    mkfifo "$work/$1.in"
    "$work/$1" <"$work/$1.in" >"$work/$1.said" 2>"$work/$1.warned" &
    exec {input}>"$work/$1.in"
    for ((i = 0; i < 1000; i++)); do
        grep -q ready "$work/$1.said" && break
        sleep 0.01
    done
}

ok 'stuck.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/tools/stuck.c" \
    "$build/libbelay.a" -lpthread -o "$work/stuck"
[ -x "$work/stuck" ] && [ -x "$belay" ] || finish
start stuck
pid=$! stuck_input=$input

run "$belay" dump "$pid"
if grep -q 'is not permitted' "$work/err"; then
    echo 'look_test: skipped: reading other programs is not permitted here'
    kill "$pid"
    finish
fi
expect 'dump' 0
expect_out 'main runs' '^goroutine 1 \[running.*\]:$'
expect_out 'a receiver' '^goroutine 2 \[chan receive(, [0-9]+s)?\]:$'
expect_out 'a mutex' '^goroutine [0-9]+ \[sync\.Mutex\.Lock(, [0-9]+s)?\]:$'
expect_out 'and who holds it' '^waits on sync\.Mutex 0x[0-9a-f]+, held by goroutine [0-9]+$'
expect_out 'a scope' '^goroutine [0-9]+ \[scope wait(, [0-9]+s)?\]:$'
expect_out 'created by' '^created by scope_opener in goroutine [0-9]+$'
expect_out 'and where' '^	.*test/tools/stuck\.c:[0-9]+$'
[ "$(grep -c '^goroutine ' "$work/out")" -eq 9 ] && pass || fail 'each once' 'not 9 goroutines'
if ldd "$belay" | grep -q libdw; then
    # The program's own frames, innermost first, and none of the runtime's.
    awk '/^goroutine 2 /, /^$/' "$work/out" | grep -v '^	' >"$work/second"
    printf '%s\n' "$(head -n 1 "$work/second")" receive_result receiver \
        'created by main_goroutine in goroutine 1' '' >"$work/wanted"
    ok "goroutine 2's stack: $(tr '\n' ' ' <"$work/second")" cmp "$work/second" "$work/wanted"
    # Places are whole names, also of a source that the compiler was given relative to another folder.
    mkdir "$work/beside" "$work/sources"
    cp "$root/test/tools/stuck.c" "$work/sources/far.c"
    far() { (cd "$work/beside" && "$compiler" "${flags[@]}" -I"$root/include" ../sources/far.c "$build/libbelay.a" -lpthread -o ../far); }
    ok 'far.c compiles' far
    start far
    run "$belay" dump "$!"
    expect_out 'a whole name' "^	$work/beside/\.\./sources/far\.c:[0-9]+\$"
    ok 'and no other' test "$(grep -c '^	\.\.' "$work/out")" = 0
    exec {input}>&-
fi
run "$belay" profile "$pid"
expect 'profile' 0
expect_out 'all' '^goroutine profile: total 9$'
expect_out 'one' '^1 @ \[chan receive\](, up to [0-9]+s)?: goroutine 2$'
expect_out 'started where' '^#	created by main_goroutine	.*stuck\.c:[0-9]+$'
awk '/^[0-9]+ @/ { n += $1; if (last && $1 > last) bad = 1; last = $1 } END { exit bad || n != 9 }' "$work/out" &&
    pass || fail 'profile' 'not nine, the most frequent first'
# Who has ended by the time that its stack is read is left out: there is none to show.
ok 'churn.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/tools/churn.c" \
    "$build/libbelay.a" -lpthread -o "$work/churn"
start churn
churn=$!
run "$belay" dump "$churn"
if ldd "$belay" | grep -q libdw; then
    awk '/\[sleep/ { all++; getline; getline; at += /^\t.*churn\.c:/ } END { exit all == 0 || at < all / 2 }' \
        "$work/out" && pass || fail 'goroutines that come and go' 'most of them have no stack'
fi
exec {input}>&-
wait "$churn"; status=$?; expect 'churn ends' 0

ok 'locks.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/tools/locks.c" \
    "$build/libbelay.a" -lpthread -o "$work/locks"
start locks
locks=$!
run "$belay" dump "$locks"; expect 'dump of locks' 0
grep '^waits on' "$work/out" | sed 's/0x[0-9a-f]*/AT/' | sort >"$work/waits"
printf 'waits on sync.%s\n' 'Mutex AT' 'Mutex AT, held by a plain thread' \
    'Mutex AT, held by goroutine 1' 'Mutex AT, held by one that has ended' \
    'RWMutex AT, held by 2 readers' 'RWMutex AT, held by goroutine 1' | sort >"$work/wanted"
ok "who has which lock: $(tr '\n' ';' <"$work/waits")" cmp "$work/waits" "$work/wanted"
exec {input}>&-
wait "$locks"; status=$?; expect 'locks ends' 0

ok 'alike.c compiles' env -C "$root/test/tools" "$compiler" "${flags[@]}" -I"$root/include" alike.c \
    "$build/libbelay.a" -lpthread -o "$work/alike"
BELAY_PROCS=1 start alike # each processor gives out numbers of its own
alike=$!
run "$belay" profile "$alike"; expect 'profile of the alike' 0
expect_out 'all of them' '^goroutine profile: total 8$'
expect_out 'five together' '^5 @ \[chan receive\](, up to [0-9]+s)?: goroutines 2, 3, 4, 5, 6$'
ldd "$belay" | grep -q libdw && expect_out 'by the whole name' "^#	created by alike	$root/test/tools/alike\.c:[0-9]+\$"
expect_out 'two together' '^2 @ \[sleep\](, up to [0-9]+s)?: goroutines 7, 8$'
# Since when is right also of a program that is idle, whose own clock stands.
for ((i = 0; i < 100; i++)); do
    run "$belay" profile "$alike"
    grep -qE '^2 @ \[sleep\], up to ([3-9]|[0-9]{2,})s' "$work/out" && break
    sleep 0.1
done
expect_out 'time goes on' '^2 @ \[sleep\], up to ([3-9]|[0-9]{2,})s: goroutines 7, 8$'
exec {input}>&-
wait "$alike"
ok 'it ends' test $? -eq 0
run "$belay" profile; expect 'nothing to profile' 2
run "$belay" profile 4194303; expect 'no such process' 1
run "$belay" profile 4194303 4194302; expect 'two processes' 1 # as pgrep may print them
expect_err 'two processes' 'a running program is given by its number alone$'
run "$belay" profile "$work/none"; expect 'no such file' 1
expect_err 'it says so' 'none: No such file or directory'
run "$belay" profile "$work"; expect 'profile of a directory' 1
expect_err 'profile of a directory' "^belay: $work: Is a directory; a running program is given by its number alone\$"
run "$belay" profile -help; expect_out 'help of profile' '^Usage: belay profile PID$'
run "$belay" top -once -sort id "$pid"
expect 'top' 0
expect_out 'head' "^belay top: process $pid, 2 processors, [0-9]+ threads; 9 goroutines: [0-9]+ running, [0-9]+ runnable, [0-9]+ waiting$"
expect_out 'columns' '^ +ID  STATE +SINCE +SWITCHES +STACK  FUNCTION +STARTED AT$'
expect_out 'a row' '^ +2  chan receive +[0-9.a-z]+ +[0-9]+ +[0-9]+%  [a-z0-9_]+ +.*stuck\.c:[0-9]+ \(main_goroutine\)$'
[ "$(sed 1,2d "$work/out" | awk '$1 == "ID" { next } { print $1 }' | sort -nc 2>&1)" = '' ] && pass ||
    fail 'top -sort id' 'not in order'
run "$belay" top -filter sync.Mutex "$pid"
expect 'top in a pipe' 0
[ "$(grep -c '^ *[0-9]' "$work/out")" -eq 1 ] && pass || fail 'top -filter' 'not one row'
sleep 1.2 # until main, which sits in a read, has not yielded for a second
run "$belay" top -once "$pid"
expect_out 'it warns' '^! goroutine 1 \([a-z0-9_]+\) has not yielded for [0-9.]+s: it waits in a system call$'
run "$belay" top -once=true --sort=id "$pid"
expect 'values behind =' 0
run "$belay" top -sort name "$pid"
expect 'no such column' 2
run "$belay" top -srot id "$pid"
expect 'no such flag' 2
expect_err 'the nearest' '^belay: unknown flag -srot; did you mean -sort\?$'
run "$belay" top -filter
expect 'no value' 2
expect_err 'it says so' '^belay: -filter needs a value; '
for url in unix: http:// http:///debug; do
    run "$belay" profile $url
    expect "profile $url" 2
    expect_err "profile $url" "^belay: $url is no address: http://HOST:PORT or unix:/PATH$"
done
run "$belay" dump "$pid"
expect 'again' 0
ok 'the program goes on' kill -0 "$pid"
rm "$work/stuck"
echo 'another one' >"$work/stuck"
run "$belay" dump "$pid"
expect 'a program that was built anew meanwhile' 0
if ldd "$belay" | grep -q libdw; then expect_out 'has its names' '^receive_result$'; fi
script -qec "$belay top $pid" /dev/null >"$work/live" 2>&1 </dev/null {stuck_input}>&- &
top=$!
for ((i = 0; i < 1000; i++)); do
    grep -q '9 goroutines' "$work/live" && break
    sleep 0.01
done
exec {stuck_input}>&-
wait "$pid"
status=$?
expect 'the program was not disturbed' 0
wait "$top"
status=$?
expect 'top ends with it' 1
ok 'and says so' grep -q "belay: the program has ended" "$work/live"
ok 'a narrow terminal breaks no line into two' grep -aqF "$(printf '\033[?7l')" "$work/live"

# One that has ended and was not waited for.
sh -c 'sh -c "while [ \$(cat /proc/\$PPID/comm) != sleep ]; do :; done" & echo $!; exec sleep 60' >"$work/zombie" &
keeper=$!
for ((i = 0; i < 1000; i++)); do
    grep -qs ') Z' "/proc/$(cat "$work/zombie")/stat" && break
    sleep 0.01
done
run "$belay" dump "$(cat "$work/zombie")"
expect 'a zombie' 1
expect_err 'is told as one' '^belay: process [0-9]+ has ended$'
kill "$keeper"

run "$belay" dump "$$"
expect 'not a program of belay' 1
expect_err 'says so' "^belay: process $$ runs no goroutines: it does not use belay$"
run "$belay" dump 4194303
expect 'no such process' 1
expect_err 'says that there is none' '^belay: there is no process 4194303$'
run "$belay" dump server
expect 'no number' 2
run "$belay" dump
expect 'nothing to dump' 2
run "$belay" dump -help
expect_out 'help' '^Usage: belay dump PID$'
finish
