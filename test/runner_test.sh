#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `belay test`, and the runtime of belay/test.h: test/runner_test.sh BUILD
#
# builds: dev
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
[ -x "$belay" ] || finish
case $sanitize in
*thread*) echo 'runner_test: skipped: ThreadSanitizer cannot go on after a fork'; finish ;;
esac
export BELAY_CACHE=$work/cache BELAY_GRACE=100ms BELAY_PROCS=2 ASAN_OPTIONS=detect_leaks=0 CC=$compiler
ulimit -c 0
mkdir "$work/all"
cp "$root"/test/testdata/runner/* "$work/all"

# What several checks are about, while other commands run.
keep() { cp "$work/out" "$work/said"; cp "$work/err" "$work/warned"; }

lines() { # NAME, then the lines that stdout must have in this order, others between them
    local name=$1
    shift
    printf '%s\n' "$@" >"$work/wanted"
    if awk 'NR == FNR { want[n++] = $0; next } i < n && $0 ~ want[i] { i++ } END { exit i < n }' \
        "$work/wanted" "$work/out"; then pass; else fail "$name" "not these lines in this order: $*"; fi
}

run "$belay" test "$work/all"
expect 'tests of every kind' 1
lines 'values' '^--- FAIL: values ' 'all_test.c:[0-9]+: failed: 1 . 1 == 3$' '^ +left:  2$' '^ +right: 3$' \
    'right: "b.n.t"$' 'got:    BL_ECANCELED .-125.$' 'wanted: BL_ETIMEDOUT' '1u < -1$' 'byte 2 of 3 differs' 'failed: BL_US == BL_MS$' '^ +left:  1000$'
lines 'require' '^--- FAIL: require' 'failed: one == 2$'
lines 'require aside' '^--- FAIL: aside' 'failed: arg == NULL$' 'goes on$'
lines 'leaks' '^--- FAIL: leaks' 'leak: 1 goroutine was left' 'goroutine [0-9]+ .chan receive .leaked' \
    '^ +forever$' 'created by Test_leaks in goroutine'
lines 'in the root scope' '^--- FAIL: root_left ' 'leak: 2 goroutines were left in the root scope when the test had ended:$' \
    '^ +created by start_in_root in goroutine' '^ +created by Test_root_left in goroutine'
lines 'in the root scope, beside others' '^--- FAIL: root_left_among ' 'leak: 1 goroutine was left in the root scope'
at=$(grep -n '^static int hold(' "$work/all/all_test.c" | cut -d: -f1)
lines 'holds' '^--- FAIL: holds' "all_test.c:[0-9]+: leak: the goroutine .* holding a sync.Mutex, locked at .*/all_test.c:$((at + 2))\$"
[ -n "$sanitize" ] || lines 'the crash' '^fatal error: ' '^Test_crashes$' # sanitizers say it themselves
lines 'crashes' '^--- FAIL: crashes' 'about to$' 'killed by SIGABRT$'
lines 'NULL for a function' '^fatal error: bl_subtest of nil func value$' '^no_subtest$' '^fatal error: bl_cleanup of nil func value$' '^no_cleanup$' \
    '^fatal error: bl_bubble of nil func value$' '^no_bubble$' '^--- FAIL: no_functions'
