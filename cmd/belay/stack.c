/* SPDX-License-Identifier: MIT */
/*
 * stack.c: the goroutine's stack is copied in one read, and the copy is believed if the goroutine has
 * not been switched on in between, which its count of switches tells. libdw then walks the copy by the
 * unwind information of the process's files, as it would walk a thread's.
 */
#include "stack.h"

#include "util.h"

#include <stdlib.h>
#include <string.h>

#ifdef BELAY_HAVE_LIBDW

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

enum { STACK_MOST = 1 << 26, GAP = 5, KNOWN = 4096, INLINED_MOST = 12 };

/* The functions at a program counter: many goroutines wait at the same. */
typedef struct known {
    Dwarf_Addr pc; /* 0: none yet */
    size_t len;
    frame at[INLINED_MOST];
} known;

struct stacks {
    const target *t;
    Dwfl *dwfl;
    char *root; /* folder of the library's sources, as debug information has it; NULL: not known */
    char *copy; /* of the stack that is walked */
    uint64_t sp;
    size_t bytes;
    frames *out;
    struct source *sources; /* that were asked for */
    known *known;           /* KNOWN of them, by pc; one that comes to a taken place replaces it */
};

/* ---- Names ---- */

/* What the names of this unit's files are relative to; NULL: it does not say. */
static const char *unit_folder(Dwarf_Die *unit)
{
    Dwarf_Attribute attribute;
    Dwarf_Attribute *at = unit != NULL ? dwarf_attr(unit, DW_AT_comp_dir, &attribute) : NULL;
    return at != NULL ? dwarf_formstring(at) : NULL;
}

static char *file_whole(const char *folder, const char *file)
{
    return folder != NULL && file[0] != '/' ? text_own("%s/%s", folder, file)
                                            : text_own("%s", file);
}

static char *place_text(const char *folder, const char *file, int line)
{
    if (file == NULL)
        return NULL;
    char *whole = file_whole(folder, file), *place = text_own("%s:%d", whole, line);
    free(whole);
    return place;
}

static void frame_add(stacks *s, const char *func, const char *folder, const char *file, int line)
{
    frames *f = s->out;
    if (f->len == FRAMES_MOST)
        return;
    size_t root = s->root != NULL ? strlen(s->root) : 0;
    bool own = root > 0 && file != NULL && strncmp(file, s->root, root) == 0;
    frame *at = &f->at[f->len++];
    *at = (frame){.func = text_own("%s", func),
                  .place = place_text(folder, file, line),
                  .runtime = own || strncmp(func, "bl_", 3) == 0};
    for (size_t i = 0;
         own && i + 1 < sizeof at->layer && file[root + i] != '/' && file[root + i] != '\0'; i++)
        at->layer[i] = file[root + i];
}

