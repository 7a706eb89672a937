/* SPDX-License-Identifier: MIT */
#include "help.h"

#include "util.h"

#include <string.h>

static const char overview[] =
    "belay builds and runs C programs with goroutines.\n"
    "\n"
    "Usage: belay COMMAND [FLAGS] [FILES]\n"
    "\n"
    "  build        compile and link a program\n"
    "  run          the same, run it, and say which goroutines it left behind\n"
    "  test         build and run tests: *_test.c\n"
    "  dump         print every goroutine of a running program\n"
    "  profile      count the goroutines of a running program by what they do\n"
    "  trace        convert what BELAY_TRACE recorded for https://ui.perfetto.dev\n"
    "  top          show the goroutines of a running program in a live table\n"
    "  help         explain a command ('belay help run') or the environment\n"
    "               ('belay help environment')\n"
    "  version      print the version\n"
    "\n"
    "Try: belay run hello.c\n";

#define FLAGS_TEXT                                                                                 \
    "  -asan        find memory errors: AddressSanitizer and UndefinedBehaviorSanitizer\n"         \
    "  -race        find data races: ThreadSanitizer; clang's, if it is there, and by clang\n"     \
    "               if CC is not set. Not optimised, which would hide some; CFLAGS=-O2 has\n"      \
    "               it back\n"                                                                     \
    "  -g           build for a debugger: no optimisation (otherwise -O2 -g, with the frame\n"     \
    "               of who has called, each function's own code and each call where it\n"          \
    "               stands, since reports name them: -fno-optimize-sibling-calls; with gcc\n"      \
    "               -fno-ipa-icf, -fno-partial-inlining, -fno-crossjumping and\n"                  \
    "               -fno-tree-tail-merge; clang's code is not merged, either). On x86-64\n"        \
    "               always -fstack-clash-protection: a big frame is a stack overflow and\n"        \
    "               not somebody's memory; and -D__NO_CTYPE=1: isspace and its kin look at\n"      \
    "               the thread that a goroutine is on now\n"                                       \
    "  -x           print the compiler's command line\n"

static const char build_text[] =
    "Usage: belay build [-race|-asan] [-g] [-x] [-o OUT] FILE.c…\n"
    "\n"
    "Compiles the files and links them with the library into one program, named after the\n"
    "first file.\n"
    "\n"
    "  -o OUT       name the program OUT, or put it into the directory OUT\n" FLAGS_TEXT "\n"
    "Flags may be written with one dash or two. CC, CFLAGS, LDFLAGS and LDLIBS are honoured.\n"
    "A file can say itself what it is built with, in lines that begin with\n"
    "\n"
    "    //belay:cflags -I/usr/include/postgresql\n"
    "    //belay:libs pq m\n"
    "    //belay:sources queue.c\n"
    "\n"
    "Libraries are named as behind -l; a word that begins with a dash is passed on as it is.\n"
    "Sources, and directories behind -I, are those seen from the file.\n"
    "\n"
    "Example: a program of two files that uses the math library, with memory checks\n"
    "\n"
    "    LDLIBS=-lm belay build -asan -o server main.c handlers.c\n"
    "\n"
    "Status: 0 built, 1 the compiler failed, 2 the command line was wrong.\n";

static const char run_text[] =
    "Usage: belay run [-race|-asan] [-g] [-x] [-o OUT] FILE.c… [-- ARGS]\n"
    "\n"
    "Builds the program as 'belay build' does, in a place of its own, and runs it with ARGS.\n"
    "When it ends, stderr says how many goroutines it started, how many ended, and where each\n"
    "that was left behind was started and hangs; or which timers, contexts, channels and\n"
    "pipes of theirs are left, and what made them.\n"
    "\n"
    "  -o OUT       keep the program as OUT\n" FLAGS_TEXT "\n"
    "Flags may be written with one dash or two. CC, CFLAGS, LDFLAGS and LDLIBS are honoured,\n"
    "and so are //belay:cflags and //belay:libs lines in the files ('belay help build').\n"
    "\n"
    "Example: a parallel grep that stops at the tenth match\n"
    "\n"
    "    belay run examples/treegrep.c -- -m 10 pthread_create /usr/include\n"
    "\n"
    "Status: the program's own, and if a signal killed it, belay dies by the same signal.\n"
    "1: it could not be built; 2: the command line was wrong. A program ends with 2 at a\n"
    "fatal error, such as a deadlock of all goroutines, with 66 if it raced (-race), and with\n"
    "3 instead of 0 if goroutines are left and BELAY_ON_LEAK=fail is set.\n";