lines 'deadlock' '^fatal error: all goroutines are asleep - deadlock!$' '^--- FAIL: deadlock' 'exit status 2$'
ok 'nobody of the runner' bash -c "! grep -q '^bl__test_' '$work/err' '$work/out'"
lines 'late' '^panic: test timed out after 0.05s: late$' '^goroutine [0-9]+ .sleep' '^--- FAIL: late'
lines 'subtests' '^--- FAIL: subs ' '^    --- FAIL: subs/c ' '^        all_test.c:[0-9]+: failed$'
lines 'the one that dies beside others' '^--- FAIL: besides_crash'
lines 'a scope that is late' '^--- FAIL: scope_late' '^    belay: leak: scope "late one" .* has not stopped:$' '^ +stops_late$' 'failed: bl_scope_wait'
lines 'a ticker' '^--- FAIL: ticker_left' 'all_test.c:[0-9]+: leak: the ticker that was made here was not stopped$'
lines 'a timer' '^--- FAIL: timer_left' 'all_test.c:[0-9]+: leak: the timer that was started here was not stopped'
lines 'a function to come' '^--- FAIL: after_left' 'all_test.c:[0-9]+: leak: the timer that was started here was not stopped'
lines 'a descriptor' '^--- FAIL: descriptors_left' 'all_test.c:[0-9]+: leak: descriptor [0-9]+, which was opened here, was not closed$'
at=$(grep -n '^BL_TEST(channel_left)' "$work/all/all_test.c" | cut -d: -f1)
lines 'channels' '^--- FAIL: channel_left ' "all_test.c:$((at + 2)): leak: the channel that was made here was not released\$" "all_test.c:$((at + 5)): leak: the channel .* [(]3 of them[)]\$"
lines 'a channel beside others' '^--- FAIL: channel_left_among ' 'all_test.c:[0-9]+: leak: the channel'
lines 'a channel of a goroutine' '^--- FAIL: channel_left_by_goroutine' 'all_test.c:[0-9]+: leak: the channel'
lines 'a pipe' '^--- FAIL: pipe_left' 'all_test.c:[0-9]+: leak: of the pipe that was made here an end was not released$'
lines 'a channel of a test that has failed' '^--- FAIL: channel_failed' 'failed: bl_chan_len.c. == 1$'
lines 'a context' '^--- FAIL: context_left' 'all_test.c:[0-9]+: leak: the context that was made here was neither cancelled nor released$'
for name in lock_order lock_order_again; do
    lines "$name" "^--- FAIL: $name " 'lock order inversion: 2 goroutines' '^ +lock_down$' '^ +lock_up$'
done
lines 'a read lock' '^--- FAIL: holds_for_reading' 'leak: the goroutine .* holding a sync.RWMutex for reading$'
lines 'last' '^FAIL$' '^FAIL	.*/all	[0-9.]+s$' '^FAIL$'
keep
ok 'what a failed test did not release is not said' bash -c "sed '1,/FAIL: channel_failed/d' '$work/said' | sed '/^--- /,\$d' | grep -c leak: | grep -qx 0"
run "$belay" test -run 'channel_(left|released)_among' -count 20 "$work/all"
expect 'a channel is left beside one that is not' 1
ok 'and only that is said' test "$(grep -c '^--- FAIL: channel_left_among' "$work/out") $(grep -c '^--- FAIL' "$work/out")" = '20 20'

passes() { # PATTERN NAME…: those of these names do, of the tests like PATTERN
    run "$belay" test -v -run "^($1)\$" "$work/all"
    keep
    shift
    for name; do
        ok "$name passes" grep -q -- "^--- PASS: $name " "$work/said"
    done
}
whole=(passes after_ended root_ends cleaned timer_allowed nothing_left lock_order_allowed lock_order_up lock_order_down
    descriptors_allowed descriptors_closed channels_allowed channels_released beside last)
pattern=$(IFS='|' && echo "require|${whole[*]}")
BELAY_GRACE=1m passes "$pattern" "${whole[@]}" # what stops may take its time for that
passes 'root_left_among|root_among' root_among
passes 'channel_left_among|channel_released_among' channel_released_among
passes 'root_allowed|allowed' root_allowed allowed

mkdir "$work/bubble"
cp "$root/test/testdata/bubble/bubble_test.c" "$work/bubble"
run "$belay" test "$work/bubble"
expect 'bubbles' 1
lines 'deadlock in a bubble' '^    bubble_test.c:[0-9]+: deadlock: all goroutines in bubble are blocked$' \
    'goroutine [0-9]+ .chan receive .leaked..:$' '^ +receives$' \
    '^ +in scope "s" .*, in "stuck" [^,]*$' '^ +cause: nobody is left to send on the channel' \
    '^--- FAIL: nested' 'bl_bubble in a bubble$' 'bubble_test.c:[0-9]+: bl_parallel in a bubble$' '^--- FAIL: require' \
    'failed: bl_sleep.BL_HOUR. != 0$' '^--- FAIL: result' 'returned BL_EINVAL$' '^--- FAIL: deaf' \
    'leak: 1 goroutine was left' 'goroutine [0-9]+ .sleep .leaked..:$' '^--- FAIL: locked' 'deadlock: all goroutines in bubble' \
    'fatal error: goroutine is not in a bubble' '^--- FAIL: wait_outside'
