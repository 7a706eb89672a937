#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The race detector: the verdicts of test/race/cases.c, with clang and gcc, the reports, the exit status
# and the options. test/race_test.sh BUILD
#
# builds: dev (the library for -race is the same in all)
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
[ -x "$belay" ] || finish

# Clangs that are there, and have no ThreadSanitizer.
mkdir "$work/bin"
for name in clang clang-14 clang-16 clang-19; do
    printf '#!/bin/sh\necho "${1#*=}"\n' >"$work/bin/$name"
    chmod +x "$work/bin/$name"
done

# Each with another number of processors; all with both is `for p in 1 4` by hand. alone: gcc's own ThreadSanitizer.
for how in clang:4 gcc:4 alone:1; do
    name=${how%:*} procs=${how#*:} cc=$name path=$PATH
    [ $name = alone ] && cc=gcc path=$work/bin:$PATH
    command -v $cc >/dev/null || continue
    run env CC=$cc PATH="$path" CFLAGS=-Wall "$belay" build -race -o "$work/cases.$name" "$root/test/race/cases.c"
    expect "$name: builds" 0
    run env BELAY_PROCS=$procs "$work/cases.$name"
    expect "$name: verdicts at $procs procs" 0
    expect_out "$name: verdicts" '^[0-9]+ racy and [0-9]+ clean, 0 wrong$'
    cases=$work/cases.$name
done

# One after the other: ThreadSanitizer may miss two accesses at literally the same instant, and what is asked from here
# on is how a race is reported.
export BELAY_PROCS=1
run "$cases" siblings; expect 'exit status' 66
expect_err 'report: head' '^WARNING: DATA RACE$'
expect_err 'report: access' '^(Write|Read) at 0x[0-9a-f]+ by goroutine [23]:$'
expect_err 'report: the other access' '^Previous (write|read) at 0x[0-9a-f]+ by goroutine [23]:$'
expect_err 'report: function' '^  toucher\(\)$'
expect_err 'report: place' '^      .*singles\.h:[0-9]+ \+0x[0-9a-f]+$'
expect_err 'report: origin' '^Goroutine [23] \((running|finished)\) created at:$'
expect_err 'report: who started it' '^  siblings\(\)$'
expect_err 'report: count' '^Found 1 data race\(s\)$'
expect_err 'report: variable' '^Variable shared$'
run "$cases" after_func_beside
ok 'report: who started what a time has begun' bash -c "sed -n '/^Goroutine 2 .* created at:$/,/^$/p' '$work/err' | grep -A1 '^  after_func_beside()$' | grep -q 'singles[.]h:[0-9]*$'"
run "$cases" pool_jobs_in_turn
expect_err 'report: two jobs that one goroutine has run' '^Previous write at 0x[0-9a-f]+ by goroutine [0-9]+, in another job:$'
run "$cases" thread_beside
expect_err 'report: a thread' '^(Previous w|W|Previous r|R).* by thread [0-9]+:$'
expect_err 'report: its origin' '^Thread [0-9]+ \((running|finished)\) created at:$'
expect_err 'report: who made it' '^  thread_beside\(\)$'
run "$cases" block_read_and_written
expect_err 'report: block' '^Block of 4 bytes at 0x[0-9a-f]+ allocated by main goroutine:$'
expect_err 'report: call of libc' '^  calloc\(\)$'
run "$cases" map_set_set
ok "report: who made a map" bash -c "sed -n '/^Block of/,/^$/p' '$work/err' | grep -q '^  map_two()$'"
run "$cases" mutex_overwritten; expect_err 'report: the call' '^  bl_mutex_(lock|unlock)\(\)$'
for way in pipe_write_overwritten:bl_pipe_write:pipe_write_offered read_into_shared:bl_read:read_user \
    received_into_shared:bl_recvfrom:recvfrom_user written_from_shared:bl_write:write_user \
    sent_from_shared:bl_sendto:sendto_user cond_overwritten:bl_cond_signal:cond_user \
    timer_overwritten:bl_timer_stop:timer_user sem_made_in_use:bl_sem_release:sem_user; do
    IFS=: read -r case call caller <<<"$way"
    run "$cases" "$case"
    ok "report: the place of $call" bash -c "grep -A2 '^  $call()$' '$work/err' | grep -q '^  $caller()$'"
done
run "$cases" join; expect 'clean' 0
ok 'clean: says nothing' test ! -s "$work/err"
run env BELAY_RACE=exitcode=7 "$cases" siblings; expect 'exitcode' 7
run env BELAY_RACE='halt_on_error=1 exitcode=9' "$cases" siblings; expect 'halt_on_error' 9
run env BELAY_RACE=log_path="$work/log" "$cases" siblings
ok 'log_path' grep -q 'WARNING: DATA RACE' "$work"/log.*
ok 'log_path: not stderr' test ! -s "$work/err"
run env BELAY_RACE=log_path="$work/none/log" "$cases" siblings; expect 'log_path that cannot be' 66
expect_err 'log_path that cannot be: said' "^belay: BELAY_RACE=log_path=$work/none/log: the file cannot be written: no such file or directory; "
expect_err 'log_path that cannot be: the report' 'WARNING: DATA RACE'
ok 'log_path that cannot be: said once' test "$(grep -c log_path= "$work/err")" -eq 1
run env BELAY_RACE='exitcode=x history_size=x garbage exitcode=256' "$cases" siblings
expect 'options that are none: it runs, and the race counts' 66
expect_err 'options that are none: the report' 'WARNING: DATA RACE'
expect_err 'options that are none: said' '^belay: BELAY_RACE: exitcode=x is not a number from 0 to 255, so it is ignored$'
expect_err 'too great an exitcode: said' '^belay: BELAY_RACE: exitcode=256 is not a number from 0 to 255, so it is ignored$'
expect_err 'a history that is none: said' '^belay: BELAY_RACE: history_size=x is not a number, so it is ignored$'

# What the kernel says of the parent's stacks says nothing of a child's.
cat >"$work/forks.c" <<'END'
#include <belay.h>
#include <sys/wait.h>
#include <unistd.h>
static __attribute__((noinline)) int below(int depth)
{
    volatile char frame[2000];
    frame[0] = (char)depth;
    return depth > 0 ? below(depth - 1) : frame[0];
}
static int deep(void *arg)
{
    int depth = *(int *)arg;
    return below(depth);
}
static int crowd(void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 2000; i++)
        if (bl_go_copy(s, deep, arg, sizeof(int)) < 0)
            return 1;
    return bl_scope_wait(s);
}
int main(void)
{
    int depth = 0, status = 1;
    if (bl_run(crowd, &depth, NULL) != 0)
        return 1;
    depth = 40;
    pid_t pid = fork();
    if (pid == 0)
        return bl_run(crowd, &depth, NULL);
    return waitpid(pid, &status, 0) != pid || status != 0;
}
END
run "$belay" run -race "$work/forks.c"; expect 'clean: stacks that are used again by a child' 0

