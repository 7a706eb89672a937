/* SPDX-License-Identifier: MIT */
/* util.h: messages, strings and word lists of the command. Nothing here returns on no memory. */
#ifndef BELAY_CMD_UTIL_H
#define BELAY_CMD_UTIL_H

#include <stdbool.h>
#include <stddef.h>

/* A growing list of words, NULL behind the last: what execvp takes. All zero is empty. */
typedef struct words {
    char **at;
    size_t len;
    size_t cap;
} words;

/* Adds a copy of word. */
void words_add(words *w, const char *word);

/* Adds the words of text, split as a shell would: blanks separate, '…', "…" and \ quote. False: a
 * quote is not closed. NULL has no words. */
bool words_add_split(words *w, const char *text);

/* Prints them on stderr, quoted so that a shell would read the same words. */
void words_print(const words *w);

/* sprintf into fresh memory. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same in memory that free takes. text_format's lasts as long as belay. */
char *text_own(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The path of something temporary, as mkdtemp and mkstemp take it; and what to say if they fail, by errno. */
char *temporary_path(const char *name);
void temporary_complain(void);

bool text_ends_with(const char *text, const char *end);

/* What the environment says; otherwise, if that is nothing, or blanks. */
const char *environment_or(const char *name, const char *otherwise);

/* A word as a message shows it: one that is empty would not be seen. */
const char *text_shown(const char *word);

/* Both paths are of one file. */
bool path_same(const char *a, const char *b);

/* The name in names (NULL behind the last) that was probably meant by word, or NULL. */
const char *text_nearest(const char *word, const char *const *names);

/* "belay: " and the text and a newline, on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum {
    EXIT_FAILED = 1, /* the program could not be built */
    EXIT_USAGE = 2,  /* the command line asks for something that there is not */
};

#endif
