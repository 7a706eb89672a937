/* SPDX-License-Identifier: MIT */
/*
 * pprof.c: see pprof.h. Functions, files and lines go into the profile, so that who reads it needs
 * neither the program nor its debug information. The gzip stream has stored blocks only, which
 * needs no zlib; a profile is some kilobytes.
 *
 * Field numbers are those of profile.proto (github.com/google/pprof/proto).
 */
#include "debug/pprof.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "debug/protobuf.h"
#include "debug/symbol.h"

enum { BLOCK = 65535, PATIENCE_MS = 5000, ID_MOST = 64 };

typedef struct function {
    uint64_t name, file;
} function;

typedef struct mapping {
    uintptr_t low, high, offset;
    uint64_t file, build_id; /* strings */
} mapping;

/* A program counter of the profile, with what is known of it. */
typedef struct locus {
    uintptr_t pc;
    bool runtime;      /* all functions there are the library's */
    const char *layer; /* of the outermost of them that does more than switch; NULL: of none */
} locus;

typedef struct encoder {
    bl__bytes out;
    bl__bytes strings; /* each with its 0 */
    uint64_t strings_count;
    function *functions;
    size_t functions_count, functions_room;
    mapping *mappings;
    size_t mappings_count, mappings_room;
    bl__bytes location; /* the one at hand */
    bool failed;
} encoder;

static bool bytes_room(bl__bytes *b, size_t n)
{
    return bl__stacks_room(&b->at, 1, b->len, n, &b->room);
}

static void put_number(bl__bytes *b, unsigned field, uint64_t v)
{
    if (v != 0) /* the default */
        put_field(b, field, v);
}

/* Appends part to b as a field, and frees it. */
static void put_whole(bl__bytes *b, unsigned field, bl__bytes *part)
{
    put_message(b, field, part);
    bl__free(part->at);
    *part = (bl__bytes){0};
}

/* ---- Tables ---- */

static uint64_t string_of(encoder *e, const char *s)
{
    size_t n = strlen(s) + 1, at = 0;
    for (uint64_t i = 0; i < e->strings_count; i++) {
        const char *have = (const char *)e->strings.at + at;
        if (strcmp(have, s) == 0)
            return i;
        at += strlen(have) + 1;
    }
    put(&e->strings, s, n);
    if (e->strings.failed)
        return 0;
    return e->strings_count++;
}

static uint64_t function_of(encoder *e, const char *name, const char *file)
{
    function f = {string_of(e, name), string_of(e, file)};
    for (size_t i = 0; i < e->functions_count; i++)
        if (e->functions[i].name == f.name && e->functions[i].file == f.file)
            return i + 1;
    if (!bl__stacks_room(&e->functions, sizeof f, e->functions_count, 1, &e->functions_room)) {
        e->failed = true;
        return 0;
    }
    e->functions[e->functions_count] = f;
    return ++e->functions_count;
}

/* The GNU build id in a segment of notes, as hexadecimal digits in text. */
static void build_id(const char *at, size_t n, char text[2 * ID_MOST + 1])
{
    while (n >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name = (note.n_namesz + 3) & ~(size_t)3, desc = (note.n_descsz + 3) & ~(size_t)3;
        size_t all = sizeof note + name + desc;
        if (all > n)
            return;
        const char *owner = at + sizeof note;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(owner, "GNU", 4) == 0 &&
            note.n_descsz <= ID_MOST) {
            static const char digits[] = "0123456789abcdef";
            for (size_t i = 0; i < note.n_descsz; i++) {
                uint8_t byte = (uint8_t)owner[name + i];
                text[(size_t)2 * i] = digits[byte >> 4];
                text[(size_t)2 * i + 1] = digits[byte & 15];
            }
            text[(size_t)2 * note.n_descsz] = 0;
            return;
        }
        at += all;
        n -= all;
    }
}