static int attribute_number(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (dwarf_attr(die, name, &attribute) == NULL || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return (int)value;
}

static bool is_function(Dwarf_Die *die)
{
    int tag = dwarf_tag(die);
    return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
}

/* The functions at pc by debug information, those that were inlined first. False: there is none. */
static bool functions_add(stacks *s, Dwfl_Module *module, Dwarf_Addr pc, const char *file, int line)
{
    Dwarf_Addr bias;
    Dwarf_Die *unit = dwfl_module_addrdie(module, pc, &bias), *scopes = NULL, *dies = NULL;
    Dwarf_Files *files = NULL;
    int count = unit != NULL ? dwarf_getscopes(unit, pc - bias, &scopes) : 0, i = 0;
    while (i < count && !is_function(&scopes[i]))
        i++;
    int depth = i < count ? dwarf_getscopes_die(&scopes[i], &dies) : 0;
    bool any = false;
    for (int d = 0; d < depth; d++) {
        if (!is_function(&dies[d]))
            continue;
        const char *name = dwarf_diename(&dies[d]);
        frame_add(s, name != NULL ? name : "?", unit_folder(unit), file, line);
        any = true;
        if (dwarf_tag(&dies[d]) == DW_TAG_subprogram)
            break;
        if (files == NULL && dwarf_getsrcfiles(unit, &files, NULL) != 0)
            break;
        file =
            dwarf_filesrc(files, (size_t)attribute_number(&dies[d], DW_AT_call_file), NULL, NULL);
        line = attribute_number(&dies[d], DW_AT_call_line);
    }
    free(dies);
    free(scopes);
    return any;
}

static void pc_look_up(stacks *s, Dwarf_Addr pc)
{
    Dwfl_Module *module = dwfl_addrmodule(s->dwfl, pc);
    Dwfl_Line *at = module != NULL ? dwfl_module_getsrc(module, pc) : NULL;
    int line = 0;
    const char *file = at != NULL ? dwfl_lineinfo(at, NULL, &line, NULL, NULL, NULL) : NULL;
    if (file != NULL && functions_add(s, module, pc, file, line))
        return;
    const char *name = module != NULL ? dwfl_module_addrname(module, pc) : NULL;
    char *number = text_own("0x%llx", (unsigned long long)pc);
    frame_add(s, name != NULL ? name : number, NULL, file, line);
    free(number);
}

static frame frame_copy(const frame *f)
{
    frame copy = *f;
    copy.func = text_own("%s", f->func);
    copy.place = f->place != NULL ? text_own("%s", f->place) : NULL;
    return copy;
}

static void known_forget(known *k)
{
    for (size_t i = 0; i < k->len; i++) {
        free(k->at[i].func);
        free(k->at[i].place);
    }
    *k = (known){0};
}

static void pc_add(stacks *s, Dwarf_Addr pc)
{
    known *k = &s->known[pc % KNOWN];
    frames *f = s->out;
    if (k->pc == pc) {
        for (size_t i = 0; i < k->len && f->len < FRAMES_MOST; i++)
            f->at[f->len++] = frame_copy(&k->at[i]);
        return;
    }
    size_t before = f->len;
    pc_look_up(s, pc);
    if (f->len == FRAMES_MOST || f->len - before > INLINED_MOST)
        return;
    known_forget(k);
    k->pc = pc;
    for (size_t i = before; i < f->len; i++)
        k->at[k->len++] = frame_copy(&f->at[i]);
}

char *stacks_function(stacks *s, uint64_t pc)
{
    Dwfl_Module *module = s != NULL ? dwfl_addrmodule(s->dwfl, pc) : NULL;
    const char *name = module != NULL ? dwfl_module_addrname(module, pc) : NULL;
    return name != NULL ? text_own("%s", name) : text_own("0x%llx", (unsigned long long)pc);
}

/* ---- Walking ---- */

static pid_t no_next(Dwfl *dwfl, void *arg, void **thread)
{
    (void)dwfl, (void)arg, (void)thread;
    return 0;
}

static bool the_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread)
{
    (void)dwfl, (void)tid;
    *thread = arg;
    return true;
}

static bool memory_word(Dwfl *dwfl, Dwarf_Addr at, Dwarf_Word *result, void *arg)
{
    stacks *s = arg;
    (void)dwfl;
    if (at >= s->sp && at - s->sp + sizeof *result <= s->bytes) {
        memcpy(result, s->copy + (at - s->sp), sizeof *result);
        return true;
    }
    return target_read(s->t, at, result, sizeof *result);
}

static Dwarf_Word saved_word(const stacks *s, size_t offset)
{
    Dwarf_Word v;
    memcpy(&v, s->copy + offset, sizeof v);
    return v;
}

/* As src/arch/switch.h says that a switched-off goroutine's registers lie on its stack. */
static bool registers_set(Dwfl_Thread *thread, void *arg)
{
    const stacks *s = arg;
#if defined(__x86_64__)
    Dwarf_Word r[17] = {0};
    static const int order[] = {15, 14, 13, 12, 3, 6, 16};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        r[order[i]] = saved_word(s, 8 + 8 * i);
    r[7] = s->sp + s->t->at.frame;
    dwfl_thread_state_register_pc(thread, r[16]);
    return dwfl_thread_state_registers(thread, 0, 17, r);
#else
    Dwarf_Word r[32] = {0};
    for (size_t i = 0; i < 12; i++)
        r[19 + i] = saved_word(s, 8 * i);
    r[31] = s->sp + s->t->at.frame;
    dwfl_thread_state_register_pc(thread, r[30]);
    return dwfl_thread_state_registers(thread, 0, 32, r);
#endif
}

static int frame_met(Dwfl_Frame *state, void *arg)
{
    stacks *s = arg;
    Dwarf_Addr pc;
    if (s->out->len == FRAMES_MOST || !dwfl_frame_pc(state, &pc, NULL))
        return DWARF_CB_ABORT;
    pc_add(s, pc - 1); /* all are return addresses */
    return DWARF_CB_OK;
}

static bool switches(const frame *f)
{
    return f->layer[0] == '\0' || strcmp(f->layer, "core") == 0 || strcmp(f->layer, "arch") == 0;
}

