/* SPDX-License-Identifier: MIT */
/*
 * treegrep_dfa.h: a first look at lines, for patterns of which no fixed string is known.
 *
 * regexec takes some 20 to 100 ns a byte, an automaton with a table one or two. So the pattern is
 * made one, after Glushkov: each place in the pattern that takes a character is a position, a state
 * is the set of positions whose character was just read, and 64 of them fit a word. Rows of the
 * table are made as they are needed ("lazily"), since few of all possible states come up.
 *
 * ^ and $ are positions that take the newline before and behind the line. What a single element
 * matches is asked of regexec itself, byte by byte, so that brackets and the locale mean the same. In
 * a multibyte locale an element that might match more than ASCII takes any row of bytes that are no
 * ASCII; and \b and its kin are taken to hold. So what the automaton refuses does not match; what it
 * finds does for sure only where it is exact. Back-references and rare syntax it leaves to regexec.
 */
#ifndef TREEGREP_DFA_H
#define TREEGREP_DFA_H

#include <ctype.h>
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DFA_POSITIONS = 64, DFA_STATES = 128, DFA_UNKNOWN = 0, DFA_FOUND = 1, DFA_DEPTH = 20 };

/* A pattern as an automaton; immutable once made. */
typedef struct automaton {
    bool usable;
    bool exact; /* but for lines that are not ASCII, where wide */
    bool wide;
    bool always;          /* every line matches */
    uint64_t first, last; /* positions that a match can begin with, and end with */
    uint64_t anchors;     /* those of ^ */
    uint64_t follow[DFA_POSITIONS];
    uint64_t takes[256]; /* the positions that take this byte */
} automaton;

/* The table of states met so far; a searcher's own. */
typedef struct dfa {
    const automaton *a;
    unsigned count;
    uint64_t set[DFA_STATES];
    uint16_t next[DFA_STATES][256]; /* DFA_UNKNOWN, DFA_FOUND, or a state */
} dfa;

/* ---- From the pattern to positions ----------------------------------------------------------- */

typedef struct fragment {
    uint64_t first, last;
    bool nullable;
} fragment;

typedef struct dfa_parser {
    automaton *a;
    const char *s;
    int cflags;
    bool multibyte, failed;
    unsigned positions, depth, steps;
} dfa_parser;

static fragment dfa_alternatives(dfa_parser *p);
static const char *element_end(const char *s);

static fragment dfa_position(dfa_parser *p, uint64_t *bit)
{
    p->failed |= p->positions == DFA_POSITIONS;
    *bit = p->failed ? 0 : (uint64_t)1 << p->positions++;
    return (fragment){*bit, *bit, false};
}

static void dfa_joins(automaton *a, uint64_t from, uint64_t to)
{
    for (; from; from &= from - 1)
        a->follow[__builtin_ctzll(from)] |= to;
}

/* ^ or $ */
static fragment dfa_anchor(dfa_parser *p, bool begin)
{
    uint64_t bit;
    fragment f = dfa_position(p, &bit);
    p->s++;
    p->a->takes['\n'] |= bit;
    p->a->anchors |= begin ? bit : 0;
    /* In a group several could stand at one place, and only one can take the newline. */
    p->failed |=
        p->depth > 0 || *p->s == '*' || (*p->s == '\\' && p->s[1] && strchr("+?{", p->s[1]));
    return f;
}

/* A character, \x, . or […], of len bytes. */
static fragment dfa_element(dfa_parser *p, size_t len)
{
    char text[128];
    uint64_t bit;
    regex_t re;
    fragment f = dfa_position(p, &bit);
    bool brackets =
        *p->s == '[' && (memmem(p->s + 1, len - 1, "[.", 2) || memmem(p->s + 1, len - 1, "[=", 2));
    if (p->failed || brackets || len > sizeof text - 3 || (p->multibyte && *p->s & 0x80) ||
        snprintf(text, sizeof text, "^%.*s$", (int)len, p->s) < 0 ||
        regcomp(&re, text, p->cflags | REG_NOSUB) != 0) {
        p->failed = true;
        return f;
    }
    for (int c = 1; c < (p->multibyte ? 128 : 256); c++)
        if (c != '\n' && regexec(&re, (char[]){(char)c, 0}, 0, NULL, 0) == 0)
            p->a->takes[c] |= bit;
    regfree(&re);
    bool plain = len == 1 ? *p->s != '.' : *p->s == '\\' && !isalpha((unsigned char)p->s[1]);
    if (p->multibyte && (!plain || p->cflags & REG_ICASE)) {
        uint64_t more;
        (void)dfa_position(p, &more);
        for (int c = 128; c < 256; c++)
            p->a->takes[c] |= bit | more;
        dfa_joins(p->a, bit | more, more);
        f.last |= more;
        p->a->wide = true;
    }
    p->s += len;
    return f;
}

static bool dfa_branch_ends(const char *s)
{
    return !*s || (*s == '\\' && (s[1] == ')' || s[1] == '|'));
}

static fragment dfa_atom(dfa_parser *p, bool begins)
{
    const char *s = p->s;
    if (++p->steps > 10000 || (begins && *s == '*'))
        p->failed = true;
    if ((begins && *s == '^') || (*s == '$' && dfa_branch_ends(s + 1)))
        return dfa_anchor(p, *s == '^');
    if (*s == '\\' && s[1] == '(') {
        p->s += 2;
        p->failed |= ++p->depth > DFA_DEPTH;
        fragment f = p->failed ? (fragment){0} : dfa_alternatives(p);
        p->depth--;
        p->failed |= strncmp(p->s, "\\)", 2) != 0;
        p->s += p->failed ? 0 : 2;
        return f;
    }
    if (*s == '\\' && s[1] && strchr("bB<>", s[1])) { /* taken to hold */
        p->a->exact = false;
        p->s += 2;
        return (fragment){.nullable = true};
    }
    const char *end = element_end(s);
    p->failed |= !end || (*s == '\\' && (!s[1] || strchr("{+?123456789`'", s[1]) ||
                                         (isalpha((unsigned char)s[1]) && !strchr("wWsS", s[1]))));
    return p->failed ? (fragment){0} : dfa_element(p, (size_t)(end - s));
}

