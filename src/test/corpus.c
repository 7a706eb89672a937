/* SPDX-License-Identifier: MIT */
/*
 * corpus.c: the inputs of fuzz targets: testdata/fuzz/TARGET has a file for each, its bytes as they
 * are. Without -fuzz they are a target's subtests, named after the files.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "test/test.h"

typedef struct input {
    const bl__test_entry *entry;
    const char *path;
} input;

/* In memory of its exact size, so that AddressSanitizer sees what reads beyond its end. */
void bl__fuzz_call(bl_test *t, const bl__test_entry *entry, const void *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        bl__fatal("belay: out of memory in the test runner");
    if (size > 0)
        memcpy(copy, data, size);
    entry->fuzz(t, copy, size);
    free(copy);
}

static void input_run(bl_test *t, void *arg)
{
    const input *in = arg;
    bl__text text = {0};
    if (!bl__file_read(in->path, &text))
        bl__test_say(t, BL__TEST_FAIL | BL__TEST_END, NULL, 0, "%s: %m", in->path);
    bl__fuzz_call(t, in->entry, text.at, text.len);
    bl__text_free(&text);
}

/* As Go: a directory among them is no input. */
static int visible(const struct dirent *e) { return e->d_name[0] != '.' && e->d_type != DT_DIR; }

void bl__corpus_run(bl_test *t, void *arg)
{
    const bl__test_entry *entry = arg;
    struct dirent **list = NULL;
    bl__text path = {0};
    bl__text_printf(&path, "testdata/fuzz/%s", entry->name);
    size_t dir = path.len;
    int n = scandir(path.at, &list, visible, alphasort);
    if (n < 0 && errno != ENOENT)
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "%s: %m", path.at);
    for (int i = 0; i < n; i++) {
        path.len = dir;
        bl__text_printf(&path, "/%s", list[i]->d_name);
        input in = {entry, path.at};
        (void)bl_subtest(t, list[i]->d_name, input_run, &in);
        free(list[i]);
    }
    free(list);
    bl__text_free(&path);
}

bool bl__corpus_store(const char *target, const void *data, size_t size, bl__text *path)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    (void)mkdir("testdata", 0777);
    (void)mkdir("testdata/fuzz", 0777);
    bl__text_printf(path, "testdata/fuzz/%s", target);
    (void)mkdir(path->at, 0777);
    bl__text_printf(path, "/%016llx", (unsigned long long)h);
    FILE *out = fopen(path->at, "we");
    bool ok = out != NULL && fwrite(data, 1, size, out) == size;
    if (out != NULL && fclose(out) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "belay: %s cannot be written: %s\n", path->at, strerror(errno));
    return ok;
}