if command -v gcc >/dev/null; then
    mkdir "$work/two"
    for name in a b; do
        printf '#include <belay/test.h>\nBL_TEST(passes) { BL_CHECK(t, true); }\n' >"$work/two/${name}_test.c"
    done
    run env -u CC PATH="$work/bin:$PATH" BELAY_CACHE="$work/cache" "$belay" test -race "$work/two"
    expect 'a clang without ThreadSanitizer' 0
    ok 'is told, once' test "$(grep -c '^belay: -race: clang has no ThreadSanitizer .*so cc builds' "$work/err")" -eq 1
fi

if command -v g++ >/dev/null; then
    cat >"$work/cxx.c" <<'END'
#include <belay.h>
static int root(void *)
{
    try {
        throw 1;
    } catch (int) {
        return 0;
    }
}
int main() { return bl_run(root, nullptr, nullptr); }
END
    run env CC=g++ "$belay" run -race "$work/cxx.c"; expect 'g++' 0
fi

# A clang that knows which local variables are its own is let find out: it need not tell of all.
if command -v clang >/dev/null; then
    mkdir "$work/new"
    printf '#!/bin/sh\n[ "$1" = -dumpversion ] && echo "$VERSION" && exit\nexec clang "$@"\n' >"$work/new/cc"
    chmod +x "$work/new/cc"
    for version in 20.1.8:1 21.1.0:0; do
        run env CC="$work/new/cc" VERSION=${version%:*} "$belay" build -race -x -o "$work/two/a" "$root/examples/timeout.c"
        ok "clang $version" test "$(grep -c capture-tracking "$work/err")" -eq ${version#*:}
    done
fi

# Many that are alive, in half a gigabyte; and what a fiber takes (src/os/race_map.c).
cat >"$work/many.c" <<'END'
#include <belay.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
static bl_chan *stop;
static int wait_stop(void *arg)
{
    (void)arg;
    return bl_chan_recv(stop, NULL) == BL_ECLOSED ? 0 : 1;
}
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}
static int many(void *n)
{
    BL_SCOPE(s);
    stop = bl_scope_chan(s, 0, 0);
    for (int i = atoi(n); i > 0; i--)
        if (bl_go(s, wait_stop, NULL) < 0)
            return 1;
    bl_yield();
    bl_chan_close(stop);
    return bl_scope_wait(s);
}
static int singles(void *n)
{
    for (int i = atoi(n); i > 0; i--) {
        BL_SCOPE(s);
        bl_go(s, nothing, NULL);
    }
    return 0;
}
static long resident(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    (void)!fscanf(f, "%*d %ld", &pages);
    fclose(f);
    return pages * 4;
}
/* Each as big as clang's stack of calls, with its header. */
static int blocks(void *n)
{
    static void *all[200];
    size_t each = (512 << 10) - 4096;
    int many = atoi(n);
    for (int i = 0; i < many; i++)
        all[i] = memset(malloc(each), 1, each);
    long used = resident();
    for (int i = 0; i < many; i++)
        free(all[i]);
    return used - resident() < many * 400;
}
int main(int argc, char **argv)
{
    struct rusage before, after;
    if (argc < 3)
        return 2;
    getrusage(RUSAGE_SELF, &before);
    int r = bl_run(argv[2][0] == 's' ? singles : argv[2][0] == 'b' ? blocks : many, argv[1], NULL);
    getrusage(RUSAGE_SELF, &after);
    printf("%ld faults %ld kB\n", after.ru_minflt - before.ru_minflt, after.ru_maxrss - before.ru_maxrss);
    return r;
}
END
if command -v clang >/dev/null; then
    for cc in clang gcc; do # gcc's code with clang's runtime
        run env CC=$cc "$belay" build -race -o "$work/many" "$work/many.c"
        run "$work/many" 20000 alive; expect "$cc: 20,000 goroutines" 0
        run "$work/many" 4000 singles; expect "$cc: one by one" 0
        ok "$cc: a fiber has the stack of calls of the one before" test "$(cut -d' ' -f1 "$work/out")" -lt 3000
        run "$work/many" 100 blocks; expect "$cc: the program's blocks go with their free" 0
    done
