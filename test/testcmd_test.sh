#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `belay test` does beside running tests: ^C, -o, the readers of its results: test/testcmd_test.sh BUILD
#
# builds: dev
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
[ -x "$belay" ] || finish
case $sanitize in
*thread*) echo 'testcmd_test: skipped: ThreadSanitizer cannot go on after a fork'; finish ;;
esac
export BELAY_CACHE=$work/cache BELAY_GRACE=100ms BELAY_PROCS=2 ASAN_OPTIONS=detect_leaks=0 CC=$compiler
ulimit -c 0
cp -r "$root"/test/testdata/testcmd/* "$work"
cd "$work" || exit 2

# ---- ^C ----

await() { # REGEX: waits until stdout has a line like it
    for ((i = 0; i < 3000; i++)); do
        grep -qE -- "$1" "$work/out" && return 0
        sleep 0.01
    done
    fail "$last_run" "it did not print $1"
}

interrupt() { # group|process REGEX N FLAGS…: ^C after that line, N times, as a terminal or as kill(1) does it
    local to=$1 line=$2 n=$3
    shift 3
    last_run="belay test $* ./stop"
    mkdir -p "$work/tmp"
    : >"$work/out" # what the run before has printed is not to be seen
    env --default-signal=INT TMPDIR="$work/tmp" setsid "$belay" test "$@" ./stop >"$work/out" 2>"$work/err" &
    local pid=$! at=$!
    [ "$to" = process ] || at=-$pid
    await "$line"
    kill -INT -- $at
    [ "$n" -eq 1 ] || { await '^interrupted$'; sleep 0.15; kill -INT -- $at; }
    wait $pid
    status=$?
}

for to in group process; do
    interrupt $to '^slow began$' 1 -v
    expect "^C ends it as a signal does ($to)" 130
    expect_out 'those that ran' '^		slow \([0-9.]+s\)$'
    expect_out 'what became of all' '^interrupted: 1 passed, 0 failed, 0 skipped, 3 not run to the end$'
    ok 'none began after it' bash -c "! grep -qE 'deaf began|after began|--- FAIL' '$work/out'"
    ok 'and the cleanups have run' bash -c "! ls '$work'/tmp/belay-test-* 2>/dev/null"
done
interrupt group '^slow began$' 1 -v -junit stop.xml
ok 'and -junit has who ran as failed' grep -q 'name="slow" time="[0-9.]*"><failure message="Failed" type="">interrupted$' stop.xml
interrupt group '^deaf began$' 1 -v -run deaf
expect 'one that does not listen is ended' 130
expect_out 'and counted' '^interrupted: 0 passed, 0 failed, 0 skipped, 1 not run to the end$'
no_tests_run() { # their words are those of the command, so they are known by their program
    ! readlink /proc/[0-9]*/exe 2>/dev/null | grep -q "^$work/cache/"
}

for to in group process; do
    interrupt $to '^deaf began$' 2 -v -run deaf
    expect "the second ^C kills ($to)" 130
    ok 'without a summary' bash -c "! grep -q '^interrupted:' '$work/out'"
    for ((i = 0; i < 3000; i++)); do # the kernel ends the children, in its own time
        no_tests_run && break
        sleep 0.01
    done
    ok 'and leaves no process' no_tests_run
done

# ---- -c and -o ----

run "$belay" test -c ./ends
expect 'compiled only' 0
run ./ends_test.test -test.run 'passes|skips' -test.v
expect 'the program runs by itself' 0
expect_out 'with flags as Go has them' '^--- SKIP: skips'
if [ -w /dev/full ]; then
    run ./ends_test.test -run passes -junit /dev/full
    expect 'results that cannot be written' 1
    expect_err 'are told of' '^belay: /dev/full cannot be written: No space left on device$'
fi
run "$belay" test -c -o kept/ ./ends ./stop
expect 'compiled into a directory' 0
ok 'both are there' test -x kept/ends_test.test -a -x kept/stop_test.test
run "$belay" test -o alone -run passes ./ends
expect '-o runs it as well' 0
ok 'and keeps it' test -x alone
run "$belay" test -o alone ./ends ./stop
expect 'two programs in one file' 2
expect_err 'is refused' 'alone: 2 test programs need a directory$'
mkfifo special
cat special >got &
run "$belay" test -c -o special ./ends
expect 'a program into what is no file' 0
ok 'which stays what it is' test -p special
wait $!
ok 'and gets it' cmp -s got ends_test.test
run "$belay" test -junti x
expect_err 'the nearest flag' 'did you mean -junit\?$'
run "$belay" test -junit
expect_err 'a flag without its value' '^belay: -junit needs a value'
if [ -w /dev/full ]; then
    run bash -c "'$belay' test -run passes ./ends >/dev/full"
    expect 'results that are lost' 1
    expect_err 'are no success' '^belay: standard output cannot be written$'
