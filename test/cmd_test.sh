#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The command: what it says, what it builds, how it ends. test/cmd_test.sh BUILD
#
# builds: dev
source "$(dirname "$0")/shell.sh"
belay=$build/belay
unset CC CFLAGS LDFLAGS LDLIBS BELAY_SUMMARY
# Programs of a sanitized tree: the checks here are of the command, and leave the leak check alone.
export ASAN_OPTIONS=detect_leaks=0
export TMPDIR=$work/tmp
mkdir "$TMPDIR" "$work/dir" "$work/here"
cd "$work/here" || exit 2

cat >ends.c <<'END'
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        puts(argv[i]);
    return argc > 1 ? atoi(argv[1]) : 0;
}
END
cat >dies.c <<'END'
#include <signal.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    signal(atoi(argv[argc - 1]), SIG_DFL);
    raise(atoi(argv[argc - 1]));
}
END
cat >waits.c <<'END'
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static volatile sig_atomic_t got;
static void handle(int sig) { got += sig == SIGTERM ? 1 : 100; }
int main(void)
{
    signal(SIGTERM, handle);
    signal(SIGINT, handle);
    alarm(30);
    puts("ready");
    fflush(stdout);
    while (!got)
        usleep(10000);
    usleep(200000); /* another one would count */
    return got;
}
END
cat >spawns.c <<'END'
#include <belay.h>
static int child(void *arg) { return *(int *)arg; }
static int root(void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, child, arg);
    return bl_scope_wait(s);
}
int main(void)
{
    int zero = 0;
    return bl_run(root, &zero, NULL);
}
END
cat >lines.c <<'END'
#include <belay.h>
static int hears_nobody(void *arg) { return bl_chan_recv((bl_chan *)arg, NULL); }
static int starts(void *arg)
{
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, 0, 0);
    bl_go(s, hears_nobody, c);
    if (*(int *)arg < 2)
        return bl_scope_wait(s);
    bl_chan_close(c);
    return bl_scope_wait(s);
}
int main(int argc, char **argv)
{
    (void)argv;
    return bl_run(starts, &argc, NULL);
}
END
cat >two.c <<'END'
double root_of(double);
#include <stdio.h>
int main(void) { printf("%.0f\n", root_of(VALUE)); }
END
cat >two_more.c <<'END'
#include <math.h>
double root_of(double x) { return sqrt(x); }
END
echo 'int main(void) { return missing_thing; }' >broken.c
echo text >notes.txt

# ---- Words
run "$belay"; expect 'no command' 2; expect_err 'no command: help' '^Usage: belay COMMAND'
for word in help --help -h -help; do
    run "$belay" $word; expect "$word" 0; expect_out "$word lists run" '^  run  '
done
for name in build run help version environment; do
    run "$belay" help $name; expect "help $name" 0; expect_out "help $name: example" '^Example: '
done
for name in build run; do
    run "$belay" $name --help; expect "$name --help" 0
    expect_out "$name --help: usage" "^Usage: belay $name "
done
run "$belay" version; expect version 0; expect_out version '^belay [0-9]+\.[0-9]+\.[0-9]+$'
for words in 'version extra' 'help run extra' 'version --json'; do
    read -ra words <<<"$words"
    run "$belay" "${words[@]}"; expect "a word too many: ${words[*]}" 2
    expect_err "${words[*]}" "^belay: ${words[0]} does not know what to do with ${words[-1]}; see "
done
for words in 'build' 'run' 'help' 'test' 'dump' 'top' ''; do
    run "$belay" $words ''; expect "an empty word: $words" 2
    expect_err "an empty word can be seen: $words" "''"
done
run "$belay" rnu; expect 'unknown command' 2; expect_err 'unknown command' "did you mean 'belay run'"
run "$belay" ends.c; expect 'file as command' 2
expect_err 'file as command' "did you mean 'belay run ends.c'"
run "$belay" zebra; expect 'strange command' 2; expect_err 'strange command' "'belay help' lists"
run "$belay" help buidl; expect 'help on nothing' 2
expect_err 'help on nothing' "did you mean 'belay help build'"
run "$belay" help envrionment; expect 'help on no topic' 2
expect_err 'help on no topic' "did you mean 'belay help environment'"
run "$belay" envrionment; expect 'a topic is no command' 2
expect_err 'a topic is no command' "'belay help' lists the commands\$"

