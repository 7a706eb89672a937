/* SPDX-License-Identifier: MIT */
/*
 * build.c: one call of the compiler makes the program: CC, the flags of the mode, those that the
 * files ask for, CFLAGS (which can overrule them), the files, LDFLAGS, the library, the libraries
 * that the files ask for, LDLIBS.
 */
#include "build.h"

#include "directive.h"
#include "help.h"
#include "library.h"
#include "process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __aarch64__
#define MACHINE "aarch64"
#else
#define MACHINE "x86_64"
#endif

static bool is_source(const char *file)
{
    static const char *const ends[] = {".c", ".o", ".a", ".s", ".S"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (text_ends_with(file, ends[i]))
            return true;
    return false;
}

/* The linker could write it; its own words do not say what to do. */
static int check_out(const char *out)
{
    const char *slash = strrchr(out, '/');
    const char *dir = slash ? text_format("%.*s", (int)(slash - out + 1), out) : ".";
    if (access(out, W_OK) == 0 || access(dir, W_OK | X_OK) == 0) /* /dev/null, too */
        return 0;
    complain("-o %s: %s: %s", out, slash ? dir : "the current directory", strerror(errno));
    return EXIT_FAILED;
}

static int check_files(const flags *f, const char *out)
{
    if (f->files.len == 0) {
        complain("no files; name the .c files of the program, as in 'belay %s hello.c'",
                 f->command);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < f->files.len; i++) {
        const char *file = f->files.at[i];
        struct stat st;
        if (stat(file, &st) < 0) {
            const char *why = strerror(errno);
            complain("%s: %s%s", text_shown(file), why,
                     is_source(file) ? "" : "; what is for the program goes behind --");
            return EXIT_USAGE;
        }
        if (S_ISDIR(st.st_mode)) {
            complain("%s: is a directory; name the .c files in it", file);
            return EXIT_USAGE;
        }
        if (!is_source(file)) {
            complain(
                "%s: not a C file (.c, .o, .a, .s, .S); what is for the program goes behind --",
                file);
            return EXIT_USAGE;
        }
        if (path_same(file, out)) {
            complain("-o %s would overwrite a file of the program", out);
            return EXIT_USAGE;
        }
    }
    return check_out(out);
}

static int add_environment(words *command, const char *name, const char *otherwise)
{
    const char *text = environment_or(name, otherwise);
    if (words_add_split(command, text))
        return 0;
    complain("a quote is not closed in %s: %s", name, text);
    return EXIT_USAGE;
}

static void add_words(words *command, const words *more)
{
    for (size_t i = 0; i < more->len; i++)
        words_add(command, more->at[i]);
}

/* The path of a file that the compiler links with, or NULL. */
static const char *file_find(const words *compiler, const char *name)
{
    static char path[4096];
    words ask = {0};
    add_words(&ask, compiler);
    words_add(&ask, text_format("-print-file-name=%s", name));
    bool found = process_line(&ask, path, sizeof path) && path[0] == '/' && access(path, R_OK) == 0;
    return found ? path : NULL;
}

/* A library of clang's runtime: its path; NULL: the compiler is no clang, or has none. */
static const char *runtime_find(const words *compiler, const char *name)
{
    const char *path = file_find(compiler, text_format("libclang_rt.%s-" MACHINE ".a", name));
    return path ? path : file_find(compiler, text_format("libclang_rt.%s.a", name));
}

static int add_fuzzer(words *command, const words *compiler, mode m)
{
    const char *fuzzer = runtime_find(compiler, "fuzzer_no_main");
    if (!fuzzer) {
        complain("-fuzz needs clang and its libFuzzer (Debian: clang-14, libclang-rt-14-dev); the "
                 "compiler is %s",
                 compiler->len > 0 ? compiler->at[0] : "none");
        return EXIT_FAILED;
    }
    words_add(command, fuzzer);
    /* memcmp, strcmp and their like, which say what an input is compared with; sanitizers have own */
    const char *compares = m == MODE_PLAIN ? runtime_find(compiler, "fuzzer_interceptors") : NULL;
    if (compares) {
        words_add_split(command, "-Wl,--whole-archive");
        words_add(command, compares);
        words_add_split(command, "-Wl,--no-whole-archive");
    }
    words_add_split(command, "-Wl,-u,LLVMFuzzerRunDriver -lstdc++ -lm");
    return 0;
}

/* A clang with that library of its runtime; NULL: none. found: one without it, or NULL. */
static const char *clang_find(const char *library, const char **found)
{
    static const char *const names[] = {"clang", "clang-19", "clang-16", "clang-14"};
    *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        words compiler = {0};
        words_add(&compiler, names[i]);
        if (!process_found(names[i]))
            continue;
        if (runtime_find(&compiler, library))
            return names[i];
        *found = *found ? *found : names[i];
    }
    return NULL;
}

