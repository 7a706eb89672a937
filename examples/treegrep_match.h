/* SPDX-License-Identifier: MIT */
/*
 * treegrep_match.h: what treegrep knows about lines and patterns. No goroutines here.
 *
 * regexec is asked as little as possible: every match of most patterns contains some fixed string,
 * and finding that one with memchr for its rarest byte is some ten times faster. What is left goes
 * through an automaton first (treegrep_dfa.h).
 */
#ifndef TREEGREP_MATCH_H
#define TREEGREP_MATCH_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>

#include "treegrep_dfa.h"

typedef struct pattern {
    const char *text;
    int cflags; /* for regcomp */
    bool icase;
    bool by_line;  /* anchored to a buffer: to be shown single lines only */
    bool regex;    /* text is more than a fixed string */
    char lit[256]; /* a string that every matching line has; length 0: none known */
    size_t lit_len;
    size_t rare;         /* the index in lit of the byte that is searched for first */
    automaton automaton; /* if usable */
} pattern;

/* Past the special element at s: \x, \{…\}, […] or a character. NULL: past understanding. */
static const char *element_end(const char *s)
{
    if (*s == '\\' && s[1] == '{') {
        s = strstr(s, "\\}");
        return s ? s + 2 : NULL;
    }
    if (*s == '\\')
        return s[1] && !strchr("(|", s[1]) ? s + 2 : NULL;
    if (*s != '[')
        return s + 1;
    s += s[1] == '^' ? 2 : 1;
    for (const char *first = s; *s && (*s != ']' || s == first); s++) {
        if (*s != '[' || !s[1] || !strchr(".:=", s[1]))
            continue;
        s = s[1] == ':' ? strstr(s, ":]") : NULL;
        if (!s)
            return NULL;
        s++;
    }
    return *s ? s + 1 : NULL;
}

/* How seldom text has this byte. */
static size_t byte_rank(unsigned char c)
{
    static const char common[] = " etaoinsrldcu_fpmh\tg*-/.,()=;bvy0w1x\"#>k<2";
    const char *at = strchr(common, c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    return at ? (size_t)(at - common) : sizeof common;
}

/* Keeps the run as the literal if it is the rarest so far, and finds the rarest byte in it. */
static void literal_offer(pattern *p, const char *run, size_t len, size_t *best)
{
    size_t score = 0, rare = 0;
    for (size_t i = 0; i < len; i++) {
        size_t rank = byte_rank((unsigned char)run[i]);
        score += rank + 1;
        if (rank > byte_rank((unsigned char)run[rare]))
            rare = i;
    }
    if (score <= *best)
        return;
    *best = score;
    memcpy(p->lit, run, len);
    p->lit_len = len;
    p->rare = rare;
}

/* Finds the rarest of the runs of plain characters that every match contains. Groups and
 * alternatives are past understanding: then it does without. */
static void pattern_find_literal(pattern *p)
{
    char run[sizeof p->lit];
    size_t len = 0, best = 0;
    for (const char *s = p->text;;) {
        bool quoted = *s == '\\' && s[1] && strchr(".[]*^$\\", s[1]);
        char c = s[quoted];
        bool plain = c && (quoted || !strchr("\\.[*^$", c)) && !(p->icase && (c & 0x80));
        if (plain && len < sizeof run) {
            run[len++] = c;
            s += 1 + quoted;
            continue;
        }
        p->regex |= c != 0; /* there is more to it than one run */
        /* What follows a character can make it optional: the last one is taken back. */
        if (len && (*s == '*' || (*s == '\\' && s[1] && strchr("?{", s[1]))))
            len = (run[len - 1] & 0x80) ? 0 : len - 1;
        literal_offer(p, run, len, &best);
        len = 0;
        if (!*s)
            return;
        s = element_end(s);
        if (!s) {
            p->lit_len = 0;
            return;
        }
    }
}

static const char *byte_next(const char *from, const char *end, int byte)
{
    const char *hit = from < end ? memchr(from, byte, (size_t)(end - from)) : NULL;
    return hit ? hit : end;
}

/* The literal's first place in [p, end), or NULL. */
static const char *literal_find(const pattern *pt, const char *p, const char *end)
{
    if ((size_t)(end - p) < pt->lit_len)
        return NULL;
    const char *last = end - (pt->lit_len - pt->rare) + 1; /* the rare byte is before it */
    int byte = (unsigned char)pt->lit[pt->rare];
    bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    const char *one = byte_next(p + pt->rare, last, byte);
    const char *two = pt->icase && letter ? byte_next(p + pt->rare, last, byte ^ 0x20) : last;
    for (;;) {
        const char *hit = one < two ? one : two;
        if (hit >= last)
            return NULL;
        const char *start = hit - pt->rare;
        if ((pt->icase ? strncasecmp(start, pt->lit, pt->lit_len)
                       : memcmp(start, pt->lit, pt->lit_len)) == 0)
            return start;
        if (hit == one)
            one = byte_next(hit + 1, last, byte);
        else
            two = byte_next(hit + 1, last, byte ^ 0x20);
    }
}

/* Prepares p, of which text and icase are set. False, and the reason in why: no valid pattern. */
static bool pattern_prepare(pattern *p, char *why, size_t size)
{
    p->cflags = REG_NEWLINE | (p->icase ? REG_ICASE : 0);
    p->by_line = strstr(p->text, "\\`") || strstr(p->text, "\\'");
    pattern_find_literal(p);
    regex_t re;
    int r = regcomp(&re, p->text, p->cflags);
    if (r == 0)
        regfree(&re);
    if (r == 0 && p->regex)
        automaton_make(&p->automaton, p->text, p->cflags);
    else if (r != 0)
        regerror(r, &re, why, size);
    return r == 0;
}

static size_t newlines_count(const char *p, const char *end)
{
    size_t n = 0;
    for (; end - p >= 8; p += 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        x ^= 0x0a0a0a0a0a0a0a0aull;
        x = ~(((x & 0x7f7f7f7f7f7f7f7full) + 0x7f7f7f7f7f7f7f7full) | x) & 0x8080808080808080ull;
        n += ((x >> 7) * 0x0101010101010101ull) >> 56;
    }
    for (; p < end; p++)
        n += *p == '\n';
    return n;
}

static bool is_ascii(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        if (x & 0x8080808080808080ull)
            return false;
    }
    for (; p < end; p++)
        if (*p & 0x80)
            return false;
    return true;
}

