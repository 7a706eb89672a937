/* SPDX-License-Identifier: MIT */
/* testflags.c: the flags of `belay test`: some are its own, the others go to the test programs. */
#include "test.h"

#include <string.h>

#include "test/test.h"

static const char *const with_value[] = {
    "run",  "skip", "count", "cpu",   "timeout",   "parallel", "test-timeout", "shuffle",
    "seed", "leak", "list",  "bench", "benchtime", "fuzz",     "fuzztime",     NULL};
static const char *const without[] = {"v",      "short",    "failfast", "until-fail",
                                      "update", "benchmem", NULL};
static const char *const own[] = {"race", "asan", "ubsan", "g",     "x", "json",
                                  "c",    "h",    "help",  "cover", NULL};
static const char *const own_with_value[] = {"o", "junit", "coverprofile", NULL};

static bool among(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static int unknown(const char *word, const char *name)
{
    const char *nearest = text_nearest(name, with_value);
    if (!nearest)
        nearest = text_nearest(name, without);
    if (!nearest)
        nearest = text_nearest(name, own);
    if (!nearest)
        nearest = text_nearest(name, own_with_value);
    if (nearest)
        complain("unknown flag %s; did you mean -%s?", word, nearest);
    else
        complain("unknown flag %s; 'belay help test' lists the flags", word);
    return EXIT_USAGE;
}

static int own_flag(test_flags *f, const char *name, bool on)
{
    if (strcmp(name, "race") == 0)
        return flags_set_mode(&f->build, MODE_RACE, on, "tests");
    if (strcmp(name, "asan") == 0)
        return flags_set_mode(&f->build, MODE_ASAN, on, "tests");
    *(strcmp(name, "ubsan") == 0   ? &f->build.ubsan
      : strcmp(name, "g") == 0     ? &f->build.debug
      : strcmp(name, "x") == 0     ? &f->build.trace
      : strcmp(name, "cover") == 0 ? &f->build.cover
      : strcmp(name, "json") == 0  ? &f->json
      : strcmp(name, "c") == 0     ? &f->compile
                                   : &f->build.help) = on;
    return 0;
}

/* Of those that go to the programs, what matters here as well: the last of each counts, and an empty
 * pattern is as none. */
static void flag_note(test_flags *f, const char *name, const char *value)
{
    bool on = strcmp(value, "false") != 0 && strcmp(value, "0") != 0;
    if (strcmp(name, "v") == 0)
        f->verbose = on;
    else if (strcmp(name, "failfast") == 0)
        f->failfast = on;
    else if (strcmp(name, "bench") == 0)
        f->bench = *value != '\0';
    else if (strcmp(name, "list") == 0)
        f->list = *value != '\0';
    else if (strcmp(name, "fuzz") == 0)
        f->build.fuzz = *value != '\0';
    else if (strcmp(name, "leak") == 0)
        f->warns = strcmp(value, "warn") == 0;
}

/* One flag or place, at **argv; moves on to its value. */
static int flag_take(test_flags *f, char ***argv)
{
    const char *word = **argv, *value, *name = flags_name(word, &value);
    if (!name) {
        words_add(&f->places, word);
        return 0;
    }
    if (strncmp(name, "test.", 5) == 0)
        name += 5;
    if (among(name, own)) {
        bool on;
        int err = flags_switch(name, value, &on);
        return err ? err : own_flag(f, name, on);
    }
    bool mine = among(name, own_with_value);
    bool takes = mine || among(name, with_value);
    if (!takes && !among(name, without))
        return unknown(word, name);
    bool apart = takes && !value;
    if (!value)
        value = takes ? (*argv)[1] : "true";
    if (!value || (mine && !*value)) {
        complain("-%s needs a value; 'belay help test' says which", name);
        return EXIT_USAGE;
    }
    *argv += apart;
    if (mine) {
        *(strcmp(name, "o") == 0       ? &f->build.out
          : strcmp(name, "junit") == 0 ? &f->junit
                                       : &f->coverprofile) = value;
        f->build.cover |= f->coverprofile != NULL;
        return 0;
    }
    const char *wants = bl__test_flag_set(name, value);
    if (wants) {
        complain("-%s=%s is not %s", name, value, wants);
        return EXIT_USAGE;
    }
    flag_note(f, name, value);
    words_add(&f->pass, text_format("-%s=%s", name, value));
    return 0;
}

int test_flags_parse(test_flags *f, char **argv)
{
    *f = (test_flags){.build = {.command = "test", .test = true}};
    for (; *argv; argv++) {
        if (strcmp(*argv, "-args") == 0 || strcmp(*argv, "--args") == 0) {
            while (*++argv)
                words_add(&f->args, *argv);
            break;
        }
        int err = flag_take(f, &argv);
        if (err)
            return err;
    }
    if (f->build.cover && f->build.fuzz) {
        complain("-cover and -fuzz do not go together: libFuzzer counts for itself");
        return EXIT_USAGE;
    }
    if (f->places.len == 0)
        words_add(&f->places, ".");
    if (f->json)
        words_add(&f->pass, "-v=test2json");
    return 0;
}
