/* SPDX-License-Identifier: MIT */
/*
 * target.c: memory of another process, and where its runtime lies in it.
 *
 * Reading is process_vm_readv: the process is not stopped, not attached to and sent no signal. Each ELF
 * file that it has mapped is asked for the note "belay" by the program headers in memory, so it may be
 * stripped, deleted or in another container's file system.
 */
#include "target.h"

#include "util.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { VERSION = 1, NAME = 28, ENTRIES_MOST = 1024, HEADERS_MOST = 64, TEXT_MOST = 4096 };

bool target_read(const target *t, uint64_t from, void *to, size_t n)
{
    struct iovec here = {to, n};
    struct iovec there = {(void *)(uintptr_t)from, n};
    return from != 0 && process_vm_readv(t->pid, &here, 1, &there, 1, 0) == (ssize_t)n;
}

bool target_alive(const target *t)
{
    char first = 0;
    return target_read(t, t->rt, &first, sizeof first);
}

uint64_t target_u64(const target *t, uint64_t at)
{
    uint64_t v = 0;
    return target_read(t, at, &v, sizeof v) ? v : 0;
}

uint32_t target_u32(const target *t, uint64_t at)
{
    uint32_t v = 0;
    return target_read(t, at, &v, sizeof v) ? v : 0;
}

char *target_text(const target *t, uint64_t at)
{
    char text[TEXT_MOST + 1];
    size_t n = 0;
    while (n < TEXT_MOST) {
        size_t part = 64 - (at + n) % 64; /* within a page */
        if (part > TEXT_MOST - n)
            part = TEXT_MOST - n;
        if (!target_read(t, at + n, text + n, part))
            return text_own("?");
        n += part;
        text[n] = '\0';
        if (strlen(text) < n)
            break;
    }
    return text_own("%s", text);
}

/* ---- The note ---- */

/* In the notes at from: the address that belay's leads to, or 0. */
static uint64_t note_find(const target *t, uint64_t from, uint64_t size)
{
    for (uint64_t at = from; at + sizeof(Elf64_Nhdr) <= from + size;) {
        Elf64_Nhdr note;
        char name[8] = "";
        if (!target_read(t, at, &note, sizeof note))
            return 0;
        uint64_t body = at + sizeof note + ((uint64_t)note.n_namesz + 3) / 4 * 4;
        if (note.n_namesz == 6 && note.n_descsz == 4 && note.n_type == 1 &&
            target_read(t, at + sizeof note, name, 6) && strcmp(name, "belay") == 0)
            return body + (uint64_t)(int64_t)(int32_t)target_u32(t, body);
        at = body + ((uint64_t)note.n_descsz + 3) / 4 * 4;
    }
    return 0;
}

/* The table that the ELF file mapped at base has, or 0. */
static uint64_t file_find(const target *t, uint64_t base)
{
    Elf64_Ehdr head;
    Elf64_Phdr ph[HEADERS_MOST];
    if (!target_read(t, base, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof *ph ||
        head.e_phnum > HEADERS_MOST ||
        !target_read(t, base + head.e_phoff, ph, head.e_phnum * sizeof *ph))
        return 0;
    uint64_t bias = base;
    for (int i = 0; i < head.e_phnum; i++)
        if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
            bias = base - ph[i].p_vaddr;
    for (int i = 0; i < head.e_phnum; i++) {
        uint64_t at =
            ph[i].p_type == PT_NOTE ? note_find(t, bias + ph[i].p_vaddr, ph[i].p_memsz) : 0;
        if (at != 0)
            return at;
    }
    return 0;
}

/* Looks at each mapping of the beginning of a file. Of several runtimes the one that runs. */
static uint64_t table_find(target *t, FILE *maps, bool *readable)
{
    char line[512];
    uint64_t found = 0;
    *readable = false;
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t base, end, offset;
        char mode[8];
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64, &base, &end, mode, &offset) != 4 ||
            offset != 0 || mode[0] != 'r' || strchr(line, '/') == NULL)
            continue;
        char byte = 0;
        *readable = *readable || target_read(t, base, &byte, 1);
        uint64_t at = file_find(t, base);
        if (at != 0 && (found == 0 || target_u32(t, target_u64(t, at + 16)) != 0))
            found = at;
    }
    return found;
}

/* ---- The table ---- */

