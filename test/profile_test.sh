#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A profile as `go tool pprof` reads it. test/profile_test.sh BUILD
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
build_settings
if ! command -v go >/dev/null; then
    echo 'profile_test: skipped: no go (golang-go) here'
    finish
fi
flags=(-std=gnu11 -O1 -g -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
export ASAN_OPTIONS=detect_leaks=0 PPROF_TMPDIR=$work
ok 'crowd.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/profile/crowd.c" \
    "$build/libbelay.a" -lpthread -o "$work/crowd"
[ -x "$work/crowd" ] || finish

run "$work/crowd" 50 "$work/few"; expect 'a profile' 0
ok 'it is a gzip file' gzip -t "$work/few"
run go tool pprof -raw "$work/few"; expect 'raw' 0
expect_out 'its type' '^goroutine/count'
run go tool pprof -top "$work/few"; expect 'top' 0
expect_out 'all are there' 'accounting for 53, 100% of 53 total'
expect_out 'the receivers' ' 50 +[0-9.]+%  receiver$'
expect_out 'and their call' ' bl_chan_recv$'
run go tool pprof -peek 'receiver' "$work/few"; expect 'peek' 0
expect_out 'who is called' '\| +bl_chan_recv'
run go tool pprof -traces "$work/few"; expect 'traces' 0
expect_out 'labels' 'job: +sum'
run go tool pprof -list '^receiver$' "$work/few"; expect 'list' 0
expect_out 'the line' ' 50 .*bl_chan_recv'
if command -v dot >/dev/null; then
    run go tool pprof -svg -output "$work/svg" "$work/few"; expect 'svg' 0
    ok 'svg' grep -q receiver "$work/svg"
fi
ok 'waits.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/profile/waits.c" \
    "$build/libbelay.a" -lpthread -o "$work/waits"
run "$work/waits" "$work/block" "$work/mutex"; expect 'waits' 0
read -r mutex_least mutex_most lock_least lock_most <"$work/out"
delay() { # NAME LEAST MOST: of the milliseconds that waits.c has seen, NAME's row has what was not waking up
    ok "$1: $2 to $3 ms" awk -v name="$1" -v least="$2" -v most="$3" '
        $NF == name { ms = $4 + 0; if ($4 ~ /[0-9]s$/ && $4 !~ /ms$/) ms *= 1000
                      good = ms >= least - 1 && ms <= most + 1 }
        END { exit !good }' "$work/top"
}
run go tool pprof -top -cum -sample_index=contentions "$work/block"; expect 'block' 0
expect_out 'who receives' ' 4 +[0-9.]+%  receiver$'
expect_out 'who waits for the mutex' ' 2 +[0-9.]+%  holder$'
run go tool pprof -top -cum -sample_index=delay "$work/mutex"; expect 'mutex' 0
cp "$work/out" "$work/top"
delay holder "$mutex_least" "$mutex_most"
delay writer "$lock_least" "$lock_most"
run cat "$work/top"
ok 'none who only receives' bash -c "! grep -q receiver '$work/out'"
ok 'latency.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/profile/latency.c" \
    "$build/libbelay.a" -lpthread -o "$work/latency"
run env BELAY_PROCS=1 BELAY_DEBUG=schedprofile=1 "$work/latency" "$work/waited"; expect 'latency' 0
[ -s "$work/err" ] && fail 'the setting is known' 'there was a warning' || pass
run go tool pprof -top -cum -sample_index=delay "$work/waited"; expect 'latency' 0
expect_out 'they wait for those before them' ' ([0-9.]+s|[1-9][0-9]+(\.[0-9]+)?ms|[0-9]{5,}(\.[0-9]+)?us) +[0-9.]+%  hog$'
run go tool pprof -top -cum -sample_index=wakeups "$work/waited"
expect_out 'who is woken' ' receiver$'
expect_out 'each begins, and some yield to others' ' ([5-9]|[1-9][0-9]+) +[0-9.]+%  hog$'
if [ -z "$sanitize" ]; then
    run "$work/crowd" 100000 "$work/many"; expect '100,000' 0
    ok "in time: $(cat "$work/out")" awk '{ exit $1 >= 10000 }' "$work/out"
    run go tool pprof -top "$work/many"; expect_out '100,000' ' 100000 .* receiver$'
fi
finish