fi
run "$belay" test -race -race=false -json=true -json=0 -x=false -x -run 'passes|skips' ./ends
expect 'switches with values, as in Go' 0
ok 'the last of them counts' bash -c "grep -q '^ok' '$work/out' && ! grep -q sanitize '$work/err'"
run "$belay" test -race=yes ./ends; expect 'another value' 2
expect_err 'another value' '^belay: -race takes no value, but true or false$'
run "$belay" test -count many ./ends ./allocs
expect 'a value that the tests do not take' 2
expect_err 'is named once' '^belay: -count=many is not a number$'
ok 'and nothing ran' test ! -s "$work/out" -a "$(wc -l <"$work/err")" -eq 1
cat >ub_test.c <<'END'
#include <belay/test.h>
BL_TEST(overflows)
{
    volatile int most = 2147483647;
    most = most + 1;
}
BL_TEST(adds) { BL_CHECK(t, true); }
END
run "$belay" test -ubsan -v ./ub_test.c
expect 'undefined behaviour' 1
expect_out 'fails its test' '^--- FAIL: overflows '
expect_out 'and no other' '^--- PASS: adds '
expect_out 'with a traceback' '^Test_overflows$'
cat >ended_test.c <<'END'
#include <belay/test.h>
static int *frame;
static int ends(void *arg)
{
    int own = 1;
    (void)arg;
    frame = &own;
    return own - 1;
}
BL_TEST(reads_a_frame)
{
    BL_CHECK_EQ(t, bl_go(bl_test_scope(t), ends, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(bl_test_scope(t)), 0);
    bl_log(t, "%d", *frame);
}
END
run "$belay" test -asan -cpu 1 ./ended_test.c
expect 'the stack of a goroutine that has ended' 1
expect_out 'is not to be used' '^--- FAIL: reads_a_frame '
cat >leaky_test.c <<'END'
#include <belay/test.h>
#include <stdlib.h>
BL_TEST(frees) { free(malloc(30)); BL_CHECK(t, true); }
BL_TEST(loses) { void *volatile p = malloc(40); p = NULL; BL_CHECK(t, p == NULL); }
BL_TEST(loses_beside) { bl_parallel(t); void *volatile p = malloc(50); p = NULL; BL_CHECK(t, p == NULL); }
BL_TEST(frees_beside) { bl_parallel(t); free(malloc(60)); BL_CHECK(t, true); }
END
run env ASAN_OPTIONS=detect_leaks=1 "$belay" test -asan -list . ./leaky_test.c
expect "-asan: the list leaks nothing" 0
run env ASAN_OPTIONS=detect_leaks=1 "$belay" test -asan ./leaky_test.c
expect 'memory that nobody has any more' 1
expect_out 'fails its test' '^--- FAIL: loses '
expect_out 'fails its test, also beside others' '^--- FAIL: loses_beside '
ok 'and no other' bash -c "! grep -q 'FAIL: frees\|FAIL: the test program' '$work/out'"
mkdir empty
run "$belay" test -cpu 1,x ./empty
expect 'a value, and nothing to run' 2
expect_err 'is looked at first' '^belay: -cpu=1,x is not numbers of processors like 1,2,4$'
run "$belay" test -cuont=2 ./empty
expect_err 'a flag that is misspelt' '^belay: unknown flag -cuont=2; did you mean -count\?$'
run "$belay" test -v -run 'crashes/not well' ./ends
expect_out 'blanks of a name in a pattern' '^    --- FAIL: crashes/not_well'

# ---- Two programs in a directory ----

mkdir two
cp ends/ends_test.c two
printf '#include <belay/test.h>\nBL_TEST(other) { BL_CHECK(t, true); }\n' >two/other_test.c
run "$belay" test -run other ./two
expect_out 'tests in one of two programs are tests' '^ok  	./two	[0-9.]+s$'
run "$belay" test -run nobody ./two
expect_out 'tests in neither' '^ok  	./two	[0-9.]+s \[no tests to run\]$'
run "$belay" test -v -run nobody ./two
expect_out 'also with -v' '^ok  	./two	[0-9.]+s \[no tests to run\]$'
run "$belay" test -failfast -v -run 'passes|fails|other' ./two
expect '-failfast' 1
ok 'ends with the first program that fails' bash -c "! grep -q other '$work/out'"
run "$belay" test -short -v -run fails ./ends
expect_out '-short is known to the tests' 'short: yes$'

# ---- Names, patterns, and what tests do to their process ----

mkdir odd
cat >odd/odd_test.c <<'END'
#include <belay/test.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void sub(bl_test *t, void *arg) { BL_CHECK(t, arg == NULL); }
BL_TEST(names)
{
    const char *const names[] = {"", "", "x", "x", "x#01", "bell\a", "b"};
    for (int i = 0; i < 7; i++)
        bl_subtest(t, names[i], sub, NULL);
}
BL_TEST(fails)
{
    bl_subtest(t, "first", sub, "");
    bl_subtest(t, "second", sub, NULL);
}
static int adds(void *arg) { return ++*(int *)arg, 0; }
static void waits(void *arg) { BL_CHECK_EQ(NULL, bl_scope_wait(bl_test_scope(NULL)), *(int *)arg); }
BL_TEST(joins)
{
    static int n, cancelled = BL_ECANCELED;
    for (int i = 1; i < 4; i++) {
        BL_CHECK_EQ(t, bl_go(bl_test_scope(t), adds, &n), 0);
        BL_CHECK_EQ(t, bl_scope_wait(bl_test_scope(t)), 0);
        BL_CHECK_EQ(t, n, i);
    }
    bl_cleanup(t, waits, &cancelled);
}
static int joins_in_bubble(void *arg)
{
    int n = 0;
    BL_CHECK_EQ(NULL, bl_go(bl_test_scope(NULL), adds, &n), 0);
    return arg != NULL || bl_scope_wait(bl_test_scope(NULL)) != 0 || n != 1 ? BL_EINVAL : 0;
}
static void waits_for_the_end(bl_test *t, void *arg)
{
    (void)arg;
    bl_parallel(t);
}
BL_TEST(joins_beside_subtests)
{
    bl_subtest(t, "one", waits_for_the_end, NULL);
    bl_subtest(t, "two", waits_for_the_end, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(bl_test_scope(t)), 0);
}
BL_TEST(golden) { BL_CHECK(t, bl_golden(t, "a/b/c", "text", 4)); }
BL_TEST(joins_bubble) { bl_bubble(t, joins_in_bubble, NULL); }
BL_TEST(forks)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        BL_REQUIRE_EQ(t, 1, 2);
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK_EQ(t, status, 1 << 8);
}
BL_TEST(prints) { printf("no end"); }
static void sleeps(bl_test *t, void *arg) { BL_CHECK_ERR(t, bl_sleep(BL_MIN), arg == NULL ? BL_ECANCELED : 0); }
BL_TEST(terminates)
{
    raise(SIGTERM);
    bl_subtest(t, "then", sleeps, NULL);
}
static bl_mutex lock;
BL_TEST(holds) { bl_mutex_lock(&lock); }
BL_TEST(closes)
{
    for (int fd = 0; fd < 20; fd++)
        close(fd);
    BL_CHECK(t, bl_failed(t));
}
END
run "$belay" test -v -run names ./odd
expect_out 'subtests without names' '^    --- PASS: names/#01 '
expect_out 'of one name' '^    --- PASS: names/x#01#01 '
expect_out 'and what cannot be printed' '^    --- PASS: names/bell.x07 '
picks() { # PATTERN, the subtests that are run
    run "$belay" test -v -run "$1" ./odd
    ok "-run $1" test "$(sed -n 's/^=== RUN   \(.*\/.*\)$/\1/p' "$work/out" | paste -sd ' ')" = "$2"
}
picks 'names/^b$|fails/sec' 'names/b fails/second'
picks '(names|fails)/^(b|second)$' 'names/b fails/second'
picks 'names/#\d\d$' 'names/#00 names/#01 names/x#01 names/x#01#01'
picks 'fails/nobody' ''
expect_out 'subtests that there are none of' 'no tests to run.$'
run "$belay" test -v -run joins_bubble -skip '' -bench= -fuzz= -list= ./odd
expect 'patterns that are empty' 0
expect_out 'are as none: nothing is left out' '^--- PASS: joins_bubble '
ok 'and nothing else is done' bash -c "! grep -q 'fuzz' '$work/out' '$work/err'"
run "$belay" test -v -run joins_bubble -v=0 ./odd
ok 'the last of two switches counts' test "$(wc -l <"$work/out")" -eq 1
run "$belay" test -v -failfast -run fails ./odd
ok '-failfast keeps subtests from beginning' bash -c "! grep -q second '$work/out'"
run "$belay" test -v -run joins ./odd
expect 'a test waits for its scope' 0
run "$belay" test -update -run golden ./odd
ok 'golden files in folders are written' grep -q text odd/testdata/a/b/c.golden
printf 'teXt\nmore\n' >odd/testdata/a/b/c.golden
run "$belay" test -run golden ./odd
expect 'one that differs' 1
expect_out 'what there is' '^ +got:    "text"$'
expect_out 'and what is wanted' '^ +wanted: "teXt.n"$'
printf text >odd/testdata/a/b/c.golden
run "$belay" test -v -run forks ./odd
expect 'what fails in a child' 1
expect_out 'is printed' '^    odd_test.c:[0-9]+: failed: 1 == 2$'
expect_out 'and fails the test' '^    a check failed in a process that it has forked$'
run "$belay" test -v -run closes ./odd
expect_out 'results come through though the test closes all' '^--- FAIL: closes '
run "$belay" test -json -run prints ./odd
expect_out 'a line that is left open' '"Output":"no end"'
expect_out 'hides no result' '"Action":"pass","Package":"./odd","Test":"prints"'
run "$belay" test -run 'terminates|golden' ./odd
expect 'a signal that tells all to stop, from a test' 1
expect_out 'is the end of that test' '^    the test program ended in it: by a SIGINT or SIGTERM$'
ok 'and of no other' test "$(grep -c '^--- FAIL' "$work/out")" -eq 1
run "$belay" test -leak off -run holds ./odd
ok '-leak off says nothing of locks' bash -c "! grep -q 'leak:' '$work/out' '$work/err'"
run "$belay" test -list 'na|jo' ./odd
expect_out '-list has the names, and the line of each directory' '^ok  	./odd	'

