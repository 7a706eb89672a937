#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Traces, converted and read again by another decoder: test/trace_test.sh BUILD
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
if ! command -v python3 >/dev/null; then
    echo 'trace_test: skipped: no python3 here'
    finish
fi
flags=(-std=gnu11 -O1 -g -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
export ASAN_OPTIONS=detect_leaks=0
ok 'work.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/trace/work.c" \
    "$build/libbelay.a" -lpthread -o "$work/work"
[ -x "$work/work" ] && [ -x "$belay" ] || finish
cd "$work" || exit 2

mkfifo fifo
run timeout -k 2 20 env BELAY_TRACE=fifo ./work all; expect 'a FIFO, and nobody who reads it' 0
expect_err 'is refused' '^belay: BELAY_TRACE=fifo: the file cannot be written: it is a pipe; there is no trace$'

check() { # NAME FILE [whole]: converts it, and leaves what the decoder says in out
    run "$belay" trace -o "$work/converted" "$2"; expect "$1: it is converted" 0
    run python3 "$root/test/trace/walk.py" "$work/converted" ${3:-}; expect "$1: it can be true" 0
}

for procs in 1 2 8; do
    run env BELAY_PROCS=$procs BELAY_TRACE="$work/trace" "$work/work" all; expect "$procs procs" 0
    check "$procs procs" "$work/trace" whole
    expect_out "$procs: all goroutines" '^goroutines: 11[0-9]$'
    expect_out "$procs: waits" '^state chan receive: [1-9]'
    expect_out "$procs: sleeps" '^state sleep: [1-9]'
    expect_out "$procs: a blocking call" '^state blocking call: 1$'
    expect_out "$procs: a cancellation" '^instant cancels: [1-9]'
    expect_out "$procs: arrows" '^arrows: [1-9][0-9]{2}'
    expect_out "$procs: scopes" '^scope tracks: 1$'
    [ $procs -ne 1 ] || { # there nobody else could do the work
        expect_out 'a hand-off' '^instant taken: [1-9]'
        expect_out 'who lost it blocks' '^state blocks its thread: [1-9]'
    }
done
run env BELAY_TRACE="$work/twice" "$work/work" all again; expect 'two runs' 0
check 'two runs' "$work/twice" whole
expect_out 'both are there' '^goroutines: 2[23][0-9]$'
run env BELAY_TRACE="$work/%p.trace" "$work/work" exit; expect 'exit in a goroutine' 0
check 'exit' "$(echo "$work"/[0-9]*.trace)"
expect_out 'exit: all was written' '^goroutines: 11[0-9]$'

# Killed, cut off anywhere, overwritten.
BELAY_TRACE="$work/killed" "$work/work" forever >"$work/said" &
pid=$!
for ((i = 0; i < 1000; i++)); do
    grep -q ready "$work/said" && break
    sleep 0.01
done
for ((i = 0; i < 1000; i++)); do # what is recorded is written by and by
    run "$belay" trace -o "$work/converted" "$work/killed"
    [ "$status" -eq 0 ] && python3 "$root/test/trace/walk.py" "$work/converted" | grep -qE '^goroutines: [1-9][0-9]{2}' && break
    sleep 0.1
done
expect 'it runs' 0
kill -KILL "$pid"
wait "$pid" 2>/dev/null
check 'killed' "$work/killed"
expect_out 'killed: what it did' '^goroutines: [1-9][0-9]{2}'
size=$(stat -c %s "$work/trace")
for cut in 0 100 4096 5000 70000 $((size / 2)) $((size - 9)); do
    head -c "$cut" "$work/trace" >"$work/cut"
    run "$belay" trace -o "$work/converted" "$work/cut"
    if [ "$cut" -lt 4000 ]; then
        expect "$cut bytes" 1
        expect_err "$cut bytes" 'cut is not a trace'
    else
        expect "$cut bytes" 0
        run python3 "$root/test/trace/walk.py" "$work/converted"; expect "$cut bytes: it can be true" 0
    fi
done
for seed in 1 2 3 4 5 6 7 8; do # bytes that are wrong must not crash it
    python3 - "$work/trace" "$work/bad" "$seed" <<'END'
import random, sys
random.seed(int(sys.argv[3]))
data = bytearray(open(sys.argv[1], "rb").read())
for _ in range(2000):
    data[random.randrange(4096, len(data))] = random.randrange(256)
    at = random.randrange(512, 4096) * 8 + 4096
    data[at % len(data)] = random.randrange(256)
open(sys.argv[2], "wb").write(data)
END
    run "$belay" trace -o "$work/converted" "$work/bad"
    [ "$status" -le 1 ] && pass || fail "wrong bytes, seed $seed" "status $status"
done

# Recording must not take long: what is too much is left out, and that is said.
run env BELAY_PROCS=1 BELAY_TRACE="$work/much" "$work/work" switches; expect 'switches' 0
size=$(stat -c %s "$work/much")
[ "$size" -lt 50000000 ] && pass || fail 'switches: the file stays small' "$size bytes of 96 million"
run "$belay" trace -o "$work/converted" "$work/much"
expect_out 'switches: not all was recorded' ' ms but for [0-9.]+ ms that were not recorded'
head -c 2000000 "$work/much" >"$work/part" # on a busy machine it takes longer, and there is ten times as much to decode
check 'switches' "$work/part"
expect_out 'switches: pauses' '^pauses: [1-9]'
expect_out 'switches: goroutines' '^goroutines: [34]$'
run env BELAY_DEBUG=traceall=1 BELAY_PROCS=1 BELAY_TRACE="$work/much" "$work/work" switches
size=$(stat -c %s "$work/much")
[ "$size" -gt 90000000 ] && pass || fail 'switches: all of them' "$size bytes of 96 million"
rm "$work/much"

# The flight recorder.
run "$work/work" dump "$work/dumped"; expect 'dump' 0
check 'dump' "$work/dumped"
expect_out 'dump: goroutines' '^goroutines: [1-9][0-9]'
run "$work/work" middle "$work/middle"; expect 'from the middle on' 0
check 'from the middle on' "$work/middle"
expect_out 'it knows who was there' '^goroutines: 11[0-9]$'
if [ -z "$sanitize" ]; then # which have handlers of their own
    run bash -c 'BELAY_TRACE=ring=1m "$0" crash; exit $?' "$work/work"; expect 'crash' 139
    expect_err 'it says where' "^belay: what happened before is in belay-[0-9]+\.trace; "
    check 'crash' "$(echo "$work"/belay-*.trace)"
    expect_out 'crash: goroutines' '^goroutines: 1[01][0-9]$'
fi

run env BELAY_TRACE=ring=much "$work/work" all; expect 'no such size' 0
expect_err 'it says so' '^belay: BELAY_TRACE=ring=much is neither a file nor ring or ring=SIZE'
run env BELAY_TRACE=/nowhere/at/all "$work/work" all; expect 'no such folder' 0
expect_err 'it says so' '^belay: BELAY_TRACE=/nowhere/at/all: the file cannot be written: '
if [ -w /dev/full ]; then
    run env BELAY_TRACE=/dev/full "$work/work" all; expect 'no room' 0
    expect_err 'it says so' '^belay: BELAY_TRACE=/dev/full: the file cannot be written: '
    run "$belay" trace -o /dev/full "$work/trace"; expect 'no room for what it is converted to' 1
    expect_err 'it says why' '^belay: /dev/full cannot be written: No space left on device$'
fi
run "$belay" trace; expect 'nothing to convert' 2
run "$belay" trace "$root/README.md"; expect 'no trace' 1
expect_err 'it says so' 'README.md is not a trace: '
run "$belay" trace "$work"; expect 'a directory' 1
expect_err 'a directory' "^belay: $work: Is a directory\$"
run "$belay" trace -x y; expect 'no such flag' 2
run "$belay" trace "-o=$work/named" "$work/trace"; expect 'a value behind =' 0
for out in - ''; do
    run "$belay" trace -o "$out" "$work/trace"; expect "no file's name: -o '$out'" 2
    expect_err 'it says so' ': it needs the name of a file, which https://ui.perfetto.dev opens$'
done
cp "$work/trace" "$work/kept"
run "$belay" trace -o "$work/trace" "$work/trace"; expect 'onto itself' 2
ok 'it is still there' cmp "$work/kept" "$work/trace"
run "$belay" trace -o /nowhere/at/all "$work/trace"; expect 'no place for it' 1
run "$belay" trace -help; expect_out 'help' '^Usage: belay trace \[-o OUT\] FILE$'
finish