/* Of a goroutine of the library's own: what is in the layer that it was started in. */
static void own_ends_find(frames *f)
{
    f->from = 0;
    f->to = f->len;
    while (f->to > 0 && switches(&f->at[f->to - 1]))
        f->to--;
    while (f->from < f->to && strcmp(f->at[f->from].layer, f->at[f->to - 1].layer) != 0)
        f->from++;
}

/* The runtime's frames at both ends. Without debug information of the library its static functions are
 * known by standing between others of it. */
static void ends_find(const stacks *s, frames *f)
{
    f->from = 0;
    f->to = f->len;
    for (size_t i = 0; i < f->len && (s->root != NULL ? f->from == i : i < f->from + GAP); i++) {
        if (strcmp(f->at[i].func, "bl__goroutine_main") == 0)
            break;
        if (f->at[i].runtime)
            f->from = i + 1;
    }
    while (f->to > f->from && f->at[f->to - 1].runtime)
        f->to--;
    if (f->from == f->to)
        own_ends_find(f);
}

bool stacks_walk(stacks *s, const goroutine *g, frames *f)
{
    goroutine before, after;
    f->len = f->from = f->to = 0;
    if (s == NULL || !goroutine_again(s->t, g, &before) || before.status == s->t->at.running ||
        (before.status == s->t->at.parked && before.wait <= s->t->at.claimed) ||
        before.sp < before.stack_lo || before.sp + s->t->at.frame > before.stack_hi ||
        before.stack_hi - before.sp > STACK_MOST)
        return false;
    s->sp = before.sp;
    s->bytes = before.stack_hi - before.sp;
    s->copy = malloc(s->bytes);
    bool ok = s->copy != NULL && target_read(s->t, s->sp, s->copy, s->bytes) &&
              goroutine_again(s->t, g, &after) && after.switches == before.switches &&
              after.status == before.status && after.sp == before.sp;
    if (ok) {
        s->out = f;
        (void)!dwfl_getthread_frames(s->dwfl, s->t->pid, frame_met, s);
        ends_find(s, f);
        ok = f->len > 0;
    }
    free(s->copy);
    s->copy = NULL;
    return ok;
}

/* By the body of all goroutines, which lies in the module that the runtime is in. */
static void root_find(stacks *s)
{
    static const char body[] = "bl__goroutine_main", own[] = "core/spawn.c";
    Dwfl_Module *module = dwfl_addrmodule(s->dwfl, s->t->rt);
    int symbols = module != NULL ? dwfl_module_getsymtab(module) : 0;
    for (int i = 0; i < symbols; i++) {
        GElf_Sym symbol;
        GElf_Addr at;
        const char *name = dwfl_module_getsym_info(module, i, &symbol, &at, NULL, NULL, NULL);
        if (name == NULL || strcmp(name, body) != 0)
            continue;
        Dwfl_Line *line = dwfl_module_getsrc(module, at);
        const char *file = line != NULL ? dwfl_lineinfo(line, NULL, NULL, NULL, NULL, NULL) : NULL;
        if (file != NULL && text_ends_with(file, own)) {
            s->root = text_own("%s", file);
            s->root[strlen(file) - strlen(own)] = '\0';
        }
        return;
    }
}

static int module_own(Dwfl_Module *module, void **own, const char *name, Dwarf_Addr start, void *s)
{
    (void)module, (void)name, (void)start;
    *own = s;
    return DWARF_CB_OK;
}

/* As elfutils does it, but for the program's own file if it was built anew meanwhile: the old one is there for as long as
 * it runs. */
static int file_find(Dwfl_Module *module, void **own, const char *name, Dwarf_Addr start,
                     char **file, Elf **elf)
{
    const stacks *s = *own;
    char link[PATH_MAX];
    char *exe = text_own("/proc/%d/exe", (int)s->t->pid);
    ssize_t n = text_ends_with(name, " (deleted)") ? readlink(exe, link, sizeof link) : -1;
    int fd = n > 0 && (size_t)n == strlen(name) && memcmp(link, name, (size_t)n) == 0
                 ? open(exe, O_RDONLY | O_CLOEXEC)
                 : -1;
    if (fd >= 0) {
        *file = exe;
        return fd;
    }
    free(exe);
    return dwfl_linux_proc_find_elf(module, own, name, start, file, elf);
}

/* ---- Files ---- */

typedef struct source {
    char *as;    /* relative */
    char *whole; /* NULL: none, or several */
    struct source *next;
} source;