# ---- Without a home: a folder of the user's own in TMPDIR, and none that another could put a program into

mkdir "$work/shared" homeless
printf '#include <belay/test.h>\nBL_TEST(passes) {}\n' >homeless/homeless_test.c
homeless() { run env -u HOME -u XDG_CACHE_HOME -u BELAY_CACHE TMPDIR="$work/shared" "$belay" test homeless; }
homeless; expect 'no home' 0
folder=$work/shared/belay-cache-$(id -u)
ok 'nobody else can write there' test "$(stat -c %a "$folder")" = 700
chmod 777 "$folder"
homeless; expect 'a folder of everybody' 1
expect_err 'a folder of everybody' 'belay-cache-[0-9]+: others can write to it; BELAY_CACHE names another place$'
rm -r "$folder"
ln -s "$work/cache" "$folder"
homeless; expect 'a link that somebody has put there' 1

# ---- Misspelt variables: by the command, once, since the output of programs that pass is not shown

for flags in '' -v; do
    run env BELAY_CACH=/nowhere BELAY_ON_LEAKS=fail "$belay" test $flags homeless
    expect "misspelt variables $flags" 0
    ok "misspelt variables $flags: said once" test "$(cat "$work/out" "$work/err" | grep -c 'is unknown, so it is ignored')" -eq 2
    expect_err "misspelt variables $flags" '^belay: BELAY_CACH is unknown, so it is ignored; did you mean BELAY_CACHE\?$'
