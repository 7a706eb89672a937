/* SPDX-License-Identifier: MIT */
/* flags_test.c: what a test program's flags mean: which tests a pattern picks, and values. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <string.h>

#include "test/test.h"
#include "test/xml.h"

/* ---- -run and -skip ---- */

typedef struct picked {
    const char *pattern, *name;
    bool run;  /* -run picks it, or may have it picked below */
    bool skip; /* -skip leaves it out */
} picked;

BL_TEST_PLAIN(patterns_pick_as_in_go)
{
    static const picked cases[] = {
        {"", "a", true, false}, /* as if the flag were not there */
        {"a", "a", true, true},
        {"a", "b", false, false},
        {"a", "bab", true, true},
        {"^a$", "bab", false, false},
        {"a", "a/b", true, true},
        {"b", "a/b", false, false},
        {"a/b", "a", true, false}, /* a subtest may be; and the test is not skipped for that */
        {"a/b", "a/b", true, true},
        {"a/b", "a/c", false, false},
        {"a/b", "c/b", false, false},
        {"a/b", "a/b/c", true, true},
        {"a//c", "a/x/c", true, true},
        {"a//c", "a/x/d", false, false},
        {"/b", "a/b", true, true},
        {"/b", "a/c", false, false},
        {"a|b", "b", true, true},
        {"a|b", "c", false, false},
        {"a|b/c", "a/x", true, true},
        {"a|b/c", "b/c", true, true},
        {"a|b/c", "b/d", false, false},
        {"b/c|a", "a/x", true, true},
        {"b/c|a", "b", true, false},
        {"(a|b)/c", "b/c", true, true},
        {"(a|b)/c", "b/d", false, false},
        {"(a|b)/c", "c", false, false},
        {"((a)|b)/c", "b/d", false, false},
        {"(a/b)", "a/b", false, false}, /* in brackets it is no separator, and no name has one */
        {"[/]", "a/b", false, false},
        {"[a/]/b", "a/b", true, true},
        {"[a|]/b", "a/c", false, false},
        {"[(]/b", "(/b", true, true},
        {"[(]/b", "(/c", false, false},
        {"a]/b", "a]/b", true, true}, /* which closes nothing */
        {"a]/b", "a]/c", false, false},
        {"a\\(/b", "a(/b", true, true},
        {"a\\(/b", "a(/c", false, false},
        {"a\\[/b", "a[/c", false, false},
        {"a\\|b", "a|b", true, true},
        {"a\\|b", "b", false, false},
        {"a\\.b", "a.b", true, true},
        {"a\\.b", "axb", false, false},
        {"^\\d+$", "12", true, true},
        {"^\\d+$", "d", false, false},
        {"\\\\d", "\\d", true, true},
        {"a b", "a_b", true, true},
        {"a b", "ab", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const picked *c = &cases[i];
        bl_log(t, "%s: %s", c->pattern, c->name);
        bl__tests.run = bl__tests.skip = NULL;
        BL_REQUIRE(t, bl__test_flag_set("run", c->pattern) == NULL);
        BL_CHECK_EQ(t, bl__test_wanted(c->name), c->run);
        bl__tests.run = NULL;
        BL_REQUIRE(t, bl__test_flag_set("skip", c->pattern) == NULL);
        BL_CHECK_EQ(t, bl__test_wanted(c->name), !c->skip);
    }
}

/* A benchmark also by the name that it is printed with; and without a pattern none is run. */
BL_TEST_PLAIN(benchmarks_and_targets_are_run_if_asked_for)
{
    BL_CHECK(t, !bl__bench_wanted("sum") && !bl__fuzz_wanted("sum"));
    BL_REQUIRE(t, bl__test_flag_set("bench", "^sum$") == NULL);
    BL_REQUIRE(t, bl__test_flag_set("fuzz", "^sum$") == NULL);
    BL_CHECK(t, bl__bench_wanted("sum") && !bl__bench_wanted("summer"));
    BL_CHECK(t, bl__fuzz_wanted("sum") && !bl__fuzz_wanted("summer"));
    BL_REQUIRE(t, bl__test_flag_set("bench", "^BenchmarkSum$") == NULL);
    BL_CHECK(t, bl__bench_wanted("sum"));
    BL_REQUIRE(t, bl__test_flag_set("skip", "^sum$") == NULL);
    BL_CHECK(t, !bl__bench_wanted("sum"));
    BL_REQUIRE(t, bl__test_flag_set("skip", "^BenchmarkSum$") == NULL);
    BL_CHECK(t, !bl__bench_wanted("sum"));
    BL_REQUIRE(t, bl__test_flag_set("skip", "") == NULL);
    BL_CHECK(t, bl__bench_wanted("sum"));
    BL_REQUIRE(t, bl__test_flag_set("bench", "") == NULL);
    BL_REQUIRE(t, bl__test_flag_set("fuzz", "") == NULL);
    BL_CHECK(t, !bl__bench_wanted("sum") && !bl__fuzz_wanted("sum"));
    BL_REQUIRE(t, bl__test_flag_set("list", "") == NULL);
    BL_CHECK(t, bl__tests.list == NULL);
}

/* ---- Values ---- */

BL_TEST_PLAIN(durations)
{
    static const struct {
        const char *value;
        bl_dur dur; /* -1: it is refused */
    } cases[] = {
        {"0", 0},
        {"0s", 0},
        {"90s", 90 * BL_SEC},
        {"1m30s", 90 * BL_SEC},
        {"1h2m3s4ms5us6ns", BL_HOUR + 2 * BL_MIN + 3 * BL_SEC + 4 * BL_MS + 5 * BL_US + 6},
        {"1.5h", 90 * BL_MIN},
        {".5s", BL_SEC / 2},
        {"2500000h", INT64_C(2500000) * BL_HOUR},
        {"2600000h", -1}, /* more than there are nanoseconds */
        {"infs", -1},
        {"nans", -1},
        {"-1s", -1},
        {"1s-1ms", -1},
        {"", -1},
        {"5", -1},
        {"1m30", -1},
        {"s", -1},
        {"5 s", -1},
        {"5x", -1},
        {"5sx", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bl__tests.timeout = 7;
        bl_log(t, "%s", cases[i].value);
        BL_CHECK_EQ(t, bl__test_flag_set("timeout", cases[i].value) == NULL, cases[i].dur >= 0);
        BL_CHECK_EQ(t, bl__tests.timeout, cases[i].dur >= 0 ? cases[i].dur : 7);
    }
}

static bool takes(const char *name, const char *value)
{
    return bl__test_flag_set(name, value) == NULL;
}

BL_TEST_PLAIN(numbers)
{
    BL_CHECK(t, takes("count", "0") && bl__tests.count == 0);
    BL_CHECK(t, takes("count", "12") && bl__tests.count == 12);
    BL_CHECK(t, !takes("count", "-1") && !takes("count", "") && !takes("count", "1x"));
    BL_CHECK(t, !takes("count", "9223372036854775808"));
    BL_CHECK(t, takes("parallel", "1") && takes("parallel", "1000000"));
    BL_CHECK(t, !takes("parallel", "0") && !takes("parallel", "1000001"));
    BL_CHECK(t, takes("benchtime", "7x") && bl__tests.bench_count == 7);
    BL_CHECK(t, takes("benchtime", "2s") && bl__tests.benchtime == 2 * BL_SEC);
    BL_CHECK(t, !takes("benchtime", "0x") && !takes("benchtime", "-1x"));
    BL_CHECK(t, !takes("benchtime", "7") && !takes("benchtime", "7xx"));
    BL_CHECK(t, takes("fuzztime", "9x") && bl__tests.fuzz_count == 9);
    BL_CHECK(t, takes("fuzztime", "2s") && bl__tests.fuzztime == 2 * BL_SEC);
    BL_CHECK(t, takes("cpu", "8,1024,1") && bl__tests.ncpus == 3 && bl__tests.cpus[1] == 1024);
    BL_CHECK(t, takes("cpu", "4") && bl__tests.ncpus == 1 && bl__tests.cpus[0] == 4);
    BL_CHECK(t, takes("cpu", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"));
    BL_CHECK(t, !takes("cpu", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"));
    BL_CHECK(t, !takes("cpu", "0") && !takes("cpu", "-1") && !takes("cpu", "1025"));
    BL_CHECK(t, !takes("cpu", "") && !takes("cpu", "1,") && !takes("cpu", ",1"));
    BL_CHECK(t, !takes("cpu", "1;2"));
}

BL_TEST_PLAIN(words)
{
    BL_CHECK(t, takes("short", "true") && bl_short());
    BL_CHECK(t, takes("short", "false") && !bl_short());
    BL_CHECK(t, takes("short", "1") && bl_short() && takes("short", "0") && !bl_short());
    BL_CHECK(t, takes("short", "") && bl_short() && !takes("short", "yes"));
    BL_CHECK(t, takes("shuffle", "off") && !bl__tests.shuffle);
    bl__tests.seed = 0; /* of these tests' own shuffle */
    BL_CHECK(t, takes("shuffle", "on") && bl__tests.shuffle && bl__tests.seed == 0);
    BL_CHECK(t, takes("shuffle", "5") && bl__tests.shuffle && bl__tests.seed == 5);
    BL_CHECK(t, takes("shuffle", "off") && !bl__tests.shuffle && !takes("shuffle", "maybe"));
    BL_CHECK(t, takes("leak", "fail") && bl__tests.leak == BL__LEAK_FAIL);
    BL_CHECK(t, takes("leak", "warn") && bl__tests.leak == BL__LEAK_WARN);
    BL_CHECK(t, takes("leak", "off") && bl__tests.leak == BL__LEAK_OFF && !takes("leak", "on"));
    BL_CHECK(t, takes("junit", "x") && !takes("junit", "") && !takes("fuzzcachedir", ""));
    BL_CHECK(t, !takes("run", "(") && !takes("runn", "x"));
}

/* ---- Characters of XML ---- */

/* s with what stands for it in XML. */
static const char *as_xml(const char *s)
{
    static char text[64];
    size_t n = strlen(s), at = 0;
    for (size_t i = 0, len; i < n; i += len) {
        const char *as = bl__xml_char(s + i, n - i, &len);
        size_t more = as != NULL ? strlen(as) : len;
        memcpy(text + at, as != NULL ? as : s + i, more);
        at += more;
    }
    text[at] = '\0';
    return text;
}

BL_TEST_PLAIN(what_xml_cannot_have_is_a_question_mark)
{
    static const char *const same[] = {"a\tb\nc ~", "\u00e4\u20ac", "\U0001f600", "\ud7ff\ue000",
                                       "\ufffd",    "\U0010ffff",   "\xc2\x80"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        BL_CHECK_STR(t, as_xml(same[i]), same[i]);
    BL_CHECK_STR(t, as_xml("<a b=\"c\">&"), "&lt;a b=&quot;c&quot;&gt;&amp;");
    BL_CHECK_STR(t, as_xml("\x01\x1f\x7f\r"), "????");
    BL_CHECK_STR(t, as_xml("\xc0\xbc"), "??");                     /* '<', longer than need be */
    BL_CHECK_STR(t, as_xml("\xe0\x82\x80"), "???");                /* U+0080, likewise */
    BL_CHECK_STR(t, as_xml("\xf0\x82\x82\xac"), "????");           /* the euro */
    BL_CHECK_STR(t, as_xml("\xed\xa0\x80"), "???");                /* half of a pair */
    BL_CHECK_STR(t, as_xml("\xed\xbf\xbf"), "???");                /* the other half */
    BL_CHECK_STR(t, as_xml("\xef\xbf\xbe\xef\xbf\xbf"), "??????"); /* no characters */
    BL_CHECK_STR(t, as_xml("\xf4\x90\x80\x80"), "????");           /* beyond the last one */
    BL_CHECK_STR(t,
                 as_xml("\xc3"
                        "b\x80"
                        "c\xff"),
                 "?b?c?");
    BL_CHECK_STR(t, as_xml("\xe2\x82"), "??"); /* cut off */
}

/* What is behind the text is not looked at. */
BL_TEST_PLAIN(the_end_of_a_text_ends_a_character)
{
    size_t len;
    const char *as = bl__xml_char("\xc3\xa4", 1, &len);
    BL_CHECK(t, as != NULL && strcmp(as, "?") == 0 && len == 1);
}