/* The executable segments of a module. */
static int module_add(struct dl_phdr_info *info, size_t size, void *arg)
{
    encoder *e = arg;
    char id[2 * ID_MOST + 1] = "", path[4096];
    const char *name = info->dlpi_name;
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE && id[0] == 0)
            build_id((const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                     info->dlpi_phdr[i].p_memsz, id);
    if (name == NULL || *name == 0) {
        ssize_t n = e->mappings_count == 0 ? readlink("/proc/self/exe", path, sizeof path - 1) : -1;
        if (n <= 0)
            return 0;
        path[n] = 0;
        name = path;
    }
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        if (!bl__stacks_room(&e->mappings, sizeof *e->mappings, e->mappings_count, 1,
                             &e->mappings_room))
            return 1;
        uintptr_t skew = p->p_vaddr & 4095;
        e->mappings[e->mappings_count++] =
            (mapping){.low = info->dlpi_addr + p->p_vaddr - skew,
                      .high = (info->dlpi_addr + p->p_vaddr + p->p_memsz + 4095) & ~(uintptr_t)4095,
                      .offset = p->p_offset - skew,
                      .file = string_of(e, name),
                      .build_id = string_of(e, id)};
    }
    return 0;
}

/* ---- Places ---- */

static int locus_compare(const void *a, const void *b)
{
    uintptr_t x = ((const locus *)a)->pc, y = ((const locus *)b)->pc;
    return x < y ? -1 : x > y;
}

static bool locus_take(const bl__symbol *s, void *arg)
{
    locus *l = arg;
    const char *layer = bl__symbol_layer(s);
    if (layer != NULL && !bl__layer_switches(layer))
        l->layer = layer;
    l->runtime = bl__symbol_is_runtime(s);
    return !l->runtime;
}

/* The program counters of s, each once, in order. NULL: no memory. */
static locus *loci_new(const bl__stacks *s, size_t *count)
{
    locus *loci = bl__alloc((s->pcs_count + 1) * sizeof *loci);
    size_t n = 0;
    if (loci == NULL)
        return NULL;
    for (size_t i = 0; i < s->pcs_count; i++)
        loci[i] = (locus){.pc = s->pcs[i]};
    qsort(loci, s->pcs_count, sizeof *loci, locus_compare);
    for (size_t i = 0; i < s->pcs_count; i++)
        if (i == 0 || loci[i].pc != loci[n - 1].pc)
            loci[n++] = loci[i];
    for (size_t i = 0; i < n; i++)
        bl__symbol_each(loci[i].pc, locus_take, &loci[i]);
    *count = n;
    return loci;
}

static const locus *loci_find(const locus *loci, size_t count, uintptr_t pc)
{
    locus key = {.pc = pc};
    return bsearch(&key, loci, count, sizeof key, locus_compare);
}

/* Of a goroutine of the library's own: what is in the layer that it was started in. */
static void own_trim(const bl__stacks *s, const bl__stack_entry *e, const locus *loci, size_t count,
                     uint32_t *first, uint32_t *last)
{
    const uintptr_t *pcs = s->pcs + e->first;
    const char *layer = NULL;
    uint32_t at = 0, end = e->depth;
    while (end > 0 && (layer = loci_find(loci, count, pcs[end - 1])->layer) == NULL)
        end--;
    while (at < end && loci_find(loci, count, pcs[at])->layer != layer)
        at++;
    if (at > 0 && loci_find(loci, count, pcs[at - 1])->layer != NULL)
        at--; /* the call that it is in */
    *first = at;
    *last = end > 0 ? end : e->depth;
}

static void entry_trim(bl__stacks *to, const bl__stacks *s, const bl__stack_entry *e,
                       const locus *loci, size_t count)
{
    uint32_t first = 0, last = e->depth;
    while (first < last && loci_find(loci, count, s->pcs[e->first + first])->runtime)
        first++;
    while (last > first && loci_find(loci, count, s->pcs[e->first + last - 1])->runtime)
        last--;
    if (first == last)
        own_trim(s, e, loci, count, &first, &last);
    else if (first > 0)
        first--;
    bl__stacks_add_part(to, s, e, first, last);
}