static const char test_text[] =
    "Usage: belay test [FLAGS] [DIR|DIR/...|FILE_test.c]… [-args ARGS]\n"
    "\n"
    "Builds each *_test.c of the directories (the current one; DIR/... takes those below it, too)\n"
    "into a program of its own and runs it there. Tests are written with <belay/test.h>. What\n"
    "has not changed is not built again. On a terminal a line says what runs if that takes\n"
    "long. A file says itself what it needs, in lines like\n"
    "\n"
    "    //belay:sources queue.c ../util.c\n"
    "\n"
    "  -run RE, -skip RE    tests that match, or do not; RE/RE picks subtests\n"
    "  -v                   print each test and what it logs\n"
    "  -count N             run each test N times; -until-fail until one fails\n"
    "  -cpu 1,2,4           once with each of these numbers of processors\n"
    "  -parallel N          parallel tests at one time (the processors)\n"
    "  -shuffle on|N        in an order that is drawn, from the seed N\n"
    "  -seed N              what bubbles draw their order from (0); one that fails says it\n"
    "  -timeout D           of a test program (10m); 0: none\n"
    "  -test-timeout D      of each test (1m); 0: none\n"
    "  -leak MODE           goroutines and more that a test leaves: fail, warn or off (fail)\n"
    "  -failfast, -short, -list RE, -update (golden files)\n"
    "  -bench RE, -benchtime D|Nx\n"
    "                       run benchmarks, too, each for D (1s) or N times; -benchmem\n"
    "                       adds what they allocate\n"
    "  -fuzz RE, -fuzztime D|Nx\n"
    "                       then look for inputs that make the fuzz target fail, with clang's\n"
    "                       libFuzzer; one that does is kept in testdata/fuzz\n"
    "  -json                events as test2json has them, for gotestsum and others\n"
    "  -junit FILE          write the results there as JUnit's XML\n"
    "  -cover               say how much of the code under test has run: of the sources and\n"
    "                       what tests include; counted by gcc, in lines, not optimised\n"
    "  -coverprofile FILE   the same, and each line's count, as lcov's tracefile, which\n"
    "                       genhtml reads\n"
    "  -c, -o OUT           only build, as NAME.test; put the program into the file or directory "
    "OUT\n"
    "  -args ARGS           last: all behind it is for the tests (bl_test_args)\n"
    "  -race, -asan, -ubsan, -g, -x\n"
    "                       as for 'belay build'; a race, or what -ubsan finds, fails the\n"
    "                       test that it is in\n"
    "\n"
    "Example: every test a hundred times, on 1 and 4 processors\n"
    "\n"
    "    belay test -count 100 -cpu 1,4 ./...\n"
    "\n"
    "Status: 0 all passed, 1 some failed or could not be built, 2 the command line was wrong.\n";

static const char profile_text[] =
    "Usage: belay profile PID\n"
    "       belay profile [FLAGS OF PPROF] FILE|URL\n"
    "\n"
    "Of a running program: its goroutines, equal stacks counted together, the most\n"
    "frequent first. The program is only read: it is not stopped, and need not answer.\n"
    "A goroutine that runs has no stack to show.\n"
    "\n"
    "Of a file that bl_profile has written, or of a debug endpoint (bl_debug_listen; without\n"
    "a page its goroutine profile), http://HOST:PORT[/PAGE] or unix:/PATH[:/PAGE]: what\n"
    "'go tool pprof -top' says of it, or with other flags what they ask for (Debian: golang-go).\n"
    "\n"
    "Example: belay profile $(pgrep server)\n"
    "         belay profile http://localhost:6060\n"
    "         belay profile 'unix:/run/server:/debug/pprof/block?seconds=10'\n"
    "         belay profile -peek receiver block.pb.gz\n"
    "\n"
    "Status: 0, 1 it cannot be read, 2 the command line was wrong.\n";