lines 'a timer in a bubble' '^--- FAIL: timer_left' 'bubble_test.c:[0-9]+: leak: the timer that was started here was not stopped and has not fired$'
for use in 'send:send on' 'try_send:send on' 'recv:receive on' 'try_recv:receive on' 'select:select on' 'close:close of' 'timer:receive on'; do
    lines "a bubble's channel elsewhere (${use%:*})" "^fatal error: ${use#*:} a bubble's channel from outside the bubble$" \
        "^--- FAIL: escaped_${use%:*} " 'inside it was all right$' 'exit status 2$'
done
for use in 'stop:stop of a bubble.s timer' 'reset:reset of a bubble.s timer' 'ticker:reset of a bubble.s ticker' \
    'ticker_stop:stop of a bubble.s ticker' 'after:stop of a bubble.s timer' 'after_reset:reset of a bubble.s timer'; do
    lines "a bubble's timer elsewhere (${use%:*})" "^fatal error: ${use#*:} from outside the bubble$" "^--- FAIL: escaped_${use%:*} " 'exit status 2$'
done
lines "a bubble's after-func elsewhere" '^stops channel 0x[0-9a-f]+ of a timer that starts use_inside, made by escape_fn at '
lines 'a deadlock beside a ticker' '^--- FAIL: ticking' '^ +ticking_fn$'
ok 'is found before the next tick' test "$(grep -c 'failed: bl_now.. == BEGIN + BL_SEC' "$work/out")" -eq 0
ok 'a failed BL_REQUIRE ends the test too' test "$(grep -c 'not reached' "$work/out")" -eq 0
whole=(clock kinds mutex pipe real signals noisy alone spinning hour crowd spread apart watched mixture parallel order cleanup escaped_freed done last)
pattern=$(IFS='|' && echo "${whole[*]}")
BELAY_GRACE=1m run "$belay" test -cpu 1,2,8 -v -run "^($pattern)\$" "$work/bubble"
expect 'bubbles in which all is right' 0
keep
for name in "${whole[@]}"; do
    ok "the bubble of $name" test "$(grep -c "^--- PASS: $name\>" "$work/said")" -eq 3
done
run "$belay" test -cpu 1 -run order -v -seed 1 -count 3 "$work/bubble"
expect 'rounds of an order' 0
keep
ok 'each round has an order of its own' test "$(grep -Eo 'order [a-f]+' "$work/said" | sort -u | wc -l)" -ge 2
third=$(grep -Eo 'order [a-f]+' "$work/said" | tail -1)
run "$belay" test -cpu 1 -run order -v -seed 3 "$work/bubble"
expect_out 'and its seed gives it again' "$third\$"

mkdir "$work/aside" "$work/ends"
cat >"$work/aside/aside_test.c" <<'END'
#include <belay/test.h>
#include <stdio.h>
enum { MANY = 400, DEEP = 90 }; /* to print it takes longer than until the search for stuck goroutines looks */
static bl_mutex m;
static int ended;
static int lock_deep(int depth)
{
    if (depth > 0)
        return lock_deep(depth - 1) + 1;
    bl_mutex_lock(&m);
    return 0;
}
static int lock_it(void *arg)
{
    char number[12];
    snprintf(number, sizeof number, "%d", *(int *)arg);
    return bl_label("number", number) == 0 ? -lock_deep(DEEP) : BL_ENOMEM;
}
static void end_it(void *arg) { __atomic_store_n((int *)arg, 1, __ATOMIC_RELEASE); }
static void lock_twice(bl_test *t, void *arg)
{
    BL_SCOPE(s);
    bl_mutex_lock(arg);
    for (int i = 0; i < MANY; i++)
        BL_CHECK_EQ(t, bl_go_copy(s, lock_it, &i, sizeof i), 0);
    (void)bl_scope_wait(s);
}
BL_TEST(left) { bl_parallel(t); bl_cleanup(t, end_it, &ended); bl_bubble(t, lock_twice, &m); }
BL_TEST(beside)
{
    bl_parallel(t);
    while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE))
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, bl_sleep(300 * BL_MS), 0); /* longer than it takes to look for a deadlock */
}
END
for grace in 1ms 1s; do
    BELAY_GRACE=$grace CFLAGS=-O0 run "$belay" test -parallel 2 -v "$work/aside"
    lines "a deadlock in a bubble, $grace" '^--- FAIL: left' '^--- PASS: beside'
    ok "ends none that is beside it, $grace" bash -c "! grep -q 'belay: deadlock' '$work/out' '$work/err'"