done
run env BELAY_PROCS=many "$belay" test -v homeless
expect_out 'processors that are no number' '^belay: BELAY_PROCS=many is not a number from 1 to '
run "$belay" test -c -o homeless.test homeless
run env BELAY_ON_LEAKS=fail ./homeless.test
ok 'a test program alone says it itself' test "$(grep -c '^belay: BELAY_ON_LEAKS is unknown' "$work/err")" -eq 1

# ---- A cache in which nothing may run

if can_unshare 'a cache without programs' -rm; then
    mkdir noexec
    # shellcheck disable=SC2016
    run env BELAY_CACHE="$PWD/noexec" unshare -rm sh -c \
        'mount -t tmpfs -o noexec none "$BELAY_CACHE" && exec "$@"' sh "$belay" test homeless
    expect 'a cache without programs' 1
    expect_out 'what helps' \
        'cannot be run: Permission denied; BELAY_CACHE names another place for programs$'
fi

# ---- Progress, on a terminal ----

mkdir slow
cat >slow/slow_test.c <<'END'
#include <belay/test.h>
#include <unistd.h>
BL_TEST(quick) { BL_CHECK(t, true); }
static void waits(bl_test *t, void *arg)
{
    for (bl_log(t, "waits"); access(arg, F_OK) != 0;)
        (void)!bl_sleep(10 * BL_MS);
}
BL_TEST(waits) { (void)bl_subtest(t, "for file", waits, "go"); }
END
last_run='belay test ./slow'
"$belay" test ./slow >piped 2>&1 &
script -qefc "'$belay' test ./slow" "$work/out" >/dev/null 2>&1 </dev/null &
await 'waits/for_file'
touch slow/go
wait
tr '\r' '\n' <"$work/out" >terminal
ok 'it says what runs' grep -qE '^\./slow: 1 of 2 done; waits/for_file \([0-9]+s\)$' terminal
ok 'that is erased' grep -q $'^\e\\[K\e\\[32mok' terminal
ok 'on a terminal only' test "$(wc -l <piped)" -eq 1

