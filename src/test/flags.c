/* SPDX-License-Identifier: MIT */
/*
 * flags.c: the flags of a test program, go test's: -run or -test.run, with one dash or two, the
 * value behind = or, where there has to be one, in the next word. `belay test` has this file too,
 * so that what no program would take is refused before one is built.
 */
#include <errno.h>
#include <math.h>
#include <regex.h>
#include <stdlib.h>

#include "test/test.h"

bl__test_flags bl__tests = {
    .count = 1,
    .timeout = 10 * BL_MIN,
    .limit = BL_MIN,
    .benchtime = BL_SEC,
};

typedef bool flag_reader(const char *value, void *to);

static bool read_bool(const char *value, void *to)
{
    bool yes = strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || *value == '\0';
    if (!yes && strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
        return false;
    *(bool *)to = yes;
    return true;
}

static bool read_verbose(const char *value, void *to)
{
    bl__tests.json = strcmp(value, "test2json") == 0;
    return bl__tests.json ? (*(bool *)to = true) : read_bool(value, to);
}

/* An empty one, as of a variable that is not set, is as none: as -skip it would match all. */
static bool read_pattern(const char *value, void *to)
{
    regex_t re;
    *(const char **)to = NULL;
    if (*value == '\0')
        return true;
    if (regcomp(&re, value, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    regfree(&re);
    *(const char **)to = value;
    return true;
}

static bool read_text(const char *value, void *to)
{
    *(const char **)to = value;
    return *value != '\0';
}

static bool read_count(const char *value, void *to)
{
    char *end;
    long long n = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || n < 0 || n == LLONG_MAX)
        return false;
    *(int64_t *)to = n;
    return true;
}

static bool read_int(const char *value, void *to)
{
    int64_t n;
    if (!read_count(value, &n) || n < 1 || n > 1000000)
        return false;
    *(int *)to = (int)n;
    return true;
}

/* "1m30s", "250ms"; 0 is no limit. */
static bool read_dur(const char *value, void *to)
{
    static const struct {
        const char *unit;
        bl_dur dur;
    } units[] = {{"ms", BL_MS}, {"us", BL_US}, {"ns", 1},
                 {"s", BL_SEC}, {"m", BL_MIN}, {"h", BL_HOUR}};
    double sum = 0;
    const char *at = value;
    if (strcmp(value, "0") == 0) {
        *(bl_dur *)to = 0;
        return true;
    }
    do {
        char *end;
        double n = strtod(at, &end);
        size_t u = 0;
        if (end == at || !(n >= 0))
            return false;
        while (u < sizeof units / sizeof *units &&
               strncmp(end, units[u].unit, strlen(units[u].unit)) != 0)
            u++;
        if (u == sizeof units / sizeof *units)
            return false;
        sum += n * (double)units[u].dur;
        at = end + strlen(units[u].unit);
    } while (*at != '\0');
    if (sum > 9e18)
        return false;
    *(bl_dur *)to = (bl_dur)sum;
    return true;
}

/* "100x". */
static bool read_times(const char *value, int64_t *to)
{
    char *end;
    long long n = strtoll(value, &end, 10);
    if (end == value || strcmp(end, "x") != 0 || n <= 0 || n == LLONG_MAX)
        return false;
    *to = n;
    return true;
}

static bool read_benchtime(const char *value, void *to)
{
    return read_times(value, &bl__tests.bench_count) || read_dur(value, to);
}

static bool read_fuzztime(const char *value, void *to)
{
    return read_times(value, &bl__tests.fuzz_count) || read_dur(value, to);
}

static bool read_cpus(const char *value, void *to)
{
    (void)to;
    bl__tests.ncpus = 0;
    for (const char *at = value;; at++) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 1 || n > 1024 || bl__tests.ncpus == BL__TEST_CPUS)
            return false;
        bl__tests.cpus[bl__tests.ncpus++] = (int)n;
        at = end;
        if (*at == '\0')
            return true;
        if (*at != ',')
            return false;
    }
}

static bool read_shuffle(const char *value, void *to)
{
    bl__tests.shuffle = strcmp(value, "off") != 0;
    if (!bl__tests.shuffle)
        return true;
    if (strcmp(value, "on") == 0)
        return true;
    return read_count(value, to);
}

static bool read_leak(const char *value, void *to)
{
    static const char *const modes[] = {"fail", "warn", "off"};
    for (int i = 0; i < 3; i++)
        if (strcmp(value, modes[i]) == 0) {
            *(int *)to = i;
            return true;
        }
    return false;
}