# ---- Flags and files
run "$belay" run -asn ends.c; expect 'unknown flag' 2
expect_err 'unknown flag' '^belay: unknown flag -asn; did you mean -asan\?$'
run "$belay" run --rcae ends.c; expect_err 'unknown flag, two dashes' 'did you mean -race\?$'
run "$belay" build --zzzzz ends.c; expect_err 'strange flag' "'belay help build' lists the flags"
run "$belay" run ends.c -lm; expect_err "the compiler's flag" '^belay: unknown flag -lm; .* CFLAGS or LDLIBS, '
run "$belay" build ends.c -o; expect '-o without value' 2; expect_err '-o without value' '-o needs a value'
run "$belay" build -o -- ends.c; expect '-o, then --' 2
run "$belay" build -g=yes ends.c; expect 'value for none' 2; expect_err 'value for none' 'takes no value'
run "$belay" run -race -asan ends.c; expect 'race and asan' 2
run "$belay" build -x -asan -asan=false -g=1 -o plain ends.c; expect 'switches with values, as in Go' 0
ok 'the last of them counts' bash -c "! grep -q sanitize '$work/err' && grep -q -- -g3 '$work/err'"
run "$belay" run; expect 'no files' 2; expect_err 'no files' '^belay: no files; '
run "$belay" run gone.c; expect 'missing file' 2
expect_err 'missing file' '^belay: gone\.c: No such file or directory$'
run "$belay" build; expect 'build: no files' 2; expect_err 'build: no files' "'belay build hello\.c'"
run "$belay" run ends.c word; expect 'argument without --' 2
expect_err 'argument without --' '^belay: word: No such file or directory; .* behind --$'
mkfifo "$work/pipe.c" "$work/pipe_test.c"
for what in "run $work/pipe.c" "build $work/pipe.c" "test $work/pipe_test.c"; do
    # shellcheck disable=SC2086
    run timeout -s KILL 20 "$belay" $what; expect "a pipe: ${what%% *}" 2; expect_err 'a pipe' "^belay: .*/pipe.*\.c: is not a regular file\$"
done
run timeout -k 5 1 "$belay" trace "$work/pipe.c"; expect 'trace waits for a pipe, until a signal' 124
rm "$work/pipe.c" "$work/pipe_test.c"
printf '#include <belay/test.h>\nBL_TEST(a) { BL_CHECK(t, true); }\n' >a_test.c
run "$belay" run a_test.c; expect 'a file of tests' 1
expect_err 'a file of tests' "^belay: the tests of a_test\.c are run by 'belay test a_test\.c'\$"
run "$belay" run .; expect 'directory' 2; expect_err 'directory' '^belay: \.: is a directory'
run "$belay" run ends.c notes.txt; expect 'no C file' 2; expect_err 'no C file' 'notes\.txt: not a C file.* behind --'
run "$belay" build -o ends.c ends.c; expect 'overwrite' 2; expect_err 'overwrite' 'would overwrite'
run "$belay" build ends.c -- x; expect 'build with arguments' 2

# ---- Build
run "$belay" build ends.c; expect 'build' 0; ok 'build: default name' test -x ends
run "$belay" build -o "$work/dir" ends.c; expect 'build into a directory' 0
run "$belay" build -o "$work/made/" ends.c; expect 'build into a new directory' 0; ok 'it is made' test -x "$work/made/ends"
ok 'build into a directory' test -x "$work/dir/ends"
run "$belay" build -o /dev/null ends.c; expect 'build into nothing' 0
run "$belay" build -o "$work/none/of/it" ends.c; expect 'build into no directory' 1
expect_err 'build into no directory' '^belay: -o .*/none/of/it: .*/none/of/: No such file or directory$'
ok 'and the compiler is not asked' test "$(wc -l <"$work/err")" -eq 1
run "$belay" build --o=named ends.c -g; expect 'build, flags behind' 0; ok 'build: -o=' test -x named
ok 'build: -g has debug information' sh -c 'readelf -S named | grep -q debug_info'
for cc in gcc clang; do # which would make one call of the two
    command -v $cc >/dev/null || continue
    CC=$cc run "$belay" run lines.c; expect_err "$cc: the line of a call" 'lines\.c:9$'