# ---- Benchmarks ----

run "$belay" test -run none -bench . -benchtime 200x -benchmem ./allocs
expect 'benchmarks' 0
if [ -z "$sanitize" ]; then
    expect_out 'what one allocates' '^BenchmarkOne-2       	 +200	 +[0-9.]+ ns/op	 +48 B/op	 +1 allocs/op$'
    expect_out 'and in libc' '^BenchmarkThree-2     	.* ns/op	 +128 B/op	 +3 allocs/op$'
    expect_out 'and in goroutines' '^BenchmarkGoroutines-2	.* ns/op	 +6[0-9]{3} B/op	 +1[0-9] allocs/op$'
else
    expect_out 'or that it is not counted' '^BenchmarkOne-2       	.*not counted in this build'
fi
run "$belay" test -run none -bench . -benchtime 5x ./allocs
expect_out 'one that asks itself' '^BenchmarkOne-2.*[0-9] ns/op	.*alloc'
expect_out 'one that does not' '^BenchmarkThree-2     	 +5	 +[0-9.]+ ns/op$'
run "$belay" test -run none -bench '^BenchmarkThree$' -benchtime 5x ./allocs
expect_out 'one by the name that was printed' '^BenchmarkThree-2	 +5	'
ok 'and no other' bash -c "! grep -q BenchmarkOne '$work/out'"
head -n 3 "$work/out" | paste -sd' ' >place
ok 'where it was measured, as Go' grep -qE '^goos: linux goarch: (amd64|arm64) pkg: ./allocs$' place
run "$belay" test -run none -bench 'One|Three' -benchtime 5x -count 2 -cpu 1,2 ./allocs
ok 'in the order of Go' test "$(grep -oE '^Benchmark[A-Za-z0-9-]+' "$work/out" | paste -sd' ')" = "$(echo \
    Benchmark{One,One,One-2,One-2,Three,Three,Three-2,Three-2})"
ok 'where, once' test "$(grep -c '^goos:' "$work/out")" -eq 1

# ---- Fuzz targets ----

seed() { # TARGET NAME TEXT
    mkdir -p "fuzz/testdata/fuzz/$1"
    printf %s "$3" >"fuzz/testdata/fuzz/$1/$2"
}

run "$belay" test -v ./fuzz
expect 'targets without inputs' 0
seed checks harmless fun
mkdir fuzz/testdata/fuzz/checks/more
run "$belay" test -v -run checks ./fuzz
expect 'a seed that passes' 0
expect_out 'is a subtest' '^    --- PASS: checks/harmless '
ok 'a directory is none' bash -c "! grep -q checks/more '$work/out'"
rmdir fuzz/testdata/fuzz/checks/more
ln -s . fuzz/testdata/fuzz/checks/loop
run "$belay" test -v -run checks ./fuzz
expect 'a seed that cannot be read' 1
expect_out 'fails' 'testdata/fuzz/checks/loop: Is a directory$'
rm fuzz/testdata/fuzz/checks/loop
fuzzer=$(clang -print-file-name="libclang_rt.fuzzer_no_main-$(uname -m).a" 2>/dev/null)
if [ -n "$sanitize" ]; then
    : # its library goes with gcc's sanitizers, not with clang's
