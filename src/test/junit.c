/* SPDX-License-Identifier: MIT */
/*
 * junit.c: -junit FILE: the results as one <testsuite>, as continuous integration reads them.
 * Written when all has ended, or was interrupted.
 */
#include <errno.h>
#include <stdlib.h>

#include "test/test.h"
#include "test/xml.h"

static struct {
    bl__text cases;
    size_t count, failed, skipped;
    bl_time began;
} suite;

static void xml_put(bl__text *b, const char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        const char *as = bl__xml_char(s + i, n - i, &len);
        bl__text_put(b, as != NULL ? as : s + i, as != NULL ? strlen(as) : len);
    }
}

static void attribute_put(bl__text *b, const char *name, const char *value)
{
    bl__text_printf(b, " %s=\"", name);
    xml_put(b, value, strlen(value));
    bl__text_put(b, "\"", 1);
}

void bl__junit_begin(void) { suite.began = bl_now(); }

void bl__junit_case(const char *name, int state, bl_dur took, const bl__text *log)
{
    bl__text *b = &suite.cases;
    if (bl__tests.junit == NULL)
        return;
    bl__text_printf(b, "\t\t<testcase");
    attribute_put(b, "classname", bl__tests.file);
    attribute_put(b, "name", name);
    bl__text_printf(b, " time=\"%.6f\">", (double)took / (double)BL_SEC);
    const char *end = "";
    suite.count++;
    if (state == BL__ITEM_FAILED) {
        suite.failed++;
        bl__text_printf(b, "<failure message=\"Failed\" type=\"\">");
        end = "</failure>";
    } else if (state == BL__ITEM_SKIPPED) {
        suite.skipped++;
        bl__text_printf(b, "<skipped>");
        end = "</skipped>";
    }
    if (*end != '\0')
        xml_put(b, log->at != NULL ? log->at : "", log->len);
    bl__text_printf(b, "%s</testcase>\n", end);
}

bool bl__junit_end(void)
{
    if (bl__tests.junit == NULL)
        return true;
    bl__text head = {0};
    bl__text_printf(&head, "\t<testsuite");
    attribute_put(&head, "name", bl__tests.file);
    bl__text_printf(&head,
                    " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"%.6f\">\n",
                    suite.count, suite.failed, suite.skipped,
                    (double)(bl_now() - suite.began) / (double)BL_SEC);
    bl__text_put(&head, suite.cases.at != NULL ? suite.cases.at : "", suite.cases.len);
    bl__text_printf(&head, "\t</testsuite>\n");
    FILE *out = fopen(bl__tests.junit, "we");
    bool ok = out != NULL && fwrite(head.at, 1, head.len, out) == head.len;
    if (out != NULL && fclose(out) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "belay: %s cannot be written: %s\n", bl__tests.junit, strerror(errno));
    bl__text_free(&head);
    bl__text_free(&suite.cases);
    return ok;
}