done
run "$belay" build broken.c; expect 'compile error' 1
expect_err "compile error: the compiler's words" 'broken\.c:1:.*missing_thing'
run "$belay" build -x broken.c; expect_err '-x: the command' "^cc .* broken\.c .* -o broken$"
if grep -q '^BELAY_SANITIZE:.*=thread' "$build/CMakeCache.txt" 2>/dev/null; then
    echo 'skip -asan: this build tree is ThreadSanitizer'"'"'s'
else
    run "$belay" build -asan -x ends.c; expect '-asan' 0; expect_err '-asan' '-fsanitize=address'
    cat >later.c <<'END'
#include <belay.h>
static int add(void *n) { return bl_sleep(BL_HOUR) == BL_ECANCELED && ++*(int *)n == 3 ? 0 : BL_EIO; }
static int root(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    int n = 2;
    return bl_go(s, add, &n);
}
int main(void) { return bl_run(root, NULL, NULL); }
END
    cat >freed.c <<'END'
#include <belay.h>
#include <stdlib.h>
static int *freed;
static int reads(void *arg) { (void)arg; return *freed; }
static int root(void *arg)
{
    (void)arg;
    freed = malloc(sizeof *freed);
    free(freed);
    BL_SCOPE(s);
    return bl_go(s, reads, NULL);
}
int main(void) { return bl_run(root, NULL, NULL); }
END
    cat >exits.c <<'END'
#include <belay.h>
#include <stdlib.h>
static int exits(void *arg) { exit(arg != NULL); }
static int root(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    int *volatile kept = malloc(100 * sizeof *kept); /* nowhere but on this stack */
    bl_go(s, exits, NULL);
    int r = bl_scope_wait(s);
    free(kept);
    return r;
}
int main(void) { return bl_run(root, NULL, NULL); }
END
    cat >churns.c <<'END'
#include <belay.h>
#include <stdlib.h>
static int step(void *arg)
{
    void *volatile kept = malloc(40);
    bl_yield();
    free(kept);
    return arg != NULL;
}
static int churns(void *arg)
{
    for (;;) {
        BL_SCOPE(s);
        for (int i = 0; i < 20; i++)
            bl_go(s, step, arg);
    }
}
static int root(void *arg)
{
    for (int i = 0; i < 8; i++)
        bl_go(bl_root(), churns, arg);
    (void)!bl_sleep(100 * BL_MS);
    exit(0);
}
int main(void) { return bl_run(root, NULL, NULL); }
END
    for cc in gcc clang; do
        command -v "$cc" >/dev/null || continue
        CC=$cc "$belay" build -asan churns.c -o churns
        for _ in 1 2 3; do
            ASAN_OPTIONS=detect_leaks=1 BELAY_PROCS=8 run ./churns
            expect "-asan: $cc: nor what one has that others switch to meanwhile" 0
        done
        ASAN_OPTIONS=detect_leaks=1 CC=$cc run "$belay" run -asan exits.c; expect "-asan: $cc: what a goroutine has has not leaked" 0
        CC=$cc run "$belay" run -asan later.c; expect "-asan: $cc: a variable behind its scope" 0
        CC=$cc run "$belay" run -asan freed.c; expect_err "-asan: $cc: whose error" '^goroutine 2 \[running\]:$'
        expect_err "-asan: $cc: started where" '^	.*freed\.c:11$'
    done
    if grep -q '^BELAY_SANITIZE:[^=]*=$' "$build/CMakeCache.txt"; then # else it has but one library
        exec {lock}<"$build" # as another belay that builds there
        flock "$lock"
        last_run='belay build -asan, twice at once'
        "$belay" build -asan ends.c >"$work/out" 2>"$work/err" {lock}<&- &
        for ((i = 0; i < 3000; i++)); do
            ! grep -q 'waiting for it$' "$work/err" || break
            sleep 0.01
        done
        expect_err 'the second one waits' '^belay: another belay builds in .*; waiting for it$'
        exec {lock}<&-
        wait $!
        status=$?
        expect 'and gets on' 0
        touch "$build/libbelay.a" # newer, with nothing to be done for the other
        "$belay" build -asan ends.c >"$work/out" 2>"$work/err"
        run "$belay" build -asan ends.c
        ok 'what is built is not built again' test ! -s "$work/err"
    fi