/* The unit's own file, or a header that it has read; not the library's. False: there is more than one. */
static bool source_look(const stacks *s, Dwarf_Die *unit, source *it)
{
    Dwarf_Files *files;
    const char *folder = unit_folder(unit);
    size_t n, length = strlen(it->as);
    if (dwarf_getsrcfiles(unit, &files, &n) != 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        const char *file = dwarf_filesrc(files, i, NULL, NULL);
        if (file == NULL || (s->root != NULL && strncmp(file, s->root, strlen(s->root)) == 0))
            continue;
        char *whole = file_whole(folder, file), *before = it->whole;
        bool is = whole[0] == '/' && text_ends_with(whole, it->as) &&
                  whole[strlen(whole) - length - 1] == '/' &&
                  (before == NULL || strcmp(before, whole) != 0);
        if (is && before == NULL)
            it->whole = whole;
        else
            free(whole);
        if (is && before != NULL)
            return false;
    }
    return true;
}

static const source *source_find(stacks *s, const char *as)
{
    source *it = s->sources;
    while (it != NULL && strcmp(it->as, as) != 0)
        it = it->next;
    if (it != NULL || (it = calloc(1, sizeof *it)) == NULL)
        return it;
    *it = (source){.as = text_own("%s", as), .next = s->sources};
    s->sources = it;
    Dwarf_Addr bias;
    bool one = true;
    for (Dwarf_Die *unit = NULL; one && (unit = dwfl_nextcu(s->dwfl, unit, &bias)) != NULL;)
        one = source_look(s, unit, it);
    if (!one) {
        free(it->whole);
        it->whole = NULL;
    }
    return it;
}

void stacks_complete(stacks *s, char **place)
{
    char *line = *place != NULL ? strrchr(*place, ':') : NULL;
    if (s == NULL || line == NULL || (*place)[0] == '/')
        return;
    *line = '\0';
    const source *it = source_find(s, *place);
    char *whole = it != NULL && it->whole != NULL ? text_own("%s:%s", it->whole, line + 1) : NULL;
    *line = ':';
    if (whole != NULL) {
        free(*place);
        *place = whole;
    }
}

static void sources_free(source *it)
{
    while (it != NULL) {
        source *next = it->next;
        free(it->as);
        free(it->whole);
        free(it);
        it = next;
    }
}

stacks *stacks_open(const target *t)
{
    static const Dwfl_Callbacks files = {.find_elf = file_find,
                                         .find_debuginfo = dwfl_standard_find_debuginfo};
    static const Dwfl_Thread_Callbacks threads = {.next_thread = no_next,
                                                  .get_thread = the_thread,
                                                  .memory_read = memory_word,
                                                  .set_initial_registers = registers_set};
    setenv("DEBUGINFOD_URLS", "", 1); /* names are looked for here, not on the network */
    stacks *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->t = t;
    s->known = calloc(KNOWN, sizeof *s->known);
    s->dwfl = dwfl_begin(&files);
    if (s->known == NULL || s->dwfl == NULL || dwfl_linux_proc_report(s->dwfl, t->pid) != 0 ||
        dwfl_report_end(s->dwfl, NULL, NULL) != 0 ||
        dwfl_getmodules(s->dwfl, module_own, s, 0) != 0 ||
        !dwfl_attach_state(s->dwfl, NULL, t->pid, &threads, s)) {
        stacks_close(s);
        return NULL;
    }
    root_find(s);
    return s;
}

void stacks_close(stacks *s)
{
    if (s == NULL)
        return;
    if (s->dwfl != NULL)
        dwfl_end(s->dwfl);
    for (size_t i = 0; s->known != NULL && i < KNOWN; i++)
        known_forget(&s->known[i]);
    free(s->known);
    sources_free(s->sources);
    free(s->root);
    free(s);
}

#else

stacks *stacks_open(const target *t)
{
    (void)t;
    return NULL;
}

void stacks_close(stacks *s) { (void)s; }

bool stacks_walk(stacks *s, const goroutine *g, frames *f)
{
    (void)s, (void)g;
    f->len = f->from = f->to = 0;
    return false;
}

void stacks_complete(stacks *s, char **place) { (void)s, (void)place; }

char *stacks_function(stacks *s, uint64_t pc)
{
    (void)s;
    return text_own("0x%llx", (unsigned long long)pc);
}

#endif

void frames_free(frames *f)
{
    for (size_t i = 0; i < f->len; i++) {
        free(f->at[i].func);
        free(f->at[i].place);
    }
    f->len = 0;
}
