/* SPDX-License-Identifier: MIT */
/*
 * symbol.c: names and lines for reports.
 *
 * With BL__HAVE_LIBBACKTRACE the debug information is read by gcc's libbacktrace, which allocates
 * with mmap and works in signal handlers. Without it, or where a module has none, the dynamic
 * linker knows the names of exported functions; else there is the offset in the module, which
 * addr2line takes.
 */
#include "debug/symbol.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#include "core/atomic.h"
#include "debug/own.h"

typedef struct lookup {
    bl__symbol sym;
    bool (*fn)(const bl__symbol *s, void *arg);
    void *arg;
    bool found; /* something with a file was handed out */
} lookup;

/* Of a variable's name, without the number that makes that of a static one in a function unique:
 * "hits.0" with gcc, "serve.hits" and "serve.hits.1" with clang. */
static int variable_length(const char *name)
{
    size_t all = strlen(name), n = all;
    while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9')
        n--;
    return (int)(n > 1 && n < all && name[n - 1] == '.' ? n - 1 : all);
}

#ifdef BL__HAVE_LIBBACKTRACE

#include <backtrace.h>
#include <sys/mman.h>

/*
 * libbacktrace's mmap.o calls these (cmake/backtrace.cmake). What it has is noted, in pieces as
 * long as they come; with too many of them some are not, and are read by searches.
 */
enum { PIECES = 512 };

typedef struct piece {
    uintptr_t low, high; /* low 0: free */
} piece;

static struct {
    uint32_t lock;
    piece pieces[PIECES]; /* lock to write; read without it */
} memory;

void *bl__symbol_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
int bl__symbol_munmap(void *at, size_t n);

static void memory_lock(void)
{
    uint32_t no = 0;
    while (!cas_acquire(&memory.lock, &no, 1u)) /* ORD(symbol-memory) */
        no = 0;
}

static void memory_unlock(void) { store_release(&memory.lock, 0u); /* ORD(symbol-memory) */ }

static void piece_add(uintptr_t low, uintptr_t high)
{
    piece *free = NULL;
    for (size_t i = 0; i < PIECES; i++) {
        piece *p = &memory.pieces[i];
        if (p->low != 0 && p->low == high) {
            p->low = low;
            return;
        }
        if (p->low != 0 && p->high == low) {
            p->high = high;
            return;
        }
        free = p->low == 0 && free == NULL ? p : free;
    }
    if (free != NULL)
        *free = (piece){low, high};
}

void *bl__symbol_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    void *got = mmap(at, n, prot, flags, fd, offset);
    if (got == MAP_FAILED || (prot & PROT_WRITE) == 0)
        return got;
    memory_lock();
    piece_add((uintptr_t)got, (uintptr_t)got + n);
    memory_unlock();
    return got;
}

/* It gives back whole pieces, ends of pieces, or what lies between. */
int bl__symbol_munmap(void *at, size_t n)
{
    uintptr_t low = (uintptr_t)at, high = low + n;
    memory_lock();
    for (size_t i = 0; i < PIECES; i++) {
        piece *p = &memory.pieces[i];
        if (p->low == 0 || low < p->low || high > p->high)
            continue;
        piece above = {high, p->high};
        p->high = low;
        if (p->low == p->high)
            *p = (piece){0, 0};
        if (above.low < above.high)
            piece_add(above.low, above.high);
        break;
    }
    memory_unlock();
    return munmap(at, n);
}

void bl__symbol_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    memory_lock();
    for (size_t i = 0; i < PIECES; i++)
        if (memory.pieces[i].low != 0)
            fn((const void *)memory.pieces[i].low, (const void *)memory.pieces[i].high, arg);
    memory_unlock();
}

/*
 * What is known of the program alone, and of all modules, which is read when an address lies in
 * another: where the C library's debug information is installed it takes longer than a program's.
 * Atomic; threads that come first together make one each, and one is kept (the others cannot be
 * freed, libbacktrace has no such call).
 */
static struct backtrace_state *symbol_state[2];

/* libbacktrace's elf.o calls this (cmake/backtrace.cmake). */
typedef int (*module_fn)(struct dl_phdr_info *, size_t, void *);
int bl__symbol_modules(module_fn fn, void *arg);

typedef struct modules {
    module_fn fn;
    void *arg;
} modules;

static __thread bool program_alone
    __attribute__((tls_model("initial-exec"))); /* what this thread reads */

static int first_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    modules *m = arg;
    (void)m->fn(info, size, m->arg);
    return 1;
}