done
mkdir "$work/partial"
cat >"$work/partial/partial_test.c" <<'END'
#include <belay/test.h>
static bl_mutex m;
static bool begun; /* by the first of the two, before the other begins */
static int lock_it(void *arg) { bl_mutex_lock(arg); return 0; }
BL_TEST(stuck)
{
    begun = true;
    bl_parallel(t);
    BL_SCOPE(s);
    bl_mutex_lock(&m);
    BL_CHECK_EQ(t, bl_go(s, lock_it, &m), 0);
    (void)bl_scope_wait(s);
}
BL_TEST(beside)
{
    bl_parallel(t);
    while (begun && bl_sleep(BL_MS) == 0)
        ;
}
END
run "$belay" test -v -test-timeout 60s "$work/partial"
lines "a deadlock beside a test that runs, without the runner's goroutines" '^belay: deadlock: 2 goroutines can never go on' \
    '^--- FAIL: stuck' '^--- PASS: beside'
cat >"$work/ends/ends_test.c" <<'END'
#include <belay/test.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
static void end_badly(void)
{
    if (open(getenv("ENDED"), O_CREAT | O_EXCL, 0600) >= 0)
        _exit(5);
}
static int stay(void *arg)
{
    for (;;)
        pause();
    return arg != NULL;
}
BL_TEST(first) { BL_CHECK_EQ(t, atexit(end_badly), 0); }
BL_TEST(leaves) { BL_CHECK_EQ(t, bl_go(bl_test_scope(t), stay, NULL), 0); }
BL_TEST(after) {}
END
ENDED=$work/ended run "$belay" test -v "$work/ends"
lines 'a bad end that does not come again' '^--- FAIL: leaves' '^FAIL: the test program ended badly after its tests: exit status 5$' '^--- PASS: after'

run "$belay" test -cpu 1,3 "$root/test/testdata/plain"
expect 'tests outside of runs' 1
lines 'plain tests' '^--- FAIL: goroutine_fails' 'plain_test.c:[0-9]+: failed: arg is "in a goroutine"$' '^--- FAIL: thread_fails' \
    'failed: arg == NULL$' '^--- FAIL: checks' 'failed: arg is "in a goroutine"$' 'left:  "of a run"$' '^cleaned up$' '^--- FAIL: requires' \
    '^--- FAIL: requires_as_main' 'failed: arg == NULL$' 'failed: "the child" is "another"$' '^--- FAIL: child' 'a process that it has forked$' '^--- FAIL: crashes' \
    'about to$' 'killed by SIGABRT$' '^--- FAIL: late' '^--- FAIL: no_subtests' 'bl_subtest in a plain test$'
keep
ok 'each as often as asked' test "$(grep -c '^--- FAIL' "$work/said")" -eq 18
ok 'nothing behind what ends' bash -c "! grep -q 'not to be reached' '$work/said'"
run "$belay" test -v -cpu 1,3 -run 'runs|alone|skips|goroutine|last' "$root/test/testdata/plain"
keep
for name in PASS:runs PASS:alone PASS:alone_too SKIP:skips PASS:goroutine PASS:last; do
    ok "$name" test "$(grep -c -- "^--- ${name/:/: } " "$work/said")" -eq 2
done

run "$belay" test -v -run 'passes|[s]ubs/(a|c#)|last' -bench add -benchtime 50x "$work/all"
expect 'the subtests that fail are left out, and the test minds it' 1
lines 'verbose' '^=== RUN   passes$' 'all_test.c:[0-9]+: said 42$' '^--- PASS: passes .[0-9.]+s.$' '^=== RUN   subs$' \
    '^=== PAUSE subs/a_b$' '^=== CONT  subs/a_b$' '^--- FAIL: subs' '--- PASS: subs/a_b' \
    '^BenchmarkAdd-2	 +50	 +[0-9.]+ ns/op$'

