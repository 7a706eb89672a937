/* SPDX-License-Identifier: MIT */
/* test.h: `belay test`: finds, builds and runs test files. */
#ifndef BELAY_CMD_TEST_H
#define BELAY_CMD_TEST_H

#include "flags.h"

typedef struct test_flags {
    flags build;
    words pass; /* to the test programs */
    words args; /* -args: to the tests */
    bool verbose, json, bench, list, failfast;
    bool warns;        /* -leak warn: tests that pass have something to say */
    bool compile;      /* -c */
    const char *junit; /* -junit; NULL: not given */
    const char *coverprofile;
    words places; /* DIR, DIR/..., FILE */
} test_flags;

/* As flags_parse. */
int test_flags_parse(test_flags *f, char **argv);

/* A test file, and the program that is made of it. */
typedef struct test_file {
    const char *path;
    const char *dir;
    const char *program; /* NULL: it could not be built */
} test_file;

typedef struct test_files {
    test_file *at; /* those of one directory are neighbours */
    size_t len;
} test_files;

/* What the places name. A directory without test files has one entry with a NULL path. */
int test_files_find(test_files *files, const words *places);

/* The main of a test program: testmain.c. */
extern const char test_main_text[];

/* Builds all, several at a time. What the compiler says is on stderr. */
int test_files_build(test_files *files, const test_flags *f);

/* Where the inputs are kept that fuzzing of the file has found; NULL: it cannot be. */
const char *test_files_fuzz_dir(const test_file *file);

/* Writes the programs to where -o says. */
int test_files_keep(const test_files *files, const test_flags *f);

/* -cover. find: what it needs, or an exit status after it has complained. flags: those that the compiler makes notes with, and
 * built: it has. begin: where a run of the program is to leave its counts, and end: they are added. say: "coverage: 83.3% of
 * statements", of the runs since it was asked last. profile: writes what all have counted. */
int test_cover_find(const test_flags *f);
int test_cover_flags(words *command, const char *program);
bool test_cover_built(const char *program);
const char *test_cover_begin(const test_file *file);
void test_cover_end(const test_file *file, const char *dir);
const char *test_cover_say(void);
int test_cover_profile(const char *path);

/* -junit: opens the file; a file for the results of one program, then what it has written, or that there was none; and
 * all of it into the file. */
int test_junit_begin(const char *path);
const char *test_junit_part(void);
void test_junit_add(const char *name, const char *part, const char *output);
int test_junit_end(void);

/* An output line of a test program as events. NULL: the program begins, or ends with this result. */
void test_json_start(const char *package);
void test_json_line(const char *line, size_t len);
void test_json_end(const char *action, double elapsed);

/* What runs, on a terminal. begin: false, it is none. read: what a program says. erase: before len bytes of output. */
bool test_progress_begin(const char *what);
void test_progress_read(int fd);
void test_progress_erase(const char *output, size_t len);

int test_command(char **argv);

#endif