/* What a searcher has of its own: regcomp's result because glibc's has a lock inside. */
typedef struct matcher {
    regex_t re;
    dfa *dfa; /* NULL: the pattern is none for it */
} matcher;

static void matcher_fini(matcher *m, const pattern *pt)
{
    free(m->dfa);
    if (pt->regex)
        regfree(&m->re);
}

/* False: no memory. */
static bool matcher_init(matcher *m, const pattern *pt)
{
    m->dfa = NULL;
    if (pt->regex && regcomp(&m->re, pt->text, pt->cflags) != 0)
        return false;
    if (!pt->automaton.usable)
        return true;
    m->dfa = malloc(sizeof *m->dfa);
    if (!m->dfa) {
        matcher_fini(m, pt);
        return false;
    }
    m->dfa->a = &pt->automaton;
    m->dfa->count = 0;
    return true;
}

/* How a place was found, and so what is known of its line. */
typedef enum find { FIND_MAYBE, FIND_DFA, FIND_SURE } find;

/* A place in the first of the lines [p, end) that may match, or NULL. */
static const char *candidate_find(const pattern *pt, matcher *m, const char *p, const char *end,
                                  find *how)
{
    *how = pt->regex ? FIND_MAYBE : FIND_SURE;
    if (m->dfa && pt->lit_len < 3) {
        *how = FIND_DFA;
        return dfa_find(m->dfa, p, end);
    }
    if (pt->lit_len)
        return literal_find(pt, p, end);
    if (!pt->regex || pt->by_line)
        return p;
    regmatch_t match = {0, (regoff_t)(end - p)};
    if (regexec(&m->re, p, 1, &match, REG_STARTEND) != 0 ||
        (p + match.rm_so == end && end[-1] == '\n'))
        return NULL;
    if (!memchr(p + match.rm_so, '\n', (size_t)(match.rm_eo - match.rm_so)))
        *how = FIND_SURE; /* else what was found goes on beyond the line */
    return p + match.rm_so;
}

/* Does the line [p, end) match? */
static bool line_matches(matcher *m, const char *p, const char *end, find how)
{
    if (how == FIND_SURE)
        return true;
    if (m->dfa) {
        if (how != FIND_DFA && !dfa_find(m->dfa, p, end))
            return false;
        if (m->dfa->a->exact && (!m->dfa->a->wide || is_ascii(p, end)))
            return true;
    }
    regmatch_t range = {0, (regoff_t)(end - p)};
    return regexec(&m->re, p, 1, &range, REG_STARTEND) == 0;
}

/* Is it valid in the locale's encoding? */
static bool line_is_text(const char *p, const char *end)
{
    mbstate_t state = {0};
    while (p < end) {
        if (!(*p & 0x80)) {
            p++;
            continue;
        }
        size_t n = mbrlen(p, (size_t)(end - p), &state);
        if (n > (size_t)(end - p)) /* (size_t)-1 and -2: no character */
            return false;
        p += n ? n : 1;
    }
    return true;
}

#endif