run "$belay" test -run 'passes' "$work/all"
expect 'one that passes' 0
expect_out 'says ok' '^ok  	.*/all	[0-9.]+s$'
ok 'and nothing else' test "$(wc -l <"$work/out")" -eq 1
run "$belay" test -x -run passes "$work/all"
keep
ok 'what has not changed is not built again' test ! -s "$work/warned"
echo '/* changed */ int more;' >>"$work/all/helper.c"
run "$belay" test -x -run passes "$work/all"
keep
ok 'what has changed is' test -s "$work/warned"
run "$belay" test -run nothing_like_it "$work/all"
expect 'no tests to run' 0
expect_out 'is said' 'no tests to run.$'
run "$belay" test -list 'pass|last' "$work/all"
lines 'the list' '^passes$' '^last$'
run "$belay" test -shuffle 7 -v -run 'passes|last|cleaned' "$work/all"
cp "$work/out" "$work/first"
run "$belay" test -shuffle 7 -v -run 'passes|last|cleaned' "$work/all"
grep RUN "$work/first" >"$work/one"
grep RUN "$work/out" >"$work/two"
ok 'a seed repeats the order' diff "$work/one" "$work/two"
run "$belay" test -count 100 -cpu 1,4 -failfast -v -run 'passes|beside$' "$work/all"
expect 'again and again' 0
ok 'as often as asked' test "$(grep -c '^--- PASS' "$work/out")" -eq 400
mkdir "$work/until"
cat >"$work/until/until_test.c" <<'END'
#include <belay/test.h>
BL_TEST(seventh) { static int n; BL_CHECK_NE(t, ++n, 7); }
BL_TEST(passes) {}
BL_TEST(sleeps) { static int n; BL_CHECK_EQ(t, bl_sleep(350 * BL_MS), 0); BL_CHECK_NE(t, ++n, 10); }
static int order;
static int first(void *arg) { BL_CHECK_EQ(NULL, bl_sleep(BL_SEC), 0); order = order == 0 ? *(int *)arg : order; return 0; }
static void both(bl_test *t, void *arg)
{
    static int one = 1, two = 2;
    BL_SCOPE(s);
    order = 0;
    bl_go(s, first, &one);
    bl_go(s, first, &two);
    (void)bl_scope_wait(s);
    BL_CHECK_EQ(t, order, *(int *)arg);
}
BL_TEST(order_one) { int one = 1; bl_bubble(t, both, &one); }
BL_TEST(order_two) { int two = 2; bl_bubble(t, both, &two); }
END
run timeout 60 "$belay" test -until-fail -v -run 'seventh|passes' "$work/until"
expect 'until one fails' 1
ok 'in one process' test "$(grep -c '^=== RUN   seventh' "$work/out") $(grep -c '^--- PASS: passes' "$work/out")" = '7 7'
run "$belay" test -c -o "$work/until.test" "$work/until"
run timeout 60 "$work/until.test" -until-fail -v -timeout 3s -run sleeps -progress 9 9>"$work/told"
expect 'for longer than one round may take' 1
ok 'each has the whole -timeout' test "$(grep -c '^--- PASS: sleeps' "$work/out")" -eq 9
ok 'and what is done is counted anew' awk '/^[0-9]+ of 1 done/ && $1 <= 1 { n++; next } { bad = 1 } END { exit bad || n < 3 }' "$work/told"
for name in one two; do
    run timeout 60 "$belay" test -until-fail -cpu 1 -run "order_$name" "$work/until"
    expect "an order of each round's own ($name)" 1
    expect_out "its seed is told ($name)" 'the order of what was due at one instant: -seed [0-9]+$'
done
run timeout 60 "$belay" test -until-fail -run nothing_like_it "$work/until"
expect 'until one fails, of none' 0
run "$belay" test -count 99999999999999999999 "$work/until"
expect 'a number that is too big' 2
run "$belay" test -leak off -run leaks "$work/all"
expect 'leaks are not minded' 0

# With more grace than it takes to see that nobody can wake them.
mkdir "$work/stuck"
cat >"$work/stuck/stuck_test.c" <<'END'
#include <belay/test.h>
static int stay(void *arg)
{
    BL_SCOPE(s, .shield = true);
    return bl_chan_recv((bl_chan *)arg, NULL);
}
static void leave(bl_test *t, bl_scope *s)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_REQUIRE(t, bl_go(s, stay, c) == 0);
    bl_yield();
}
BL_TEST(leaves) { leave(t, bl_test_scope(t)); }
BL_TEST(leaves_in_root) { leave(t, bl_root()); }
BL_TEST(may_leave)
{
    bl_test_allow(t, BL_ALLOW_GOROUTINES | BL_ALLOW_CHANNELS);
    leave(t, bl_test_scope(t));
    leave(t, bl_root());
}
BL_TEST(later) { BL_CHECK(t, bl_sleep(BL_SEC) == 0); }
END
for flags in '-leak off' '-leak warn' '-run may_leave|later'; do
    run env BELAY_GRACE=1s "$belay" test $flags "$work/stuck"
    expect "stuck goroutines may be left ($flags)" 0
    keep
