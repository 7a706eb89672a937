/* SPDX-License-Identifier: MIT */
/*
 * top.c: a live table of a program's goroutines, with plain escape sequences, which every terminal of
 * today knows. Each second the program is read anew (local.c, remote.c); it is never stopped.
 */
#include "flags.h"
#include "help.h"
#include "look.h"
#include "process.h"
#include "util.h"
#include "view.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { REFRESH_MS = 1000, ESCAPE = 27, BACKSPACE = 127 };

typedef struct screen {
    view v;
    size_t lines, columns;
    size_t first, selected;
    bool typing;  /* the filter */
    bool looking; /* into the selected goroutine */
    struct termios before;
} screen;

static void screen_size(screen *s)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 4 && w.ws_col > 20;
    s->lines = known ? w.ws_row : 24;
    s->columns = known ? w.ws_col : 80;
}

static void screen_print(screen *s)
{
    screen_size(s);
    if (s->selected >= s->v.rows_len)
        s->selected = s->v.rows_len == 0 ? 0 : s->v.rows_len - 1;
    size_t visible = s->lines > 12 ? s->lines - 10 : 2;
    if (s->selected < s->first)
        s->first = s->selected;
    if (s->selected >= s->first + visible)
        s->first = s->selected - visible + 1;
    printf("\033[H");
    if (s->looking && s->v.rows_len > 0)
        s->v.from->look(s->v.from, s->v.all.at[s->v.rows[s->selected]].id, stdout, s->lines - 1,
                        "\033[K\n");
    else
        view_print(&s->v, stdout, s->first, s->lines - 1, s->columns, s->selected, "\033[K\n");
    printf("\033[J\033[%zuH", s->lines);
    if (s->typing || s->v.filter[0] != '\0')
        printf("filter: %s%s  ", s->v.filter, s->typing ? "_" : "");
    printf("%s  s sort (%s)  / filter  up, down, enter: look into one  q quit\033[K",
           s->looking ? "esc back" : "", view_sort_names[s->v.sort]);
    fflush(stdout);
}

static void filter_key(screen *s, char key)
{
    size_t n = strlen(s->v.filter);
    if (key == '\n' || key == '\r' || key == ESCAPE)
        s->typing = false;
    else if (key == BACKSPACE && n > 0)
        s->v.filter[n - 1] = '\0';
    else if (key >= ' ' && key < BACKSPACE && n + 1 < sizeof s->v.filter) {
        s->v.filter[n] = key;
        s->v.filter[n + 1] = '\0';
    }
}

/* False: quit. */
static bool keys_take(screen *s, const char *keys, ssize_t n)
{
    if (n >= 3 && keys[0] == ESCAPE && keys[1] == '[') {
        if (keys[2] == 'A' && s->selected > 0)
            s->selected--;
        if (keys[2] == 'B')
            s->selected++;
        return true;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (s->typing) {
            filter_key(s, keys[i]);
            continue;
        }
        switch (keys[i]) {
        case 'q': return false;
        case 's': s->v.sort = view_sort_names[s->v.sort + 1] == NULL ? 0 : s->v.sort + 1; break;
        case '/':
            s->typing = true;
            s->v.filter[0] = '\0';
            break;
        case 'k': s->selected -= s->selected > 0; break;
        case 'j': s->selected++; break;
        case '\n':
        case '\r': s->looking = true; break;
        case ESCAPE: s->looking = false; break;
        default: break;
        }
    }
    return true;
}

static int live(screen *s)
{
    tcgetattr(STDIN_FILENO, &s->before);
    struct termios raw = s->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    printf("\033[?1049h\033[?25l\033[?7l");
    bool there = true;
    while (there && !process_interrupted()) {
        screen_print(s);
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        char keys[64];
        if (poll(&in, 1, REFRESH_MS) > 0) {
            ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
            if (n <= 0 || !keys_take(s, keys, n))
                break;
        }
        there = view_read(&s->v);
    }
    printf("\033[?7h\033[?25h\033[?1049l");
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
    if (there)
        return 0;
    complain("the program has ended");
    return EXIT_FAILED;
}

static int sort_take(screen *s, const char *name)
{
    int i = 0;
    while (view_sort_names[i] != NULL && strcmp(view_sort_names[i], name) != 0)
        i++;
    if (view_sort_names[i] == NULL) {
        complain("-sort %s: there are since, switches, stack, state and id", text_shown(name));
        return EXIT_USAGE;
    }
    s->v.sort = (view_sort)i;
    return 0;
}

/* The flag at **argv; moves on to its value. */
static int flag_take(screen *s, char ***argv, bool *once)
{
    static const char *const names[] = {"once", "sort", "filter", NULL};
    const char *word = **argv, *value, *name = flags_name(word, &value);
    if (strcmp(name, "once") == 0)
        return flags_switch(name, value, once);
    if (strcmp(name, "sort") != 0 && strcmp(name, "filter") != 0)
        return flags_unknown("top", word, name, names);
    if (value == NULL && (value = (*argv)[1]) == NULL) {
        complain("-%s needs a value; 'belay help top' says which", name);
        return EXIT_USAGE;
    }
    *argv += value == (*argv)[1];
    if (strcmp(name, "sort") == 0)
        return sort_take(s, value);
    strncpy(s->v.filter, value, sizeof s->v.filter - 1);
    return 0;
}

/* Flags and what to look at. */
static int arguments_take(screen *s, char **argv, bool *once, const char **where)
{
    const char *value;
    int err;
    for (; *argv != NULL; argv++) {
        if (flags_name(*argv, &value) != NULL) {
            if ((err = flag_take(s, &argv, once)) != 0)
                return err;
        } else if (*where != NULL) {
            break;
        } else {
            *where = *argv;
        }
    }
    if (*where != NULL && *argv == NULL)
        return 0;
    complain("top takes the number of one process or the address of a debug endpoint, as in "
             "'belay top 4711'");
    return EXIT_USAGE;
}

int top_main(char **argv)
{
    screen s = {.lines = 0};
    bool once = false;
    const char *where = NULL;
    if (argv[0] != NULL && help_asked(argv[0]))
        return help_command("top");
    int err = arguments_take(&s, argv, &once, &where);
    if (err)
        return err;
    s.v.from = strchr(where, ':') != NULL ? source_url(where, &err) : source_process(where, &err);
    if (s.v.from == NULL)
        return err;
    if (!view_read(&s.v)) {
        complain("the program has ended");
        err = EXIT_FAILED;
    } else if (once || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
        view_print(&s.v, stdout, 0, 0, 0, SIZE_MAX, "\n");
    } else {
        err = live(&s);
    }
    view_close(&s.v);
    s.v.from->close(s.v.from);
    return err;
}