int bl__symbol_modules(module_fn fn, void *arg)
{
    return program_alone ? dl_iterate_phdr(first_module, &(modules){fn, arg})
                         : dl_iterate_phdr(fn, arg);
}

static int is_in_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    uintptr_t *at = arg;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && *at - (info->dlpi_addr + part->p_vaddr) < part->p_memsz) {
            *at = 0; /* found */
            break;
        }
    }
    return 1; /* the program is the first */
}

/* No debug information is no error: the caller has other ways. */
static void symbol_error(void *arg, const char *text, int err)
{
    (void)arg;
    (void)text;
    (void)err;
}

/* Which state knows an address; the first look-up in it is what reads, in this thread. */
static struct backtrace_state *state_get(uintptr_t at)
{
    (void)dl_iterate_phdr(is_in_module, &at);
    program_alone = at == 0;
    struct backtrace_state **state = &symbol_state[program_alone];
    struct backtrace_state *s = load_acquire(state); /* ORD(symbols) */
    if (s == NULL) {
        struct backtrace_state *made = backtrace_create_state(NULL, 1, symbol_error, NULL);
        /* ORD(symbols): what is in it comes before the pointer to it. */
        if (made != NULL && cas_acq_rel(state, &s, made))
            s = made;
    }
    return s;
}

static void take_name(void *arg, uintptr_t pc, const char *name, uintptr_t value, uintptr_t size)
{
    (void)size;
    lookup *l = arg;
    if (name != NULL) {
        l->sym.func = name;
        l->sym.offset = pc - value;
    }
}

static int take_line(void *arg, uintptr_t pc, const char *file, int line, const char *func)
{
    (void)pc;
    lookup *l = arg;
    if (file == NULL)
        return 0;
    bl__symbol s = {.pc = l->sym.pc, .func = func, .file = file, .line = line};
    if (func == NULL) { /* lines without names: assembly */
        backtrace_syminfo(state_get(s.pc), s.pc, take_name, symbol_error, l);
        s.func = l->sym.func;
    }
    l->found = true;
    return l->fn(&s, l->arg) ? 1 : 0;
}

static void lookup_debug_info(lookup *l)
{
    struct backtrace_state *state = state_get(l->sym.pc);
    if (state == NULL)
        return;
    backtrace_pcinfo(state, l->sym.pc, take_line, symbol_error, l);
    if (!l->found)
        backtrace_syminfo(state, l->sym.pc, take_name, symbol_error, l);
}

static void take_data(void *arg, uintptr_t at, const char *name, uintptr_t value, uintptr_t size)
{
    lookup *l = arg;
    if (name != NULL && at - value < size) {
        l->sym.func = name;
        l->sym.offset = at - value;
    }
}

const char *bl__symbol_data(const void *at, int *length, uintptr_t *offset)
{
    struct backtrace_state *state = state_get((uintptr_t)at);
    lookup l = {.sym = {.pc = (uintptr_t)at}};
    Dl_info info; /* of what is in no module nothing has to be read */
    if (state == NULL || dladdr(at, &info) == 0)
        return NULL;
    backtrace_syminfo(state, (uintptr_t)at, take_data, symbol_error, &l);
    *offset = l.sym.offset;
    *length = l.sym.func != NULL ? variable_length(l.sym.func) : 0;
    return l.sym.func;
}

#else

void bl__symbol_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    (void)fn, (void)arg;
}

const char *bl__symbol_data(const void *at, int *length, uintptr_t *offset)
{
    Dl_info info;
    if (dladdr(at, &info) == 0 || info.dli_sname == NULL)
        return NULL;
    *offset = (uintptr_t)at - (uintptr_t)info.dli_saddr;
    *length = variable_length(info.dli_sname);
    return info.dli_sname;
}

static void lookup_debug_info(lookup *l) { (void)l; }

#endif

void bl__symbol_each(uintptr_t pc, bool (*fn)(const bl__symbol *s, void *arg), void *arg)
{
    lookup l = {.sym = {.pc = pc}, .fn = fn, .arg = arg};
    lookup_debug_info(&l);
    if (l.found)
        return;
    Dl_info info;
    if (dladdr((void *)pc, &info) != 0) {
        l.sym.module = info.dli_fname;
        if (l.sym.func == NULL && info.dli_sname != NULL) {
            l.sym.func = info.dli_sname;
            l.sym.offset = pc - (uintptr_t)info.dli_saddr;
        } else if (l.sym.func == NULL) {
            l.sym.offset = pc - (uintptr_t)info.dli_fbase;
        }
    }
    fn(&l.sym, arg);
}

/* What waits: functions behind macros, and those that have taken the place of a call's frame. What
 * is inlined in these has no name: NULL. */