done
run env BELAY_GRACE=100ms "$belay" test -leak warn -run 'leaves' "$work/stuck"
expect 'with -leak warn they are told of' 0
lines 'with -leak warn they are told of' '^--- PASS: leaves ' 'leak: 1 goroutine was left when' '^--- PASS: leaves_in_root ' \
    'leak: 1 goroutine was left in the root scope' '^ok'
ok 'and nobody is who may' bash -c "! grep -q leak: '$work/said'"
mkdir "$work/cases"
cat >"$work/cases/cases_test.c" <<'END'
#include <belay/test.h>
#define CASES(a, b, c) BL_TEST(a) {} BL_TEST(b) {} BL_TEST(c) {}
CASES(one, two, three)
BL_TEST(four) {}
END
run "$belay" test -list . "$work/cases"
lines 'tests that a macro makes are in its order' '^one$' '^two$' '^three$' '^four$'
run env BELAY_GRACE=1s "$belay" test "$work/stuck"
expect 'and may not' 1
lines 'and may not' '^--- FAIL: leaves ' '^--- FAIL: leaves_in_root '
ok 'and the others pass' bash -c "! grep -q '^--- FAIL: may_leave\|^--- FAIL: later' '$work/out'"

run "$belay" test -json -run 'passes|crashes|subs' "$work/all"
keep
if command -v python3 >/dev/null; then
    ok 'each line is JSON' python3 -c '
import json, sys
results = {}
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e["Action"] in ("pass", "fail", "skip"):
        results[e.get("Test")] = e["Action"]
want = {"passes": "pass", "crashes": "fail", "subs": "fail", "subs/a_b": "pass", "subs/c": "fail",
        "subs/c#01": "skip", "subs/d": "pass", None: "fail"}
sys.exit(results != want and repr(results))' "$work/said"
fi

# What the program prints when the one beside it has ended belongs to the one that is under way.
mkdir "$work/late"
cat >"$work/late/late_test.c" <<'END'
#include <belay/test.h>
#include <stdio.h>
static void quick(bl_test *t, void *arg)
{
    (void)arg;
    bl_parallel(t);
}
static void slow(bl_test *t, void *arg)
{
    (void)arg;
    bl_parallel(t);
    BL_REQUIRE(t, bl_sleep(100 * BL_MS) == 0);
    fprintf(stderr, "said late\n");
    bl_fail(t);
}
BL_TEST(both)
{
    bl_subtest(t, "quick", quick, NULL);
    bl_subtest(t, "slow", slow, NULL);
}

static bl_chan *logged;
static void waits(bl_test *t, void *arg)
{
    (void)arg;
    bl_parallel(t);
    BL_REQUIRE(t, bl_chan_recv(logged, &(int){0}) == 0);
}
static void logs(bl_test *t, void *arg)
{
    (void)arg;
    bl_parallel(t);
    bl_log(t, "logged early");
    BL_REQUIRE(t, bl_chan_send(logged, &(int){0}) == 0 && bl_sleep(100 * BL_MS) == 0);
    bl_log(t, "logged late");
    BL_REQUIRE(t, bl_chan_send(logged, &(int){0}) == 0);
}
BL_TEST(three)
{
    logged = bl_scope_chan(bl_test_scope(t), sizeof(int), 0);
    bl_subtest(t, "one", waits, NULL);
    bl_subtest(t, "logs", logs, NULL);
    bl_subtest(t, "other", waits, NULL);
}
END
run "$belay" test -json -parallel 3 "$work/late"
expect 'one fails after the other has passed' 1
ok 'and what it has printed is its own' grep -q '"Test":"both/slow","Output":"said late' "$work/out"
ok 'what is logged is its own where several go on' grep -q '"Test":"three/logs","Output":"[^"]*logged late' "$work/out"