fi
CFLAGS="-DVALUE=4.0 '-DTEXT=\"a b\"'" LDLIBS=-lm run "$belay" run -x two.c two_more.c
expect 'CFLAGS and LDLIBS' 0; expect_out 'CFLAGS' '^2$'
expect_err 'CFLAGS: quoted word' "'-DTEXT=\"a b\"'"
cat >asks.c <<'END'
//belay:cflags -DVALUE=4.0 '-DTEXT="a b"'
//belay:libs m -Wl,--as-needed
#include <math.h>
#include <stdio.h>
static const char *const text = TEXT "\
 //belay:no directive, since it does not begin its line";
int main(void) { return printf("%.0f %zu\n", sqrt(VALUE), sizeof text) < 0; }
END
run "$belay" run -x asks.c; expect 'directives' 0; expect_out 'directives: cflags' '^2 '
expect_err 'directives: libs, behind the library' 'asks\.c .*libbelay.* -lm -Wl,--as-needed'
mkdir -p below/include
echo 'enum { FOUND = 7 };' >below/include/found.h
for flag in -Iinclude '-I include'; do
    printf '//belay:cflags %s -DX\n#include <found.h>\nint main(void) { return FOUND; }\n' "$flag" >below/finds.c
    run "$belay" run below/finds.c; expect "directives: $flag, seen from the file" 7
done
CFLAGS='-UVALUE -DVALUE=9.0' run "$belay" run asks.c; expect_out 'CFLAGS overrule directives' '^3 '
printf '//belay:lbis m\r\nint main(void) { return 0; }\n' >asks_wrong.c
run "$belay" build asks_wrong.c; expect 'unknown directive' 2
expect_err 'unknown directive' '^belay: asks_wrong\.c:1: unknown directive //belay:lbis; .*mean libs\?$'
printf "//belay:cflags '-DX\n" >asks_wrong.c
run "$belay" build asks_wrong.c; expect 'open quote in a directive' 2
expect_err 'open quote in a directive' '^belay: asks_wrong\.c:1: a quote is not closed in //belay:cflags$'
CFLAGS="-D'open" run "$belay" build ends.c; expect 'open quote' 2; expect_err 'open quote' 'CFLAGS'
CC=no-such-compiler run "$belay" build ends.c; expect 'no compiler' 1
expect_err 'no compiler' '^belay: no-such-compiler: not found; .*CC'
run env CC=' ' "$belay" run ends.c; expect 'a blank CC is none' 0
CC='env FROM=env cc -DX=1' run "$belay" build -x ends.c; expect 'CC of several words' 0
expect_err 'CC of several words' '^env FROM=env cc -DX=1 '
cp ends.c -- -dash.c
run "$belay" build -o dashed ./-dash.c; expect 'file named like a flag' 0

# gcc without PATH does not say where its own parts are; belay is to know it all the same
run env -u PATH "$belay" build ends.c -o ends; expect 'no PATH' 0
run bash -c 'exec "$0" build ends.c -o ends 0<&- 1>&-' "$belay"; expect 'closed streams' 0
rm -f ends