static const char *const symbol_calls[][2] = {
    {"bl__chan_send", "bl_chan_send"},
    {"bl__chan_recv", "bl_chan_recv"},
    {"bl__chan_send_until", "bl_chan_send_until"},
    {"bl__chan_recv_until", "bl_chan_recv_until"},
    {"bl__go", "bl_go"},
    {"bl__go_copy", "bl_go_copy"},
    {"bl__waitgroup_go", "bl_waitgroup_go"},
    {"chan_send", "bl_chan_send"},
    {"chan_recv", "bl_chan_recv"},
    {"send_shared", "bl_chan_send"},
    {"recv_shared", "bl_chan_recv"},
    {"send_wait", "bl_chan_send"},
    {"recv_wait", "bl_chan_recv"},
    {"queue_wait", NULL},
    {"nil_wait", NULL},
    {"wait_solo", "bl_select"},
    {"select_slow", "bl_select"},
    {"select_ready", "bl_select"},
    {"mutex_lock_owned", "bl_mutex_lock"},
    {"mutex_lock_rare", "bl_mutex_lock"},
    {"mutex_lock_slow", "bl_mutex_lock"},
    {"once_do_slow", "bl_once_do"},
    {"submit_wait", "bl_pool_submit"},
    {"submit_full", "bl_pool_submit"},
    {"read_any", "bl_read"},
    {"write_any", "bl_write"},
};

const char *bl__symbol_called(const bl__symbol *s)
{
    for (size_t i = 0; i < sizeof symbol_calls / sizeof symbol_calls[0]; i++)
        if (strcmp(symbol_calls[i][0], s->func) == 0 && bl__symbol_is_runtime(s))
            return symbol_calls[i][1];
    return s->func;
}

/* The folder of the library's sources, as the debug information has it; learnt from this file. */
static struct {
    const char *path; /* atomic */
    size_t len;
    uint32_t known; /* atomic: 1 once path and len are set */
} source_root;

static bool root_take(const bl__symbol *s, void *arg)
{
    (void)arg;
    static const char own[] = "debug/symbol.c";
    size_t n = s->file == NULL ? 0 : strlen(s->file), suffix = sizeof own - 1;
    if (n > suffix && strcmp(s->file + n - suffix, own) == 0) {
        store_relaxed(&source_root.len, n - suffix);
        store_relaxed(&source_root.path, s->file);
        return true;
    }
    return false;
}

/* The folders of layers: where the library was built from a relative path, "src/", the program may
 * have one of that name too. */
static const char *const layers[] = {"arch/", "core/", "debug/", "io/",
                                     "life/", "os/",   "sync/",  "test/"};

const char *bl__symbol_layer(const bl__symbol *s)
{
    if (load_acquire(&source_root.known) == 0) { /* ORD(source-root) */
        bl__symbol_each((uintptr_t)&bl__symbol_is_runtime, root_take, NULL);
        store_release(&source_root.known, 1u); /* ORD(source-root) */
    }
    size_t len = load_relaxed(&source_root.len);
    if (s->file == NULL || len == 0 || strncmp(s->file, load_relaxed(&source_root.path), len) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
        if (strncmp(s->file + len, layers[i], strlen(layers[i])) == 0)
            return layers[i];
    return NULL;
}

bool bl__symbol_is_runtime(const bl__symbol *s)
{
    if (s->func != NULL && strncmp(s->func, "bl_", 3) == 0)
        return true;
    return bl__own_known() ? bl__own_code(s->pc) : bl__symbol_layer(s) != NULL;
}

static bool program_take(const bl__symbol *s, void *arg)
{
    bool *is = arg;
    *is = *is || !bl__symbol_is_runtime(s);
    return *is;
}

bool bl__symbol_is_program(uintptr_t pc)
{
    bool is = false;
    if (bl__own_known())
        return !bl__own_code(pc);
    bl__symbol_each(pc, program_take, &is);
    return is;
}

bool bl__layer_switches(const char *layer) { return layer == layers[0] || layer == layers[1]; }

bool bl__symbol_is_libc(uintptr_t pc)
{
    Dl_info at, libc, own;
    if (dladdr((void *)pc, &at) == 0)
        return false;
    if ((uintptr_t)at.dli_fbase == getauxval(AT_SYSINFO_EHDR))
        return true;
    return dladdr(dlsym(RTLD_DEFAULT, "abort"), &libc) != 0 &&
           dladdr((void *)(uintptr_t)&bl__symbol_is_libc, &own) != 0 &&
           at.dli_fbase == libc.dli_fbase && own.dli_fbase != libc.dli_fbase;
}
