/* SPDX-License-Identifier: MIT */
#include "flags.h"

#include <string.h>

static const char *const flag_names[] = {"race", "asan", "g", "o", "x", "h", "help", NULL};

const char *flags_name(const char *word, const char **value)
{
    if (word[0] != '-' || word[1] == '\0')
        return NULL;
    const char *start = word + (word[1] == '-' ? 2 : 1);
    const char *equals = strchrnul(start, '=');
    *value = *equals ? equals + 1 : NULL;
    return text_format("%.*s", (int)(equals - start), start);
}

int flags_unknown(const char *command, const char *word, const char *name, const char *const *names)
{
    const char *nearest = text_nearest(name, names);
    if (nearest)
        complain("unknown flag %s; did you mean -%s?", word, nearest);
    else if (names == flag_names && name[0] != '\0' && strchr("DILOUWflm", name[0]))
        complain(
            "unknown flag %s; what the compiler is given stands in CFLAGS or LDLIBS, or in the "
            "source: 'belay help build'",
            word);
    else
        complain("unknown flag %s; 'belay help %s' lists the flags", word, command);
    return EXIT_USAGE;
}

int flags_switch(const char *name, const char *value, bool *on)
{
    *on = !value || strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
    if (*on || strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        return 0;
    complain("-%s takes no value, but true or false", name);
    return EXIT_USAGE;
}

int flags_set_mode(flags *f, mode m, bool on, const char *what)
{
    if (on && f->mode != MODE_PLAIN && f->mode != m) {
        complain("-race and -asan do not go together: run the %s once with each", what);
        return EXIT_USAGE;
    }
    if (on || f->mode == m)
        f->mode = on ? m : MODE_PLAIN;
    return 0;
}

/* One flag or file, at **argv; moves *argv on to the flag's value if that is a word of its own. */
static int flag_read(flags *f, const char *command, char ***argv)
{
    const char *word = **argv, *value, *name = flags_name(word, &value);
    if (!name) {
        words_add(&f->files, word);
        return 0;
    }
    if (strcmp(name, "o") == 0) {
        if (!value)
            value = *++*argv;
        if (!value || !*value || strcmp(value, "--") == 0) {
            complain("-o needs a value: the name of the program to write");
            return EXIT_USAGE;
        }
        f->out = value;
        return 0;
    }
    bool known = false;
    for (const char *const *n = flag_names; *n; n++)
        known |= strcmp(name, *n) == 0;
    if (!known)
        return flags_unknown(command, word, name, flag_names);
    bool on;
    int err = flags_switch(name, value, &on);
    if (err)
        return err;
    if (strcmp(name, "race") == 0)
        return flags_set_mode(f, MODE_RACE, on, "program");
    if (strcmp(name, "asan") == 0)
        return flags_set_mode(f, MODE_ASAN, on, "program");
    *(strcmp(name, "g") == 0 ? &f->debug : strcmp(name, "x") == 0 ? &f->trace : &f->help) = on;
    return 0;
}

int flags_parse(flags *f, const char *command, char **argv)
{
    *f = (flags){.command = command};
    for (; *argv && strcmp(*argv, "--") != 0; argv++) {
        int err = flag_read(f, command, &argv);
        if (err)
            return err;
    }
    f->args = *argv ? argv + 1 : argv;
    return 0;
}