/* For -race clang, whose ThreadSanitizer knows any number of goroutines, if it can link one. */
static const char *race_compiler(void)
{
    static const char *chosen; /* it is asked for each test file, and says why once */
    const char *found;
    if (!chosen && !(chosen = clang_find("tsan", &found))) {
        chosen = "cc";
        if (found)
            complain("-race: %s has no ThreadSanitizer (Debian: libclang-rt-14-dev), so cc builds: "
                     "at most 8000 goroutines at a time",
                     found);
        else
            complain("-race without clang: at most 8000 goroutines at a time; clang has no such "
                     "limit");
    }
    return chosen;
}

static const char *default_compiler(const flags *f, mode m)
{
    const char *set = environment_or("CC", NULL);
    const char *found;
    if (set)
        return set;
    if (f->fuzz) {
        const char *clang = clang_find("fuzzer_no_main", &found);
        return clang ? clang : found ? found : "cc";
    }
    return m == MODE_RACE && !f->cover ? race_compiler() : "cc";
}

static bool is_gcc(const words *compiler)
{
    static int known = -1;
    static char path[4096];
    if (known < 0) {
        words ask = {0};
        add_words(&ask, compiler);
        words_add(&ask, "-print-prog-name=cc1"); /* clang has none, and repeats the name */
        known = process_line(&ask, path, sizeof path) && path[0] == '/';
    }
    return known;
}

/*
 * ThreadSanitizer's runtime, if the compiler is gcc and clang's is there: gcc's calls are the same. Its own runtime
 * is the old one, which knows 8,128 goroutines, takes 30 to 150 us to make one, and forgets most of what strcmp and
 * its like read of a word.
 */
static const char *clang_runtime(const words *compiler)
{
    static const char *path;
    static bool looked;
    const char *found;
    if (!looked && is_gcc(compiler)) {
        words clang = {0};
        const char *name = clang_find("tsan", &found);
        if (name && words_add_split(&clang, name))
            path = text_format("%s", runtime_find(&clang, "tsan"));
    }
    looked = true;
    return path;
}

/* clang asks whether the address of a field or an element of a local variable was passed on, and not that of the
 * variable, so it does not see what others do to them: mended by LLVM's pull request 132756, in its release 21. */
static bool is_blind(const words *clang)
{
    char version[64];
    words ask = {0};
    add_words(&ask, clang);
    words_add(&ask, "-dumpversion");
    return !process_line(&ask, version, sizeof version) || atoi(version) < 21;
}

/*
 * Every access of the program is to be seen. The optimiser takes away what nobody reads later, which
 * races all the same: -O0. What gcc puts in the place of memset and its like ThreadSanitizer does
 * not see: they stay calls. A blind clang sees what is done to local variables if it gives up the search
 * for whose they are at once, and so tells of all of them, which takes twice the time. Exported is what
 * ThreadSanitizer asks of the program (src/debug). gcc's ThreadSanitizer is linked statically, as
 * clang's is: so the library gets at what it has inside (src/arch/race.h), and at what it maps
 * (src/os/race_map.c). strdup and its like: src/os/race_string.c; and race_calls.c.
 */