bool bl__stacks_trim(bl__stacks *s)
{
    bl__stacks to = {0};
    size_t count;
    locus *loci = loci_new(s, &count);
    if (loci == NULL)
        return false;
    for (size_t i = 0; i < s->count; i++)
        entry_trim(&to, s, &s->entries[i], loci, count);
    bl__free(loci);
    to.failed = to.failed || s->failed;
    bl__stacks_free(s);
    *s = to;
    return !s->failed;
}

/* ---- The profile ---- */

static bool line_put(const bl__symbol *s, void *arg)
{
    encoder *e = arg;
    char unknown[24] = "0x";
    const char *func = s->func != NULL ? bl__symbol_called(s) : unknown;
    if (func == NULL)
        return false;
    if (s->func == NULL) {
        char digits[17];
        int n = 0;
        for (uintptr_t v = s->pc; v != 0 && n < 16; v >>= 4)
            digits[n++] = "0123456789abcdef"[v & 15];
        for (int i = 0; i < n; i++)
            unknown[2 + i] = digits[n - 1 - i];
    }
    const char *file = s->file != NULL ? s->file : s->module != NULL ? s->module : "";
    bl__bytes line = {0};
    put_number(&line, 1, function_of(e, func, file));
    put_number(&line, 2, s->file != NULL ? (uint64_t)s->line : 0);
    put_whole(&e->location, 4, &line);
    return false;
}

static void locations_put(encoder *e, const locus *loci, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        e->location = (bl__bytes){0};
        put_number(&e->location, 1, i + 1);
        for (size_t m = 0; m < e->mappings_count; m++)
            if (loci[i].pc >= e->mappings[m].low && loci[i].pc < e->mappings[m].high)
                put_number(&e->location, 2, m + 1);
        put_number(&e->location, 3, loci[i].pc);
        bl__symbol_each(loci[i].pc, line_put, e);
        put_whole(&e->out, 4, &e->location);
    }
}

static void sample_put(encoder *e, const bl__stacks *s, const bl__stack_entry *it,
                       const locus *loci, size_t count, int values)
{
    bl__bytes sample = {0}, part = {0};
    for (uint32_t i = 0; i < it->depth; i++)
        put_varint(&part, (uint64_t)(loci_find(loci, count, s->pcs[it->first + i]) - loci) + 1);
    put_whole(&sample, 1, &part);
    for (int i = 0; i < values; i++)
        put_varint(&part, (uint64_t)it->values[i]);
    put_whole(&sample, 2, &part);
    const char *p = s->texts + it->text;
    for (uint32_t i = 0; i < it->labels; i++) {
        const char *value = p + strlen(p) + 1;
        put_number(&part, 1, string_of(e, p));
        put_number(&part, 2, string_of(e, value));
        put_whole(&sample, 3, &part);
        p = value + strlen(value) + 1;
    }
    put_whole(&e->out, 2, &sample);
}

static void type_put(encoder *e, unsigned field, const char *type, const char *unit)
{
    bl__bytes b = {0};
    put_number(&b, 1, string_of(e, type));
    put_number(&b, 2, string_of(e, unit));
    put_whole(&e->out, field, &b);
}