# ---- Run
run "$belay" run ends.c -- 7 'a  b' -race --; expect 'status' 7
expect_out 'arguments: blanks' '^a  b$'; expect_out 'arguments: flags' '^-race$'
expect_out 'arguments: --' '^--$'
run "$belay" run -o kept ends.c -- 3; expect 'run -o' 3; ok 'run -o keeps it' test -x kept
run "$belay" run broken.c; expect 'run: compile error' 1
run sh -c '(ulimit -c 0; exec "$0" run dies.c -- 11)' "$belay"; expect 'SIGSEGV' 139
expect_err 'SIGSEGV: said' '^belay: dies: killed by SIGSEGV'
run sh -c '(ulimit -c 0; exec "$0" run dies.c -- 15)' "$belay"; expect 'SIGTERM' 143
run sh -c '"$0" run dies.c -- 9; exit $?' "$belay"; expect 'SIGKILL' 137; expect_err 'SIGKILL: said' 'killed by SIGKILL'
run "$belay" run spawns.c; expect 'summary' 0
expect_err 'summary' '^belay: goroutines: [0-9]+ started, [0-9]+ ended, 0 left$'
cat >exits.c <<'END'
#include <belay.h>
#include <stdlib.h>
#include <unistd.h>
static int leave(void *arg)
{
    if (fork() == 0)
        exit(0);
    (void)arg;
    exit(7);
}
int main(void) { return bl_run(leave, NULL, NULL); }
END
run "$belay" run exits.c; expect 'exit in a goroutine' 7
ok 'the summary is said once' test "$(cat "$work/err")" = 'belay: goroutines: 1 started, 0 ended, 1 left when exit was called'
BELAY_SUMMARY=0 run "$belay" run spawns.c; ok 'summary: off' test ! -s "$work/err"
cat >starts.c <<'END'
#include <belay.h>
static int nothing(void *arg) { return arg != NULL; }
int main(void) { return bl_run(nothing, NULL, &(bl_options){.stack_size = (size_t)1 << 60}) < 0; }
END
run "$belay" run starts.c; expect 'it cannot start' 1
expect_err 'and says why' '^belay: no goroutine was started: bl_run returns BL_EINVAL: bl_options.stack_size is 1152921504606846976, which is not from 0 to 268435456$'
BELAY_SUMMARY=0 run "$belay" run starts.c; expect_err 'without a summary, too' '^belay: no goroutine was started: bl_run returns '
TMPDIR=$work/none run "$belay" run spawns.c; expect 'no TMPDIR' 1
expect_err 'no TMPDIR: said' "^belay: TMPDIR is $work/none: No such file or directory; set it to "