fi
run env CC=gcc PATH="$work/bin:$PATH" "$belay" build -race -o "$work/gcc" "$work/many.c"
run "$work/gcc" 500 alive; expect 'gcc: 500 goroutines' 0
ok 'gcc: and not 770 kB each' test "$(cut -d' ' -f3 "$work/out")" -lt 200000
run "$work/gcc" 100 blocks; expect "gcc: the program's blocks go with their free" 0
if [ -n "${BELAY_TEST_LONG:-}" ]; then # seconds, and gigabytes of address space
    run "$work/gcc" 8500 alive; expect 'gcc: too many goroutines' 2
    expect_err 'gcc: too many goroutines' 'more than 8000 goroutines under the race detector.*clang'
fi
# What ThreadSanitizer has reported a race for it looks at no more, for reads; the next test is another.
cat >"$work/again_test.c" <<'END'
#include <belay/test.h>
static int word;
static int set(void *arg)
{
    (void)arg;
    word = 1;
    return 0;
}
static void read_beside(bl_test *t)
{
    BL_REQUIRE(t, bl_go(bl_test_scope(t), set, NULL) == 0);
    BL_REQUIRE(t, bl_sleep(2 * BL_MS) == 0);
    BL_CHECK_GE(t, word, 0);
}
BL_TEST(reads) { read_beside(t); }
BL_TEST(reads_too) { read_beside(t); }
END
for cc in clang gcc; do
    command -v $cc >/dev/null || continue
    run env CC=$cc "$belay" test -race -count=2 -cpu 1,4 "$work/again_test.c"
    ok "$cc: each test that reads beside a write fails, each time" test "$(grep -c '^--- FAIL: reads' "$work/out")" -eq 8
done
cat >"$work/short.c" <<'END'
#include <belay.h>
#include <errno.h>
#include <stdlib.h>
static int shared;
char *__wrap_strdup(const char *s) { return (char *)s; }
static int add(void *arg)
{
    (void)arg;
    errno = 77;
    shared++;
    if (errno != 77) /* of the report */
        abort();
    return 0;
}
static int two(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, add, NULL);
    bl_go(s, add, NULL);
    return bl_scope_wait(s);
}
int main(void) { return bl_run(two, NULL, NULL); }
END
run env CC=gcc LDFLAGS=-Wl,--wrap=strdup "$belay" run -race "$work/short.c"; expect "belay run -race, of a program with a wrap of strdup's" 66
finish
