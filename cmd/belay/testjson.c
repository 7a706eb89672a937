/* SPDX-License-Identifier: MIT */
/*
 * testjson.c: -json: the lines that a test program prints as events of go's test2json ('go doc test2json').
 * What begins with a ^V is the runner's own, also where a test has left the line before it open; all else is output of the
 * test before it. But if that has ended and others are under way it is theirs: of the one, or, as nothing says of which,
 * the package's.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *json_package;
static char *json_test;           /* that output belongs to; NULL: the package's */
static const char *report_action; /* of json_test, once what it has logged is out */
static double report_elapsed;

/* Bytes of the character at s, which has len bytes at most; 0: it is no UTF-8. */
static size_t utf8_length(const char *s, size_t len)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : c >= 0xf5 ? 0 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
    for (size_t i = 1; i < n; i++)
        if (i >= len || ((unsigned char)s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* A ^V of a test's, as the runner has logged it. */
static bool is_escaped(const char *s, size_t len)
{
    return len >= 2 && memcmp(s, "\x16\x1b", 2) == 0;
}

static void string_put(const char *s, size_t len)
{
    putchar('"');
    for (size_t i = 0, n; i<len; i += n> 0 ? n : 1) {
        unsigned char c = (unsigned char)s[i];
        n = 1;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c == '\n')
            fputs("\\n", stdout);
        else if (c == '\t')
            fputs("\\t", stdout);
        else if (is_escaped(s + i, len - i))
            n = 2, fputs("\\u0016", stdout);
        else if (c < ' ' || c == 127)
            printf("\\u%04x", c);
        else if ((n = utf8_length(s + i, len - i)) > 0)
            fwrite(s + i, 1, n, stdout);
        else
            fputs("\\ufffd", stdout);
    }
    putchar('"');
}

static void event_put(const char *action, const char *output, size_t len, double elapsed)
{
    struct timespec now;
    struct tm tm;
    char at[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S", &tm);
    printf("{\"Time\":\"%s.%09ldZ\",\"Action\":\"%s\",\"Package\":", at, now.tv_nsec, action);
    string_put(json_package, strlen(json_package));
    if (json_test) {
        fputs(",\"Test\":", stdout);
        string_put(json_test, strlen(json_test));
    }
    if (output) {
        fputs(",\"Output\":", stdout);
        string_put(output, len);
    }
    if (elapsed >= 0)
        printf(",\"Elapsed\":%.3g", elapsed);
    puts("}");
}

/* A long line is several events, as of test2json, since what reads them does not take one of any
 * length. No character is in two. */
static void line_put(const char *line, size_t len)
{
    enum { MOST = 4096 };
    for (size_t n; len > MOST; line += n, len -= n) {
        n = MOST;
        while (n > MOST - 3 && ((unsigned char)line[n] & 0xc0) == 0x80)
            n--;
        n -= is_escaped(line + n - 1, 2);
        event_put("output", line, n, -1);
    }
    event_put("output", line, len, -1);
}

static void test_is(const char *name, size_t len)
{
    free(json_test);
    json_test = name ? text_own("%.*s", (int)len, name) : NULL;
}

static void report_flush(void)
{
    if (report_action) {
        event_put(report_action, NULL, 0, report_elapsed);
        test_is(NULL, 0);
    }
    report_action = NULL;
}

void test_json_start(const char *package)
{
    json_package = package;
    test_is(NULL, 0);
    event_put("start", NULL, 0, -1);
}

/* ---- Which tests are under way ---- */

typedef struct started {
    struct started *next;
    char name[];
} started;
static started *running;

static void running_add(const char *name)
{
    started *one = malloc(sizeof *one + strlen(name) + 1);
    if (one == NULL) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    strcpy(one->name, name);
    one->next = running;
    running = one;
}

static void running_remove(const char *name)
{
    for (started **at = &running, *one; (one = *at) != NULL; at = &one->next)
        if (strcmp(one->name, name) == 0) {
            *at = one->next;
            free(one);
            return;
        }
}

/* A subtest of it is, too. */
static bool has_running_below(const char *name)
{
    size_t n = strlen(name);
    for (const started *one = running; one != NULL; one = one->next)
        if (strncmp(one->name, name, n) == 0 && one->name[n] == '/')
            return true;
    return false;
}

/* Output of a test that has ended. */
static void late_put(const char *line, size_t len)
{
    const char *whose = NULL;
    int n = 0;
    for (const started *one = running; one != NULL; one = one->next)
        if (!has_running_below(one->name) && n++ == 0)
            whose = one->name;
    if (n > 0) {
        report_flush();
        test_is(n == 1 ? whose : NULL, n == 1 ? strlen(whose) : 0);
    }
    line_put(line, len);
}

static void output_put(const char *line, size_t len)
{
    if (report_action)
        late_put(line, len);
    else
        line_put(line, len);
}

/* "=== RUN   name" */
static void mark_line(const char *line, size_t len)
{
    static const struct {
        const char *text;
        const char *action;
    } marks[] = {{"RUN   ", "run"}, {"PAUSE ", "pause"}, {"CONT  ", "cont"}, {"NAME  ", NULL}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i].text);
        if (len < 4 + n || strncmp(line + 4, marks[i].text, n) != 0)
            continue;
        size_t end = line[len - 1] == '\n' ? len - 1 : len;
        test_is(line + 4 + n, end - 4 - n);
        if (marks[i].action) {
            running_remove(json_test);
            if (strcmp(marks[i].action, "pause") != 0)
                running_add(json_test);
            event_put(marks[i].action, NULL, 0, -1);
            line_put(line, len);
        }
        return;
    }
    line_put(line, len);
}

/* "--- PASS: name (0.00s)" */
static void result_line(const char *line, size_t len)
{
    const char *name = line + strlen("--- PASS: ");
    const char *end = line + len;
    while (end > name && *end != '(')
        end--;
    report_action = strncmp(line + 4, "PASS", 4) == 0   ? "pass"
                    : strncmp(line + 4, "SKIP", 4) == 0 ? "skip"
                                                        : "fail";
    report_elapsed = strtod(end + 1, NULL);
    test_is(name, end > name ? (size_t)(end - 1 - name) : 0);
    running_remove(json_test);
    line_put(line, len);
}

static bool is_own(const char *line, size_t len)
{
    static const char *const own[] = {"\x16=== ", "\x16--- ", "\x16PASS\n",
                                      "\x16"
                                      "FAIL\n"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (len >= strlen(own[i]) && memcmp(line, own[i], strlen(own[i])) == 0)
            return true;
    return false;
}

void test_json_line(const char *line, size_t len)
{
    for (size_t at = 1; at < len; at++)
        if (is_own(line + at, len - at)) {
            output_put(line, at);
            test_json_line(line + at, len - at);
            return;
        }
    if (!is_own(line, len)) {
        output_put(line, len);
        return;
    }
    line++;
    len--;
    report_flush();
    if (len > 4 && strncmp(line, "=== ", 4) == 0) {
        mark_line(line, len);
    } else if (len > 14 && line[0] == '-') {
        result_line(line, len);
    } else {
        test_is(NULL, 0);
        line_put(line, len);
    }
}

void test_json_end(const char *action, double elapsed)
{
    report_flush();
    test_is(NULL, 0);
    while (running != NULL)
        running_remove(running->name);
    event_put(action, NULL, 0, elapsed);
    fflush(stdout);
}