static int table_read(target *t, uint64_t table)
{
    static const struct {
        const char *name;
        size_t at;
    } fields[] = {
#define FIELD(field, text) {text, offsetof(target, at.field)},
        TARGET_FIELDS(FIELD)
#undef FIELD
    };
    char magic[8];
    uint64_t have = 0;
    _Static_assert(sizeof fields / sizeof *fields < 64, "a bit each");
    if (!target_read(t, table, magic, sizeof magic) || memcmp(magic, "bllayout", 8) != 0 ||
        target_u32(t, table + 8) != VERSION) {
        complain("process %d uses another version of belay; use the command that belongs to it",
                 (int)t->pid);
        return EXIT_FAILED;
    }
    t->rt = target_u64(t, table + 16);
    for (uint64_t i = 0, at = table + 40; i < ENTRIES_MOST; i++, at += NAME + 4) {
        char entry[NAME + 4];
        if (!target_read(t, at, entry, sizeof entry) || entry[0] == '\0')
            break;
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
            if (strncmp(entry, fields[f].name, NAME) == 0) {
                memcpy((char *)t + fields[f].at, entry + NAME, 4);
                have |= UINT64_C(1) << f;
            }
    }
    if (have + 1 != UINT64_C(1) << (sizeof fields / sizeof *fields)) {
        complain("process %d uses another version of belay; use the command that belongs to it",
                 (int)t->pid);
        return EXIT_FAILED;
    }
    t->orphan = target_u64(t, table + 32);
    uint64_t reasons = target_u64(t, table + 24);
    for (uint32_t i = 0; i < t->at.reasons && i < REASONS_MOST; i++) {
        char *text = target_text(t, target_u64(t, reasons + UINT64_C(8) * i));
        snprintf(t->reasons[i], REASON_SIZE, "%s", text);
        free(text);
    }
    return 0;
}

static int not_permitted(const target *t)
{
    int scope = 0;
    FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    if (f != NULL) {
        if (fscanf(f, "%d", &scope) != 1)
            scope = 0;
        fclose(f);
    }
    if (scope != 0)
        complain("process %d: reading its memory is not permitted "
                 "(/proc/sys/kernel/yama/ptrace_scope is %d); as root it is: sudo belay dump %d",
                 (int)t->pid, scope, (int)t->pid);
    else
        complain("process %d: reading its memory is not permitted; it is to its owner and to root "
                 "(in a container: with CAP_SYS_PTRACE)",
                 (int)t->pid);
    return EXIT_FAILED;
}

/* What has ended and was not waited for yet has a number, and no memory. */
static bool is_zombie(const target *t)
{
    char *path = text_own("/proc/%d/stat", (int)t->pid);
    char line[512] = "";
    FILE *f = fopen(path, "re");
    free(path);
    if (f != NULL) {
        if (fgets(line, sizeof line, f) == NULL)
            line[0] = '\0';
        fclose(f);
    }
    const char *name_end = strrchr(line, ')');
    return name_end != NULL &&
           (strncmp(name_end, ") Z", 3) == 0 || strncmp(name_end, ") X", 3) == 0);
}

int target_open(target *t, const char *pid)
{
    char *end;
    errno = 0;
    long n = strtol(pid, &end, 10);
    *t = (target){.pid = (pid_t)n};
    if (errno != 0 || *end != '\0' || end == pid || n < 1 || n > INT32_MAX) {
        complain("%s is not the number of a process; 'pgrep NAME' finds it", text_shown(pid));
        return EXIT_USAGE;
    }
    char *path = text_own("/proc/%d/maps", (int)t->pid);
    FILE *maps = fopen(path, "re");
    free(path);
    if (maps == NULL && errno == ENOENT) {
        complain(access("/proc/self", F_OK) == 0
                     ? "there is no process %d"
                     : "process %d cannot be looked into: /proc is not there",
                 (int)t->pid);
        return EXIT_FAILED;
    }
    if (maps == NULL)
        return not_permitted(t);
    bool readable;
    uint64_t table = table_find(t, maps, &readable);
    bool failed = ferror(maps) != 0;
    fclose(maps);
    if (table != 0)
        return table_read(t, table);
    if (is_zombie(t)) {
        complain("process %d has ended", (int)t->pid);
        return EXIT_FAILED;
    }
    if (failed || !readable)
        return not_permitted(t);
    complain("process %d runs no goroutines: it does not use belay", (int)t->pid);
    return EXIT_FAILED;
}