static fragment dfa_then(automaton *a, fragment f, fragment g)
{
    dfa_joins(a, f.last, g.first);
    return (fragment){f.first | (f.nullable ? g.first : 0), g.last | (g.nullable ? f.last : 0),
                      f.nullable && g.nullable};
}

/* f is the atom at `from`, which stands before \{m,n\}: it is read again for each further copy. */
static fragment dfa_counted(dfa_parser *p, fragment f, const char *from, bool begins)
{
    char *s;
    long least = strtol(p->s + 2, &s, 10), most = least;
    if (s != p->s + 2 && *s == ',')
        most = s[1] == '\\' ? -1 : strtol(s + 1, &s, 10);
    s += most < 0;
    if (strncmp(s, "\\}", 2) != 0 || least > DFA_POSITIONS || most > DFA_POSITIONS || most == 0 ||
        (most > 0 && most < least)) {
        p->failed = true;
        return f;
    }
    fragment all = f;
    all.nullable |= least == 0;
    if (most < 0 && least <= 1)
        dfa_joins(p->a, f.last, f.first);
    for (long i = 2; i <= (most < 0 ? least : most) && !p->failed; i++) {
        p->s = from;
        fragment g = dfa_atom(p, begins);
        g.nullable |= i > least;
        if (most < 0 && i == least)
            dfa_joins(p->a, g.last, g.first);
        all = dfa_then(p->a, all, g);
    }
    p->s = s + 2;
    return all;
}

static fragment dfa_piece(dfa_parser *p, bool begins)
{
    const char *from = p->s;
    fragment f = dfa_atom(p, begins);
    bool repeated = false;
    while (!p->failed && (*p->s == '*' || (*p->s == '\\' && p->s[1] && strchr("+?{", p->s[1])))) {
        char op = p->s[*p->s == '*' ? 0 : 1];
        if (op == '{') {
            p->failed |= repeated;
            return p->failed ? f : dfa_counted(p, f, from, begins);
        }
        p->s += op == '*' ? 1 : 2;
        repeated = true;
        if (op != '?')
            dfa_joins(p->a, f.last, f.first);
        f.nullable |= op != '+';
    }
    return f;
}

static fragment dfa_alternatives(dfa_parser *p)
{
    fragment all = {0};
    for (;;) {
        fragment branch = {.nullable = true};
        for (bool begins = true; !p->failed && !dfa_branch_ends(p->s); begins = false)
            branch = dfa_then(p->a, branch, dfa_piece(p, begins));
        all.first |= branch.first;
        all.last |= branch.last;
        all.nullable |= branch.nullable;
        if (p->failed || strncmp(p->s, "\\|", 2) != 0)
            return all;
        p->s += 2;
    }
}

static void automaton_make(automaton *a, const char *pattern, int cflags)
{
    *a = (automaton){.exact = true};
    dfa_parser p = {.a = a, .s = pattern, .cflags = cflags, .multibyte = MB_CUR_MAX > 1};
    fragment f = dfa_alternatives(&p);
    a->first = f.first;
    a->last = f.last;
    a->always = f.nullable || (f.first & f.last & a->takes['\n']) != 0;
    /* A match that ends with the newline before its line would be taken for the line's before. */
    a->usable = !p.failed && !*p.s && (a->always || !(a->last & a->anchors));
}

/* ---- Reading --------------------------------------------------------------------------------- */

static uint16_t dfa_state(dfa *d, uint64_t set)
{
    for (unsigned i = DFA_FOUND + 1; i < d->count; i++)
        if (d->set[i] == set)
            return (uint16_t)i;
    if (d->count == DFA_STATES)
        d->count = 0;
    if (d->count == 0) { /* begin anew: whoever has the number of a state drops it */
        memset(d->next, 0, sizeof d->next);
        d->count = DFA_FOUND + 1;
    }
    d->set[d->count] = set;
    return (uint16_t)d->count++;
}

/* Reads c in a state with this set. */
static uint16_t dfa_step(dfa *d, uint64_t set, unsigned char c)
{
    uint64_t to = d->a->first;
    for (; set; set &= set - 1)
        to |= d->a->follow[__builtin_ctzll(set)];
    to &= d->a->takes[c];
    return to & d->a->last ? DFA_FOUND : dfa_state(d, to);
}

/* The lines [p, end): a byte of the first that matches, or of the newline behind it; or NULL. */
static const char *dfa_find(dfa *d, const char *p, const char *end)
{
    bool open = p == end || end[-1] != '\n';
    if (d->a->always)
        return p;
    uint16_t s = dfa_step(d, 0, '\n');
    for (;; p++) {
        if (p == end && !open)
            return NULL;
        unsigned char c = p == end ? '\n' : (unsigned char)*p;
        uint16_t to = d->next[s][c];
        if (to == DFA_UNKNOWN) {
            unsigned before = d->count;
            to = dfa_step(d, d->set[s], c);
            if (d->count >= before) /* else the table was begun anew */
                d->next[s][c] = to;
        }
        if (to == DFA_FOUND || p == end)
            return to == DFA_FOUND ? p : NULL;
        s = to;
    }
}

#endif