elif [ -e "$fuzzer" ]; then
    run env -u CC "$belay" test -run none -fuzz 'passes' -fuzztime 500x ./fuzz
    expect 'nothing to be found' 0
    expect_out 'says how many inputs' '^fuzz: elapsed: [0-9]+s, execs: 50[0-9] '
    run env -u CC "$belay" test -run none -fuzz 'checks|passes' ./fuzz
    expect 'two targets' 1
    expect_out 'are one too many' 'matches more than one fuzz target: checks, passes$'
    run env -u CC "$belay" test -run none -fuzz crashes -fuzztime 55s ./fuzz
    expect 'a crash' 1
    expect_out 'the input' '^    Failing input written to testdata/fuzz/crashes/[0-9a-f]{16}$'
    again=$(sed -n 's/^    belay test -run .crashes.\(.*\)\$. .*/\1/p' "$work/out")
    ok 'and it is small' test "$(cat "fuzz/testdata/fuzz/crashes/$again")" = fuz
    run "$belay" test -run "crashes/$again\$" ./fuzz
    expect 'it fails by itself, by any compiler' 1
    expect_out 'as what it is' "^    --- FAIL: crashes/$again "
    run env -u CC "$belay" test -run none -fuzz hangs -fuzztime 55s ./fuzz
    expect 'goroutines that are stuck' 1
    expect_out 'are shown' '^fatal error: all goroutines are asleep - deadlock!$'
    run env -u CC "$belay" test -run none -fuzz late -fuzztime 55s -test-timeout 300ms ./fuzz
    expect 'an input that takes too long' 1
    expect_out 'is found' '^panic: test timed out after 0.3s: late'
    expect_out 'and kept' '^    Failing input written to testdata/fuzz/late/[0-9a-f]{16}$'
    run env -u CC "$belay" test -fuzz crashes -fuzztime 1s ./fuzz
    expect 'what is known to fail comes first' 1
    ok 'and nothing is looked for' bash -c "! grep -q '^fuzz: elapsed' '$work/out'"
    run env CC=gcc "$belay" test -fuzz passes ./fuzz
    expect_err 'no libFuzzer' 'needs clang and its libFuzzer'
else
    echo 'testcmd_test: skipped: libFuzzer is not there (Debian: clang-14, libclang-rt-14-dev)'
fi

# ---- Results for others ----

mkdir bad none
echo 'int x = y;' >bad/bad_test.c
run "$belay" test -junit results.xml ./ends ./bad ./none
expect 'with -junit' 1
command -v python3 >/dev/null && ok 'it is XML, and has the results' python3 -c '
import xml.dom.minidom as dom
doc = dom.parse("results.xml")
got = {}
for case in doc.getElementsByTagName("testcase"):
    kinds = [c.tagName for c in case.childNodes if c.nodeType == c.ELEMENT_NODE]
    got[case.getAttribute("name")] = kinds[0] if kinds else "passed"
want = {"passes": "passed", "fails": "failure", "skips": "skipped", "crashes": "failure", "crashes/well": "passed",
        "crashes/not_well": "failure", "last": "passed", "[the program]": "error"}
assert got == want, got
suites = [tuple(map(s.getAttribute, ("name", "tests", "failures", "errors", "skipped")))
          for s in doc.getElementsByTagName("testsuite")]
assert suites == [("./ends/ends_test.c", "7", "3", "0", "1"), ("./bad/bad_test.c", "1", "0", "1", "0")], suites
ends = doc.getElementsByTagName("testsuite")[0]
for case in ends.getElementsByTagName("testcase"):
    said = "".join(n.data for c in case.childNodes for n in [c] + list(c.childNodes) if n.nodeType == n.TEXT_NODE)
    name = case.getAttribute("name")
    assert got[name] != "passed" or said.strip() == "", case.toxml()
    assert name not in ("fails", "skips", "crashes/not_well") or "ends_test.c:" in said, case.toxml()
    assert case.getAttribute("classname") == ends.getAttribute("name"), case.toxml()
    assert 0 <= float(case.getAttribute("time")) <= float(ends.getAttribute("time")), case.toxml()'