static void add_race(words *command, const words *compiler)
{
    static int blind = -1, is_static;
    if (blind < 0) {
        blind = runtime_find(compiler, "tsan") != NULL && is_blind(compiler);
        is_static = is_gcc(compiler) && file_find(compiler, "libtsan.a") != NULL;
    }
    words_add_split(command, "-fsanitize=thread -fno-omit-frame-pointer "
                             "-fno-builtin-memcpy -fno-builtin-memmove -fno-builtin-memset "
                             "-fno-builtin-memcmp -fno-builtin-strlen -fno-builtin-strcmp "
                             "-fno-builtin-strncmp -fno-builtin-strcpy -fno-builtin-strncpy "
                             "-fno-builtin-strcat -fno-builtin-strncat -fno-builtin-stpcpy "
                             "-fno-builtin-bzero -fno-builtin-bcopy -fno-builtin-mempcpy "
                             "-fno-builtin-stpncpy "
                             "-Wl,--export-dynamic-symbol=_ZN6__tsan8OnReport* "
                             "-Wl,--export-dynamic-symbol=_ZN6__tsan10OnFinalize* "
                             "-Wl,--export-dynamic-symbol=__tsan_default_options");
    if (BELAY_TREE_MODE == MODE_PLAIN) /* else the library is instrumented, and has neither */
        words_add_split(command, "-Wl,--wrap=_ZN11__sanitizer18MmapNoReserveOrDieEmPKc "
                                 "-Wl,--wrap=_ZN11__sanitizer10UnmapOrDieEPvm "
                                 "-Wl,--wrap=_ZN11__sanitizer27SetShadowRegionHugePageModeEmm "
                                 "-Wl,--wrap=_ZN11__sanitizer21MmapOrDieOnFatalErrorEmPKc "
                                 "-Wl,--wrap=_ZN11__sanitizer15internal_memsetEPvim "
                                 "-Wl,--wrap=strdup -Wl,--wrap=gettimeofday -Wl,--wrap=strftime "
                                 "-Wl,--wrap=__isoc99_sscanf "
                                 "-Wl,--wrap=strcoll -Wl,--wrap=swab -Wl,--wrap=explicit_bzero "
                                 "-Wl,--wrap=dprintf -Wl,--wrap=inet_pton -Wl,--wrap=getaddrinfo "
                                 "-Wl,--wrap=bind -Wl,--wrap=connect -Wl,--wrap=setsockopt "
                                 "-Wl,--wrap=socketpair -Wl,--wrap=pipe2 -Wl,--wrap=epoll_ctl "
                                 "-Wl,--wrap=epoll_wait -Wl,--wrap=select "
                                 "-Wl,--wrap=gethostname -Wl,--wrap=getentropy");
    if (blind)
        words_add_split(command, "-mllvm -capture-tracking-max-uses-to-explore=0");
    if (clang_runtime(compiler))
        words_add(command, "-nodefaultlibs"); /* of which gcc's own is one */
    else if (is_static)
        words_add(command, "-static-libtsan");
}

static bool is_cxx(const words *compiler)
{
    for (size_t i = 0; i < compiler->len; i++)
        if (strstr(compiler->at[i], "g++"))
            return true;
    return false;
}

/* Behind all other libraries. */
static void add_clang_runtime(words *command, const words *compiler, const char *path)
{
    words_add(command, "-Wl,--whole-archive");
    words_add(command, path);
    words_add(command, "-Wl,--no-whole-archive");
    const char *exported = text_format("%s.syms", path);
    words_add(command, access(exported, R_OK) == 0 ? text_format("-Wl,--dynamic-list=%s", exported)
                                                   : "-Wl,--export-dynamic");
    if (is_cxx(compiler))
        words_add(command, "-lstdc++"); /* which g++ has among its default libraries */
    words_add_split(command, "-lpthread -lrt -lm -ldl -lgcc -lgcc_s -lc -lgcc");
}

/*
 * What would make reports name another function or another line: of two functions with one and the same code gcc makes
 * one; of a function that begins with a way out it makes two, which would be shown as called by itself; and of two
 * calls with the same arguments that go on alike, both compilers make one, with the line of either, or with none.
 */
static void add_names(words *command, bool gcc)
{
    words_add_split(command, gcc ? "-fno-ipa-icf -fno-partial-inlining -fno-crossjumping "
                                   "-fno-tree-tail-merge"
                                 : "-mllvm -simplifycfg-sink-common=false "
                                   "-mllvm -enable-tail-merge=false");
}