cat >keeps.c <<'END'
#include <belay.h>
static bl_timer timer;
static int make(void *arg)
{
    (void)arg;
    bl_pipe *a, *b;
    for (int i = 0; i < 3; i++)
        (void)bl_chan_new(sizeof(int), 1);
    bl_timer_start(&timer, BL_HOUR);
    (void)bl_ctx_with_cancel(bl_ctx_current());
    if (bl_pipe_new(&a, &b) == 0)
        bl_pipe_release(a);
    return 0;
}
int main(void) { return bl_run(make, NULL, NULL); }
END
cat >clean.c <<'END'
#include <belay.h>
#include <pthread.h>
static bl_chan *before, *beside;
static void *plain(void *arg)
{
    (void)arg;
    beside = bl_chan_new(sizeof(int), 1);
    return NULL;
}
static int make(void *arg)
{
    pthread_t thread;
    bl_timer stopped = {0}, fired = {0};
    bl_pipe *a, *b;
    BL_SCOPE(s, .timeout = BL_HOUR);
    (void)arg;
    (void)bl_chan_retain(before);
    (void)bl_scope_chan(s, sizeof(int), 1);
    (void)bl_scope_chan(bl_root(), sizeof(int), 1);
    (void)bl_ticker_new(bl_root(), BL_HOUR);
    (void)bl_ctx_done(bl_ctx_current());
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    bl_chan_release(bl_chan_retain(c));
    bl_chan_release(c);
    bl_timer_start(&stopped, BL_HOUR);
    bl_timer_stop(&stopped);
    bl_timer_start(&fired, 1);
    if (bl_chan_recv(bl_timer_chan(&fired), NULL) != 0 || bl_pipe_new(&a, &b) != 0)
        return 1;
    bl_pipe_release(a);
    bl_pipe_release(b);
    bl_ctx_release(bl_ctx_with_timeout(bl_ctx_current(), BL_HOUR));
    bl_ctx_cancel(bl_ctx_with_cancel(bl_ctx_current()), 0);
    pthread_create(&thread, NULL, plain, NULL);
    pthread_join(thread, NULL);
    return 0;
}
int main(void)
{
    before = bl_chan_new(sizeof(int), 1);
    int r = bl_run(make, NULL, NULL);
    bl_chan_release(before);
    return r != 0 || bl_chan_cap(before) != 1 || bl_chan_cap(beside) != 1;
}
END
run "$belay" run keeps.c; expect 'what is left' 0
expect_err 'channels' "^belay: leak: 3 channels made by make at $PWD/keeps.c:8 were not released$"
expect_err 'a timer' "^belay: leak: 1 timer made by make at $PWD/keeps.c:9 was not stopped and had not fired$"
expect_err 'a context' "^belay: leak: 1 context made by make at $PWD/keeps.c:10 was neither cancelled nor released$"
expect_err 'a pipe' "^belay: leak: 1 pipe made by make at $PWD/keeps.c:11 was not released at both ends$"
BELAY_DEBUG=resources=0 run "$belay" run keeps.c; ok 'not if not wanted' test "$(wc -l <"$work/err")" -eq 1
BELAY_SUMMARY=0 run "$belay" run keeps.c; ok 'nor without a summary' test ! -s "$work/err"
BELAY_SUMMARY=0 BELAY_DEBUG=resources=1 run "$belay" run keeps.c; ok 'but if wanted' test "$(grep -c leak: "$work/err")" -eq 4
cat >reads.c <<'END'
#include <belay.h>
static bl_rwmutex kept, given;
static int takes(void *arg) { bl_rwmutex_rlock(arg); return 0; }
static int gives(void *arg) { bl_rwmutex_runlock(arg); return 0; }
static int reads(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, takes, &kept);
    bl_go(s, takes, &given);
    (void)bl_scope_wait(s);
    bl_go(s, gives, &given);
    return bl_scope_wait(s);
}
int main(void) { return bl_run(reads, NULL, NULL) != 0; }
END
run "$belay" run reads.c; expect 'read locks' 0
expect_err 'one that is kept' "^belay: leak: 1 goroutine started by reads at $PWD/reads.c:9 ended holding a sync.RWMutex for reading$"
ok 'and no other' test "$(grep -c leak: "$work/err")" -eq 1
cat >told.c <<'END'
#include <belay.h>
#include <unistd.h>
static int receives(void *arg) { int v; return bl_chan_recv(arg, &v); }
static int starts(void *arg) { return bl_go(arg, receives, bl_scope_chan(arg, sizeof(int), 0)); }
static int waits(void *arg) /* for the first word of the report */
{
    int ends[2], was = dup(2);
    char c;
    if (pipe(ends) != 0 || dup2(ends[1], 2) < 0)
        return 1;
    BL_SCOPE(s);
    bl_scope first;
    if (bl_scope_open(&first, NULL) != 0)
        return 1;
    bl_go(&first, starts, s);
    int r = bl_scope_close(&first) != 0 || bl_read(ends[0], &c, 1) != 1;
    return dup2(was, 2) < 0 ? 1 : r + (arg != NULL);
}
int main(void) { return bl_run(waits, NULL, NULL) != 0; }
END
run "$belay" run told.c; expect 'a leak that ends with its scope' 0
BELAY_ON_LEAK=fail run "$belay" run told.c; expect 'and that fails' 3
for procs in 1 4; do
    BELAY_PROCS=$procs run "$belay" run clean.c; expect "nothing is left, $procs" 0
    ok "and nothing is said, $procs" test "$(wc -l <"$work/err")" -eq 1
done

# A signal to belay alone, and one to its group, each reach the program once.
signal_run() { # COMMAND TO SEND IT, WITH THE PID
    : >"$work/out"
    setsid "$belay" run waits.c >"$work/out" 2>"$work/err" </dev/null &
    local pid=$! i
    for ((i = 0; i < 600; i++)); do
        grep -q ready "$work/out" && break
        sleep 0.05
    done
    last_run="$* $pid"
    "$@" "$pid"
    wait "$pid"
    status=$?
}
signal_run kill -TERM; expect 'signal to belay' 1
signal_run kill -INT; expect 'SIGINT to belay' 100
to_group() { kill -TERM -- "-$1"; }
signal_run to_group; expect 'signal to the group' 1

ok 'nothing left behind in TMPDIR' test -z "$(ls -A "$TMPDIR")"
finish