odd=$'odd <&"\303\244\377\355\240\200'
mkdir "$odd" && cp bad/bad_test.c "$odd"
run "$belay" test -junit odd.xml "./$odd"
expect 'with -junit, in a directory whose name is no XML' 1
command -v python3 >/dev/null && ok 'what XML cannot have is a question mark' python3 -c '
import xml.dom.minidom as dom
suite, = dom.parse("odd.xml").getElementsByTagName("testsuite")
assert suite.getAttribute("name") == "./odd <&\"\u00e4????/bad_test.c", suite.getAttribute("name")'
run "$belay" test -junit no/where.xml -run passes ./ends
expect 'a file that cannot be written' 1
expect_err 'is named' '^belay: -junit no/where.xml: No such file'
ok 'before anything is run' test ! -s "$work/out"

# ---- -args, and a main of the program's own ----

mkdir "$work/args" "$work/main" "$work/split"
cat >args/args_test.c <<'END'
#include <belay/test.h>
BL_TEST(args)
{
    for (char *const *at = bl_test_args(); *at; at++)
        bl_log(t, "given %s", *at);
}
END
run "$belay" test ./args -v -args -run 'a b' --; expect '-args' 0
for word in -run 'a b' --; do expect_out "-args: $word" ": given $word\$"; done
run "$belay" test -v ./args -args; expect '-args with none' 0; ok 'there is none' bash -c "! grep -q given '$work/out'"
run "$belay" test -c -o "$work/args.test" ./args; run "$work/args.test" -v -- x; expect_out 'run by itself' ': given x$'

echo '#include <stdio.h>
int main(void) { return puts("hello") < 0; }' >main/main.c
run "$belay" test main/main.c; expect 'a program, which has no tests' 1
expect_out 'says so' "^belay: main/main.c has a main of its own and no tests"
ok 'and is not run' bash -c "! grep -q hello '$work/out'"
echo '//belay:sources tests.c
#include <belay/test.h>
int main(int argc, char **argv) { return bl_test_main(argc, argv); }' >split/main_test.c
echo '#include <belay/test.h>
BL_TEST(elsewhere) { (void)t; }' >split/tests.c
run "$belay" test -v ./split; expect 'a main of its own' 0; expect_out 'and its tests' '^--- PASS: elsewhere'

mkdir -p leaves interrupt named/dir_test.c
echo '#include <belay/test.h>
BL_TEST(beside) { BL_CHECK(t, true); }' >named/file_test.c
run "$belay" test ./named/...
expect 'a directory that is called like a test' 0

echo '#include <belay/test.h>
#include <unistd.h>
BL_TEST(leaves_one) { if (fork() == 0) { execlp("sleep", "sleep", "20", (char *)0); _exit(1); } BL_CHECK(t, true); }
BL_TEST(leaves_copy) { if (fork() == 0) { sleep(20); _exit(0); } BL_CHECK(t, true); }' >leaves/leaves_test.c
run "$belay" test -v -timeout 15s ./leaves
expect 'a process that tests leave behind' 1
expect_out 'they have passed' '^--- PASS: leaves_copy'; expect_out 'and all of them' '^PASS$'
expect_err 'and it is told of' '^belay: ./leaves/leaves_test.c: its output is still open after its end: a process that it has started goes on$'
ok 'it is not waited for' bash -c "! grep -q 'timed out' '$work/err' '$work/out'"

echo '#include <belay/test.h>
BL_TEST(one) { BL_CHECK(t, true); }' >interrupt/interrupt_test.c
printf '%s\n' '#!/bin/sh' 'case "$*" in *interrupt_test.c*" -o "*) kill -INT "$PPID" "$(ps -o ppid= -p "$PPID")"; exit 1;; esac' 'exec cc "$@"' >interrupt/cc
chmod +x interrupt/cc
run env CC="$PWD/interrupt/cc" "$belay" test ./interrupt
expect '^C while it compiles' 130
ok 'is no error of the program' bash -c "! grep -q 'the command was' '$work/err'"
run env CC="$PWD/interrupt/cc" "$belay" test -c ./interrupt
expect '^C while it compiles and would run nothing' 130

