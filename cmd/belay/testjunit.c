/* SPDX-License-Identifier: MIT */
/*
 * testjunit.c: -junit: each test program writes its <testsuite> into a file of its own; here they are put into one.
 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/xml.h"

static const char *result; /* the name of the file … */
static FILE *out;          /* … and the file */
static FILE *suites;       /* what there is so far */

static void text_put(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0, len; i < n; i += len) {
        const char *as = bl__xml_char(text + i, n - i, &len);
        fwrite(as ? as : text + i, 1, as ? strlen(as) : len, suites);
    }
}

const char *test_junit_part(void)
{
    char *path = temporary_path("belay-junit-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) {
        temporary_complain();
        return NULL;
    }
    close(fd);
    return path;
}

void test_junit_add(const char *name, const char *part, const char *output)
{
    static char text[65536];
    size_t had = 0;
    if (!suites && !(suites = tmpfile()))
        return;
    FILE *in = part ? fopen(part, "re") : NULL;
    for (size_t n; in && (n = fread(text, 1, sizeof text, in)) > 0; had += n)
        fwrite(text, 1, n, suites);
    if (in)
        fclose(in);
    if (part)
        unlink(part);
    if (had > 0)
        return;
    fputs("\t<testsuite name=\"", suites);
    text_put(name);
    fputs("\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n\t\t<testcase classname=\"",
          suites);
    text_put(name);
    fputs("\" name=\"[the program]\"><error message=\"Failed\">", suites);
    text_put(output);
    fputs("</error></testcase>\n\t</testsuite>\n", suites);
}

int test_junit_begin(const char *path)
{
    result = path;
    out = fopen(path, "we");
    if (!out)
        complain("-junit %s: %s", path, strerror(errno));
    return out ? 0 : EXIT_FAILED;
}

int test_junit_end(void)
{
    static char text[65536];
    bool ok = fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n", out) >= 0;
    if (suites)
        rewind(suites);
    for (size_t n; suites && ok && (n = fread(text, 1, sizeof text, suites)) > 0;)
        ok = fwrite(text, 1, n, out) == n;
    ok = ok && fputs("</testsuites>\n", out) >= 0;
    int err = errno;
    if (fclose(out) != 0) {
        err = errno;
        ok = false;
    }
    if (!ok)
        complain("-junit %s: %s", result, strerror(err));
    return ok ? 0 : EXIT_FAILED;
}