static void tables_put(encoder *e)
{
    for (size_t i = 0; i < e->mappings_count; i++) {
        const mapping *m = &e->mappings[i];
        bl__bytes b = {0};
        uint64_t fields[] = {i + 1, m->low, m->high, m->offset, m->file, m->build_id, 1, 1, 1, 1};
        for (unsigned f = 0; f < sizeof fields / sizeof fields[0]; f++)
            put_number(&b, f + 1, fields[f]);
        put_whole(&e->out, 3, &b);
    }
    for (size_t i = 0; i < e->functions_count; i++) {
        bl__bytes b = {0};
        put_number(&b, 1, i + 1);
        put_number(&b, 2, e->functions[i].name);
        put_number(&b, 3, e->functions[i].name);
        put_number(&b, 4, e->functions[i].file);
        put_whole(&e->out, 5, &b);
    }
    size_t at = 0;
    for (uint64_t i = 0; i < e->strings_count; i++) {
        const char *s = (const char *)e->strings.at + at;
        put_bytes(&e->out, 6, s, strlen(s));
        at += strlen(s) + 1;
    }
}

static void encode(encoder *e, const bl__stacks *s, const bl__profile_kind *kind, bl_dur took,
                   const locus *loci, size_t count)
{
    struct timespec now;
    int values = kind->types[1] != NULL ? 2 : 1;
    (void)string_of(e, ""); /* the first has to be */
    clock_gettime(CLOCK_REALTIME, &now);
    dl_iterate_phdr(module_add, e);
    for (int i = 0; i < values; i++)
        type_put(e, 1, kind->types[i], kind->units[i]);
    for (size_t i = 0; i < s->count; i++)
        if (s->entries[i].values[0] != 0 || s->entries[i].values[1] != 0)
            sample_put(e, s, &s->entries[i], loci, count, values);
    locations_put(e, loci, count);
    put_number(&e->out, 9, (uint64_t)now.tv_sec * BL_SEC + (uint64_t)now.tv_nsec);
    put_number(&e->out, 10, (uint64_t)took);
    type_put(e, 11, kind->types[0], kind->units[0]);
    put_number(&e->out, 12, 1);
    tables_put(e);
}

/* ---- gzip, RFC 1952, with the stored blocks of RFC 1951 ---- */

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    while (n-- > 0)
        crc = crc >> 8 ^ table[(crc ^ *p++) & 255];
    return ~crc;
}

static void put_little(bl__bytes *b, uint32_t v, size_t n)
{
    uint8_t buf[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    put(b, buf, n);
}

static void gzip_put(bl__bytes *to, const bl__bytes *from)
{
    static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}; /* deflate; Unix */
    size_t at = 0;
    put(to, head, sizeof head);
    do {
        size_t n = from->len - at < BLOCK ? from->len - at : BLOCK;
        uint8_t last = at + n == from->len;
        put(to, &last, 1);
        put_little(to, (uint32_t)n, 2);
        put_little(to, (uint32_t)~n, 2);
        put(to, from->at + at, n);
        at += n;
    } while (at < from->len);
    put_little(to, crc32_of(from->at, from->len), 4);
    put_little(to, (uint32_t)from->len, 4);
}

static int profile_write(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (w > 0) {
            p += w;
            n -= (size_t)w;
        } else if (w < 0 && errno == EAGAIN) {
            if (poll(&room, 1, PATIENCE_MS) == 0)
                return BL_ETIMEDOUT;
        } else if (w == 0 || errno != EINTR) {
            return w < 0 ? -errno : -EIO;
        }
    }
    return 0;
}

int bl__pprof_write(int fd, const bl__stacks *s, const bl__profile_kind *kind, bl_dur took)
{
    encoder e = {0};
    bl__bytes zipped = {0};
    size_t count = 0;
    int r = BL_ENOMEM;
    locus *loci = loci_new(s, &count);
    if (loci != NULL) {
        encode(&e, s, kind, took, loci, count);
        gzip_put(&zipped, &e.out);
        if (!e.failed && !e.out.failed && !e.strings.failed && !zipped.failed)
            r = profile_write(fd, zipped.at, zipped.len);
    }
    bl__free(loci);
    bl__free(e.out.at);
    bl__free(e.strings.at);
    bl__free(e.functions);
    bl__free(e.mappings);
    bl__free(zipped.at);
    return r;
}