static const char dump_text[] =
    "Usage: belay dump PID\n"
    "\n"
    "Prints every goroutine of the running program PID in Go's traceback format: what it waits\n"
    "for since when, its stack, and where it was started. The program is only read: it is not\n"
    "stopped and gets no signal, and it may be stuck. Stacks of goroutines that run at that\n"
    "moment are left out; 'kill -QUIT PID' asks the program itself ('belay help environment').\n"
    "\n"
    "Example: belay dump $(pgrep server)\n"
    "\n"
    "Status: 0, 1 it cannot be read, 2 the command line was wrong.\n";

static const char top_text[] =
    "Usage: belay top [-once] [-sort COLUMN] [-filter TEXT] PID|URL\n"
    "\n"
    "Shows the goroutines of the running program PID, or of one whose debug endpoint\n"
    "(bl_debug_listen) is at http://HOST:PORT or unix:/PATH, read anew each second: state,\n"
    "since when, switches, how much of the stack is used, function, and where it was started.\n"
    "On top stands what looks wrong: blocked for more than a minute, not yielding, a stack that\n"
    "is nearly full.\n"
    "\n"
    "  -once        print the table and end; so it does in a pipe\n"
    "  -sort COLUMN since, switches, stack, state or id (since)\n"
    "  -filter TEXT only rows with this text in them\n"
    "\n"
    "Keys: s sorts by the next column, / filters, up and down select, enter shows the stack,\n"
    "escape goes back, q quits.\n"
    "\n"
    "Example: belay top -once -filter 'chan receive' $(pgrep server)\n"
    "\n"
    "Status: 0, 1 it cannot be read or has ended, 2 the command line was wrong.\n";

static const char trace_text[] =
    "Usage: belay trace [-o OUT] FILE\n"
    "\n"
    "Converts FILE, which a program recorded, to a file for https://ui.perfetto.dev: a track for\n"
    "each processor with who ran there, and arrows from who started or woke a goroutine to where "
    "it\n"
    "ran next; and tracks for the goroutines, by the function that they were started with: "
    "running,\n"
    "runnable, or what they waited for, with the scopes they had open.\n"
    "\n"
    "  -o OUT       name it OUT (FILE.pftrace)\n"
    "\n"
    "A program records with BELAY_TRACE=FILE, in which %p is the number of the process. With\n"
    "BELAY_TRACE=ring or ring=64m it keeps the last of it in memory (8m for each processor), and "
    "writes it\n"
    "to belay-PID.trace when it dies of a crash or a fatal error. bl_trace_start, _stop and _dump "
    "do the\n"
    "same from inside. The program may have been killed, or may still run. Of one that does little "
    "else\n"
    "but switch, parts are recorded; of what is in between it is said how many switches it was. "
    "All:\n"
    "BELAY_DEBUG=traceall=1.\n"
    "\n"
    "Example: BELAY_TRACE=grep.trace belay run examples/treegrep.c -- stdio /usr/include\n"
    "         belay trace grep.trace\n"
    "\n"
    "Status: 0, 1 FILE is no trace or OUT cannot be written, 2 the command line was wrong.\n";

static const char help_text[] = "Usage: belay help [COMMAND|environment]\n"
                                "\n"
                                "Example: belay help run\n";

static const char version_text[] = "Usage: belay version\n"
                                   "\n"
                                   "Example: belay version\n";