mkdir long
echo '#include <belay/test.h>
#include <stdio.h>
BL_TEST(prints)
{
    for (int i = 0; i < 100000; i++)
        fputs("x\303\244", stdout);
    BL_CHECK(t, true);
}' >long/long_test.c
run "$belay" test -json ./long
expect 'a long line with -json' 0
command -v python3 >/dev/null && ok 'is several events' python3 -c '
import json, sys
lines = open(sys.argv[1], encoding="utf-8").readlines()
assert max(map(len, lines)) < 10000
said = "".join(e["Output"] for e in map(json.loads, lines) if e.get("Test") == "prints" and "Output" in e)
assert "x\u00e4" * 100000 in said' "$work/out"
mkdir marks
echo '#include <belay/test.h>
BL_TEST(logs)
{
    bl_log(t, "\026=== RUN   invented\n\026--- FAIL: logs (0.00s)\n\026\033[1m \026\026PASS");
}
BL_TEST(stops) { bl_fatal(t, "x\026--- PASS: stops (0.00s)"); }' >marks/marks_test.c
run "$belay" test -json ./marks
expect 'the mark of the runner in a log' 1
command -v python3 >/dev/null && ok 'is a character of it' python3 -c '
import json, sys
events = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
ends = [(e.get("Test"), e["Action"]) for e in events if e["Action"] not in ("start", "output")]
assert ends == [(n, a) for n, r in (("logs", "pass"), ("stops", "fail")) for a in ("run", r)] + [(None, "fail")], ends
said = "".join(e["Output"] for e in events if e.get("Test") == "logs" and "Output" in e)
for text in "\x16=== RUN   invented\n", "\x16--- FAIL: logs (0.00s)\n", "\x16\x1b[1m \x16\x16PASS\n":
    assert text in said, said' "$work/out"

# ---- A program whose language has a comma in its numbers

mkdir comma
echo '#include <belay/test.h>
#include <locale.h>
BL_TEST(half)
{
    BL_REQUIRE(t, setlocale(LC_ALL, "") != NULL);
    BL_CHECK_EQ(t, bl_sleep(60 * BL_MS), 0);
    bl_log(t, "%.1f", 1.5);
    BL_CHECK_EQ(t, 0.5, 0.25);
}' >comma/comma_test.c
echo '#include <belay.h>
#include <locale.h>
static int nothing(void *arg) { return arg != NULL; }
int main(void) { return setlocale(LC_ALL, "") == NULL || bl_run(nothing, NULL, NULL) < 0; }' >comma/comma.c
if localedef -i de_DE -f UTF-8 "$work/de_DE.UTF-8" 2>/dev/null; then
    run env LOCPATH="$work" LC_ALL=de_DE.UTF-8 "$belay" test -v ./comma
    expect_out 'results are as everywhere' '^--- FAIL: half \(0\.[0-9][0-9]s\)$'
    expect_out 'values too' 'left:  0\.5$'
    expect_out "and what the program says is its own" ': 1,5$'
    run env LOCPATH="$work" LC_ALL=de_DE.UTF-8 BELAY_GRACE=0.5s BELAY_SUMMARY=0 "$belay" run comma/comma.c
    expect 'a time in the environment' 0
    ok 'is known' test ! -s "$work/err"
else
    echo 'skip numbers with a comma: there are no locales to be had (Debian: locales)'
fi

if command -v gotestsum >/dev/null; then
    run gotestsum -f testname --junitfile sum.xml --raw-command -- "$belay" test -json ./ends ./bad ./none
    expect 'gotestsum' 1
    expect_out 'a test that passed' '^PASS ./ends.passes '
    expect_out 'one that failed' '^FAIL ./ends.fails '
    expect_out 'one that crashed in a subtest' '^FAIL ./ends.crashes/not_well '
    expect_out 'its parent' '^FAIL ./ends.crashes '
    expect_out 'one that was skipped' '^=== SKIP: ./ends skips '
    expect_out 'one that is not built' '^FAIL ./bad$'
    expect_out 'one without tests' '^EMPTY ./none$'
    expect_out 'and the sum' '^DONE [0-9]+ tests, 1 skipped, [0-9]+ failures'
    run gotestsum --raw-command -- "$belay" test -json -run 'passes|skips' ./ends
    expect 'gotestsum of what passes' 0
    expect_out 'says so' '^DONE 2 tests, 1 skipped'
else
    echo 'testcmd_test: skipped: gotestsum is not there (Debian: gotestsum)'
fi

finish