mkdir "$work/bad" "$work/none"
echo 'int x = y;' >"$work/bad/bad_test.c"
run "$belay" test "$work/bad" "$work/all" -run passes
expect 'one that does not compile' 1
expect_err "the compiler's words" 'bad_test.c:1.*error'
expect_err 'the command' '^the command was: .*bad_test.c'
expect_out 'is said' '^FAIL	.*/bad .build failed.$'
expect_out 'and the others are run' '^ok  	.*/all	'
run "$belay" test "$work/none"
expect 'no test files' 0
expect_out 'is said' '^\?   	.*/none	.no test files.$'
run "$belay" test -runn x
expect 'an unknown flag' 2
expect_err 'the nearest' 'did you mean -run\?$'
run "$belay" test "$work/missing"
expect 'no such directory' 2
run "$belay" test -timeout soon "$work/all"
expect 'a bad duration' 2
for flag in timeout:5s benchtime:'5s, or a count like 5x'; do
    run "$belay" test "-${flag%%:*}" 5 "$work/all"
    expect "-${flag%%:*} 5" 2
    expect_err 'what to write' "^belay: -${flag%%:*}=5 is not a duration like ${flag#*:}\$"
done
run "$belay" test -timeout 100ms -test-timeout 0 -run late "$work/all/..."
expect 'out of time' 1

if [ -z "$sanitize" ]; then
    cat >"$work/all/race_test.c" <<'END'
#include <belay/test.h>
static int n;
static int add(void *arg) { (void)arg; n++; return 0; }
static void add_all(bl_test *t, int all) { n = 0; BL_SCOPE(s); for (int i = 0; i < all; i++) BL_CHECK_EQ(t, bl_go(s, add, NULL), 0); }
BL_TEST(races) { add_all(t, 2); }
BL_TEST(clean) { add_all(t, 1); }
BL_TEST(again) { add_all(t, 2); }
BL_TEST_PLAIN(alone) { BL_CHECK(t, n == 7); }
END
    # Who races has the shadow of it before, and is not beside the other: ThreadSanitizer misses two
    # accesses at the same instant, which a page fault makes a long one.
    [ ! -e "$build/libbelay_race.a" ] || { # race_test builds it; not by two at a time
        run env -u CC "$belay" test -race -cpu 1 "$work/all/race_test.c"
        expect 'a race' 1
        lines 'the report' '^WARNING: DATA RACE' '^--- FAIL: races' 'race detected during execution of test'
        lines 'the same race in another test' '^--- FAIL: races' '^--- FAIL: again'
        keep
        ok 'one that is clean passes' bash -c "! grep -q 'FAIL: clean' '$work/said'"
        ok 'those that have a process to themselves are run all the same' grep -q -- '--- FAIL: alone' "$work/said"
        ok 'and a race is no bad end' bash -c "! grep -q 'ended badly' '$work/said'"
        cat >"$work/all/beside_test.c" <<'END'
#include <belay/test.h>
static long n[5];
static int steps;
static int add(void *arg) { ++*(long *)arg; return 0; }
static void pair(bl_test *t, long *x) { *x = 0; BL_SCOPE(s); for (int i = 0; i < 2; i++) BL_CHECK_EQ(t, bl_go(s, add, x), 0); }
static void together(int others)
{
    __atomic_fetch_add(&steps, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&steps, __ATOMIC_RELAXED) < others)
        bl_yield();
}
static void races(bl_test *t, void *x) { pair(t, x); }
static void passes(bl_test *t, void *x) { BL_CHECK_EQ(t, add(x), 0); }
BL_TEST(one) { bl_parallel(t); together(4); pair(t, &n[0]); together(8); }
BL_TEST(two) { bl_parallel(t); together(4); pair(t, &n[1]); together(8); }
BL_TEST(clean) { bl_parallel(t); together(4); add(&n[2]); together(8); }
BL_TEST(subs) { bl_parallel(t); together(4); bl_subtest(t, "races", races, &n[3]); bl_subtest(t, "passes", passes, &n[4]); together(8); }
END
        run env -u CC "$belay" test -race -cpu 1 -v -parallel 4 "$work/all/beside_test.c"
        expect 'races side by side' 1
        keep
        for it in 'FAIL: one' 'FAIL: two' 'PASS: clean' 'FAIL: subs' 'FAIL: subs/races' 'PASS: subs/passes'; do
            ok "races side by side: $it" grep -q -- "--- $it " "$work/said"
        done
    }
fi

finish