static const char environment_text[] =
    "The building is directed by\n"
    "\n"
    "  CC                   the compiler (cc), with flags of its own if need be\n"
    "  CFLAGS               further flags, behind belay's own, so that they overrule them\n"
    "  LDFLAGS, LDLIBS      flags and libraries for linking\n"
    "  BELAY_CACHE          where 'belay test' keeps test programs (~/.cache/belay)\n"
    "  TMPDIR               where 'belay run' builds (/tmp)\n"
    "\n"
    "and the programs by\n"
    "\n"
    "  BELAY_PROCS=N        goroutines that run at one time (the CPUs there are)\n"
    "  BELAY_STACK=BYTES    stack of a goroutine (65536)\n"
    "  BELAY_MAX_THREADS=N  threads of the runtime at most (10000)\n"
    "  BELAY_IO             how regular files are waited for: by io_uring (uring), on helper\n"
    "                       threads (threads) or by a plain call, whose processor goes to\n"
    "                       another thread (handoff)\n"
    "  BELAY_GRACE=TIME     how long a scope's goroutines may take to stop before that is\n"
    "                       reported (1s)\n"
    "  BELAY_ON_LEAK        report, fail (exit status 3 instead of 0) or ignore: goroutines\n"
    "                       left at the end (report)\n"
    "  BELAY_ON_DEADLOCK    report, exit (status 2) or abort: a proven deadlock of a part of\n"
    "                       the program (report)\n"
    "  BELAY_SIGQUIT        exit, dump or off: ^\\ prints every goroutine and ends the\n"
    "                       program with status 2, or prints them, or is not handled (exit)\n"
    "  BELAY_DEBUG          handoff=1: which goroutines blocked or ran so long that their\n"
    "                       processor went to another thread; lockorder=1: locks that are\n"
    "                       taken in different orders (in tests it is on); resources=1:\n"
    "                       timers, contexts, channels and pipes that are left at the end\n"
    "                       ('belay run' sets it; resources=0: not); blockprofile=NS,\n"
    "                       mutexprofile=N, schedprofile=NS: what profiles of waits record\n"
    "                       (belay/debug.h); traceall=1: BELAY_TRACE leaves nothing out;\n"
    "                       sample=0: reports do without the kernel's profiler\n"
    "  BELAY_RACE           of what is built with -race: halt_on_error=1, log_path=FILE,\n"
    "                       exitcode=N, history_size=N, with blanks between, as GORACE\n"
    "  BELAY_TRACE=FILE     record what the scheduler does; ring keeps the last of it in memory\n"
    "                       ('belay help trace')\n"
    "  BELAY_TRACEBACK      what a fatal error shows: none, single, all, system, crash\n"
    "                       (single)\n"
    "  BELAY_SUMMARY=0|1    the count of goroutines at the end ('belay run' sets 1)\n"
    "\n"
    "Example: BELAY_PROCS=1 belay run hello.c\n";

static const struct {
    const char *name;
    const char *text;
} pages[] = {
    {"build", build_text},     {"run", run_text},
    {"test", test_text},       {"dump", dump_text},
    {"profile", profile_text}, {"top", top_text},
    {"trace", trace_text},     {"help", help_text},
    {"version", version_text}, {"environment", environment_text},
};

/* The topics first, then the commands. */
static const char *const page_names[] = {"environment", "build",   "run",   "test",
                                         "dump",        "profile", "trace", "top",
                                         "help",        "version", NULL};
const char *const *const help_names = page_names + 1;

void help_all(FILE *to) { fputs(overview, to); }

bool help_asked(const char *word)
{
    word += strncmp(word, "--", 2) == 0;
    return strcmp(word, "-h") == 0 || strcmp(word, "-help") == 0;
}

int help_command(const char *name)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(name, pages[i].name) == 0) {
            fputs(pages[i].text, stdout);
            return 0;
        }
    }
    const char *nearest = text_nearest(name, page_names);
    if (nearest)
        complain("no help on %s; did you mean 'belay help %s'?", name, nearest);
    else
        complain("no help on %s; 'belay help' lists what there is", text_shown(name));
    return EXIT_USAGE;
}