static const struct {
    const char *name;
    flag_reader *read;
    void *to;
    bool plain; /* may stand without a value */
    const char *wants;
} known[] = {
    {"v", read_verbose, &bl__tests.verbose, true, "true, false or test2json"},
    {"run", read_pattern, &bl__tests.run, false, "a regular expression"},
    {"skip", read_pattern, &bl__tests.skip, false, "a regular expression"},
    {"bench", read_pattern, &bl__tests.bench, false, "a regular expression"},
    {"list", read_pattern, &bl__tests.list, false, "a regular expression"},
    {"junit", read_text, &bl__tests.junit, false, "the name of a file"},
    {"file", read_text, &bl__tests.file, false, "the name of the test file"},
    {"count", read_count, &bl__tests.count, false, "a number"},
    {"timeout", read_dur, &bl__tests.timeout, false, "a duration like 90s"},
    {"test-timeout", read_dur, &bl__tests.limit, false, "a duration like 90s"},
    {"benchtime", read_benchtime, &bl__tests.benchtime, false,
     "a duration like 2s, or a count like 100x"},
    {"fuzz", read_pattern, &bl__tests.fuzz, false, "a regular expression"},
    {"fuzztime", read_fuzztime, &bl__tests.fuzztime, false,
     "a duration like 30s, or a count like 1000x"},
    {"fuzzcachedir", read_text, &bl__tests.fuzzcache, false, "a directory"},
    {"cpu", read_cpus, NULL, false, "numbers of processors like 1,2,4"},
    {"parallel", read_int, &bl__tests.parallel, false, "a number above 0"},
    {"progress", read_int, &bl__tests.progress, false, "the number of a descriptor"},
    {"shuffle", read_shuffle, &bl__tests.seed, false, "on, off or a number"},
    {"seed", read_count, &bl__tests.seed, false, "a number"},
    {"short", read_bool, &bl__tests.brief, true, "true or false"},
    {"failfast", read_bool, &bl__tests.failfast, true, "true or false"},
    {"until-fail", read_bool, &bl__tests.until_fail, true, "true or false"},
    {"benchmem", read_bool, &bl__tests.benchmem, true, "true or false"},
    {"update", read_bool, &bl__tests.update, true, "true or false"},
    {"leak", read_leak, &bl__tests.leak, false, "fail, warn or off"},
};

static int flag_bad(const char *program, const char *format, const char *a, const char *b)
{
    fprintf(stderr, "%s: ", program);
    fprintf(stderr, format, a, b); /* NOLINT(clang-diagnostic-format-nonliteral) */
    fputc('\n', stderr);
    return 2;
}

static size_t flag_find(const char *name, size_t len)
{
    size_t i = 0;
    while (i < sizeof known / sizeof *known &&
           (strlen(known[i].name) != len || strncmp(known[i].name, name, len) != 0))
        i++;
    return i;
}

/* What the flag wants that was given value: a number without its unit is shown with one. */
static const char *flag_wants(size_t i, const char *value)
{
    enum { NUMBER_MOST = 9 };
    static char text[96];
    bool is_dur = known[i].read == read_dur;
    bool is_either = known[i].read == read_benchtime || known[i].read == read_fuzztime;
    size_t digits = strspn(value, "0123456789");
    if ((!is_dur && !is_either) || value[digits] != '\0' || digits == 0 || digits > NUMBER_MOST)
        return known[i].wants;
    if (is_dur)
        snprintf(text, sizeof text, "a duration like %ss", value);
    else
        snprintf(text, sizeof text, "a duration like %ss, or a count like %sx", value, value);
    return text;
}

const char *bl__test_flag_set(const char *name, const char *value)
{
    size_t i = flag_find(name, strlen(name));
    if (i == sizeof known / sizeof *known)
        return "a flag of a test program";
    return known[i].read(value, known[i].to) ? NULL : flag_wants(i, value);
}

/* One flag; moves *argv on to its value. */
static int test_flag_read(const char *program, char ***argv)
{
    const char *word = **argv;
    const char *name = word + (word[1] == '-' ? 2 : 1);
    if (strncmp(name, "test.", 5) == 0)
        name += 5;
    const char *equals = strchr(name, '=');
    size_t i = flag_find(name, equals != NULL ? (size_t)(equals - name) : strlen(name));
    if (i == sizeof known / sizeof *known)
        return flag_bad(program, "unknown flag %s%s", word, "");
    const char *value = equals != NULL ? equals + 1 : known[i].plain ? "" : (*argv)[1];
    if (value == NULL)
        return flag_bad(program, "%s needs %s", word, known[i].wants);
    if (!known[i].read(value, known[i].to))
        return flag_bad(program, "%s is not %s", word, flag_wants(i, value));
    if (equals == NULL && !known[i].plain)
        ++*argv;
    return 0;
}

static const char *program_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

int bl__test_flags_read(int argc, char **argv)
{
    (void)argc;
    const char *program = argv[0];
    for (char **at = argv + 1; *at != NULL; at++) {
        if ((*at)[0] != '-' || (*at)[1] == '\0')
            return flag_bad(program, "%s is no flag%s", *at, "");
        if (strcmp(*at, "-args") == 0 || strcmp(*at, "--args") == 0 || strcmp(*at, "--") == 0) {
            bl__tests.args = at + 1;
            break;
        }
        int err = test_flag_read(program, &at);
        if (err != 0)
            return err;
    }
    bl__tests.alone = bl__tests.file == NULL;
    if (bl__tests.alone)
        bl__tests.file = program_name(program);
    return 0;
}

char *const *bl_test_args(void)
{
    static char *const none[] = {NULL};
    return bl__tests.args != NULL ? bl__tests.args : none;
}

bool bl_short(void) { return bl__tests.brief; }
bool bl_verbose(void) { return bl__tests.verbose; }