/* The compiler's command line, or an exit status. */
static int compose(words *command, const flags *f, const library *lib, const char *out)
{
    directives own = {0};
    for (size_t i = 0; i < f->files.len; i++) {
        int err = directives_read(&own, f->files.at[i]);
        if (err)
            return err;
    }
    int err = add_environment(command, "CC", default_compiler(f, lib->mode));
    if (err)
        return err;
    words compiler = {0};
    add_words(&compiler, command);
    if (f->fuzz)
        words_add(command, "-fsanitize=fuzzer-no-link");
    words_add_split(command, f->debug || f->cover     ? "-O0 -g3"
                             : lib->mode == MODE_RACE ? "-O0 -g" /* see add_race */
                                                      : "-O2 -g");
    words_add(command, "-fno-optimize-sibling-calls"); /* reports show who has called */
    words_add(command, "-D__NO_CTYPE=1");              /* see belay.h */
#ifdef __x86_64__
    words_add(command, "-fstack-clash-protection"); /* no frame reaches over a stack's guard */
#endif
    add_names(command, is_gcc(&compiler));
    if (f->cover) /* the functions that src/test/cover.c calls */
        words_add_split(command, "--coverage -fprofile-update=atomic -Wl,-u,__gcov_dump "
                                 "-Wl,-u,__gcov_reset");
    if (lib->mode == MODE_ASAN)
        words_add_split(command, "-fsanitize=address,undefined -fno-omit-frame-pointer");
    if (lib->mode == MODE_ASAN && !is_gcc(&compiler)) /* see BL_SCOPE */
        words_add(command, "-fno-sanitize-address-use-after-scope");
    if (lib->mode == MODE_RACE)
        add_race(command, &compiler);
    if (f->test)
        words_add(command, "-fexceptions"); /* BL_REQUIRE unwinds */
    if (f->ubsan)
        words_add_split(command, "-fsanitize=undefined");
    if (f->test && (f->ubsan || lib->mode == MODE_ASAN))
        words_add(command, "-fno-sanitize-recover=undefined"); /* as all that fails a test */
    words_add(command, text_format("-I%s", lib->include));
    words_add_split(command, lib->defines ? lib->defines : "");
    add_words(command, &own.cflags);
    err = add_environment(command, "CFLAGS", NULL);
    if (err)
        return err;
    for (size_t i = 0; i < f->files.len;
         i++) /* ./ keeps a name that begins with - from being a flag */
        words_add(command,
                  text_format("%s%s", f->files.at[i][0] == '-' ? "./" : "", f->files.at[i]));
    add_words(command, &own.sources);
    if (f->last)
        words_add(command, f->last);
    err = add_environment(command, "LDFLAGS", NULL);
    if (err)
        return err;
    words_add(command, lib->archive);
    if (f->fuzz && (err = add_fuzzer(command, &compiler, lib->mode)) != 0)
        return err;
    add_words(command, &own.libs);
    err = add_environment(command, "LDLIBS", NULL);
    if (err)
        return err;
    if (lib->mode == MODE_RACE && clang_runtime(&compiler))
        add_clang_runtime(command, &compiler, clang_runtime(&compiler));
    words_add_split(command, "-pthread -o");
    words_add(command, out);
    return 0;
}

int build_command(words *command, const flags *f, const char *out)
{
    int err = check_files(f, out);
    if (err)
        return err;
    library lib = {0};
    err = library_find(&lib, f->mode);
    return err ? err : compose(command, f, &lib, out);
}

int build_run(const words *command, const flags *f)
{
    if (f->trace)
        words_print(command);
    process_end end;
    int err = process_run(command, PROCESS_TOOL, &end);
    if (process_interrupted())
        return EXIT_FAILED;
    if (err == ENOENT) {
        complain("%s: not found; install a C compiler, or name yours in CC", command->at[0]);
        return EXIT_FAILED;
    }
    if (err) {
        complain("%s: %s", command->at[0], strerror(err));
        return EXIT_FAILED;
    }
    if (end.signal)
        complain("%s: killed by %s", command->at[0], strsignal(end.signal));
    for (size_t i = 0; end.status && !f->test && i < f->files.len; i++)
        if (text_ends_with(f->files.at[i], "_test.c")) /* the linker misses a main in it */
            complain("the tests of %s are run by 'belay test %s'", f->files.at[i], f->files.at[i]);
    return end.status || end.signal ? EXIT_FAILED : 0;
}

int build_program(const flags *f, const char *out)
{
    words command = {0};
    int err = build_command(&command, f, out);
    return err ? err : build_run(&command, f);
}

const char *build_name(const flags *f)
{
    const char *file = f->files.len > 0 ? f->files.at[0] : "";
    const char *slash = strrchr(file, '/');
    char *name = text_format("%s", slash ? slash + 1 : file);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    return name;
}

const char *build_out(const flags *f)
{
    if (!f->out)
        return NULL;
    struct stat st;
    if (text_ends_with(f->out, "/"))
        (void)mkdir(f->out, 0777); /* as go build does; check_out sees whether it could */
    if (stat(f->out, &st) == 0 && S_ISDIR(st.st_mode))
        return text_format("%s/%s", f->out, build_name(f));
    return f->out;
}

int build_main(char **argv)
{
    flags f;
    int err = flags_parse(&f, "build", argv);
    if (err)
        return err;
    if (f.help)
        return help_command("build");
    if (f.args[0]) {
        complain("build runs nothing, so nothing goes behind --; see 'belay help run'");
        return EXIT_USAGE;
    }
    err = build_program(&f, f.out ? build_out(&f) : build_name(&f));
    if (process_interrupted())
        process_die(process_interrupted());
    return err;
}
