#include "base/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/stand_in.h"

#define ALIGNMENT ((size_t)32)          /* if the file does not say */
#define ENTRY_LEAST ((size_t)13)        /* bytes: a length, a type and a value of one byte */
#define TENSOR_LEAST ((size_t)32)       /* a length, dimensions, one of them, a type, an offset */

static const struct {
    size_t bytes;                       /* of a value; 0: it varies */
} types[GGUF_TYPES] = {
    [GGUF_U8] = { 1 },   [GGUF_I8] = { 1 },   [GGUF_U16] = { 2 }, [GGUF_I16] = { 2 },
    [GGUF_U32] = { 4 },  [GGUF_I32] = { 4 },  [GGUF_F32] = { 4 }, [GGUF_BOOL] = { 1 },
    [GGUF_STRING] = { 0 }, [GGUF_ARRAY] = { 0 }, [GGUF_U64] = { 8 }, [GGUF_I64] = { 8 },
    [GGUF_F64] = { 8 },
};

/* ---- bytes ------------------------------------------------------------------------ */

static uint64_t number_at(const uint8_t *data, size_t bytes)
{
    uint64_t x = 0;
    for (size_t i = 0; i < bytes; i++)
        x |= (uint64_t)data[i] << (8 * i);
    return x;
}

/* What has been read of a header, and what the reader is at. */
struct cursor {
    const struct mapped_file *map;
    size_t at;
    struct error *err;
};

static bool need(struct cursor *c, uint64_t n, const char *what)
{
    return n <= c->map->size - c->at
        || error_set(c->err, "%s: truncated: %s of %llu bytes at byte %zu does not fit into the"
                     " file's %zu", c->map->path, what, (unsigned long long)n, c->at, c->map->size);
}

static bool read_number(uint64_t *out, struct cursor *c, size_t bytes, const char *what)
{
    if (!need(c, bytes, what))
        return false;
    *out = number_at(c->map->data + c->at, bytes);
    c->at += bytes;
    return true;
}

static bool read_text(struct gguf_text *out, struct cursor *c, const char *what)
{
    uint64_t n;
    if (!read_number(&n, c, 8, what) || !need(c, n, what))
        return false;
    *out = (struct gguf_text){ (const char *)c->map->data + c->at, (size_t)n };
    c->at += out->n;
    return !memchr(out->bytes, 0, out->n)
        || error_set(c->err, "%s: %s at byte %zu has a NUL in it", c->map->path, what,
                     c->at - out->n);
}

/* ---- metadata --------------------------------------------------------------------- */

static bool read_type(enum gguf_type *out, struct cursor *c, const struct gguf_entry *e)
{
    uint64_t type;
    if (!read_number(&type, c, 4, "a type"))
        return false;
    *out = (enum gguf_type)type;
    return type < GGUF_TYPES
        || error_set(c->err, "%s: '%.*s' has the unknown type %u", c->map->path, (int)e->key.n,
                     e->key.bytes, (unsigned)type);
}

static bool read_array(struct cursor *c, struct gguf_entry *e)
{
    uint64_t n;
    e->is_array = true;
    if (!read_type(&e->type, c, e) || !read_number(&n, c, 8, "a count"))
        return false;
    if (e->type == GGUF_ARRAY)
        return error_set(c->err, "%s: '%.*s' is an array of arrays, expected none", c->map->path,
                         (int)e->key.n, e->key.bytes);
    size_t least = types[e->type].bytes ? types[e->type].bytes : 8, left = c->map->size - c->at;
    if (n > left / least)
        return error_set(c->err, "%s: '%.*s' has %llu elements, but the file only %zu bytes more",
                         c->map->path, (int)e->key.n, e->key.bytes, (unsigned long long)n, left);
    e->n = (size_t)n;
    return true;
}

static bool read_entry(struct cursor *c, struct gguf_entry *e)
{
    struct gguf_text text;
    *e = (struct gguf_entry){ .n = 1 };
    if (!read_text(&e->key, c, "a key") || !read_type(&e->type, c, e)
        || (e->type == GGUF_ARRAY && !read_array(c, e)))
        return false;
    e->data = c->map->data + c->at;
    if (e->type != GGUF_STRING) {
        size_t bytes = e->n * types[e->type].bytes;
        bool ok = need(c, bytes, "a value");
        c->at += ok ? bytes : 0;
        return ok;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < e->n; i++)
        ok = read_text(&text, c, "a string");
    return ok;
}

static int compare_text(struct gguf_text a, struct gguf_text b)
{
    int by_bytes = memcmp(a.bytes, b.bytes, size_min(a.n, b.n));
    return by_bytes ? by_bytes : (a.n > b.n) - (a.n < b.n);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_text(((const struct gguf_entry *)a)->key, ((const struct gguf_entry *)b)->key);
}

static bool twice(struct cursor *c, const char *what, struct gguf_text name)
{
    return error_set(c->err, "%s: %s '%.*s' is there twice", c->map->path, what,
                     (int)size_min(name.n, 200), name.bytes);
}

static bool read_entries(struct cursor *c, struct gguf *g, size_t n)
{
    size_t capacity = 0;
    for (size_t i = 0; i < n; i++) {
        if (!mem_grow(&g->entries, &capacity, i + 1, sizeof *g->entries, "metadata", c->err)
            || !read_entry(c, &g->entries[i]))
            return false;
        g->n_entries++;
    }
    if (n)
        qsort(g->entries, n, sizeof *g->entries, compare_entries);
    for (size_t i = 1; i < n; i++)
        if (compare_entries(&g->entries[i - 1], &g->entries[i]) == 0)
            return twice(c, "the key", g->entries[i].key);
    return true;
}

const struct gguf_entry *gguf_find(const struct gguf *g, const char *key)
{
    const struct gguf_entry wanted = { .key = { key, strlen(key) } };
    return g->n_entries
             ? bsearch(&wanted, g->entries, g->n_entries, sizeof wanted, compare_entries) : NULL;
}

/* Of a whole number with a sign; else of one without. */
static bool is_signed(enum gguf_type type)
{
    return type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
}

bool gguf_size(size_t *out, const struct gguf_entry *e, size_t i)
{
    size_t bytes = types[e->type].bytes;
    if (i >= e->n || bytes == 0 || e->type == GGUF_F32 || e->type == GGUF_F64)
        return false;
    uint64_t x = number_at(e->data + i * bytes, bytes);
    bool is_negative = is_signed(e->type) && x >> (8 * bytes - 1);
    *out = (size_t)x;
    return !is_negative && (e->type != GGUF_BOOL || x <= 1);
}

bool gguf_number(double *out, const struct gguf_entry *e, size_t i)
{
    float single;
    size_t whole;
    if (i < e->n && e->type == GGUF_F32) {
        memcpy(&single, e->data + 4 * i, sizeof single);
        *out = (double)single;
        return isfinite(single);
    }
    if (i < e->n && e->type == GGUF_F64) {
        memcpy(out, e->data + 8 * i, sizeof *out);
        return isfinite(*out);
    }
    if (!gguf_size(&whole, e, i))
        return false;
    *out = (double)whole;
    return true;
}

struct gguf_text gguf_next_text(const uint8_t **at)
{
    struct gguf_text text = { (const char *)*at + 8, (size_t)number_at(*at, 8) };
    *at += 8 + text.n;
    return text;
}

bool gguf_text(struct gguf_text *out, const struct gguf_entry *e)
{
    const uint8_t *at = e->data;
    if (e->is_array || e->type != GGUF_STRING)
        return false;
    *out = gguf_next_text(&at);
    return true;
}

bool gguf_text_is(struct gguf_text text, const char *s)
{
    return text.n == strlen(s) && memcmp(text.bytes, s, text.n) == 0;
}

/* ---- tensors ---------------------------------------------------------------------- */

static bool read_tensor(struct cursor *c, struct gguf_tensor *t)
{
    uint64_t ndim, type, ne;
    *t = (struct gguf_tensor){ .ndim = 0 };
    if (!read_text(&t->name, c, "a tensor's name"))
        return false;
    int n_name = (int)size_min(t->name.n, GGUF_NAME_MOST);
    if (t->name.n == 0 || t->name.n > GGUF_NAME_MOST)
        return error_set(c->err, "%s: a tensor's name '%.*s' has %zu bytes, expected 1 to %zu",
                         c->map->path, n_name, t->name.bytes, t->name.n, GGUF_NAME_MOST);
    if (!read_number(&ndim, c, 4, "dimensions"))
        return false;
    if (ndim == 0 || ndim > GGUF_MAX_DIMS)
        return error_set(c->err, "%s: '%.*s' has %u dimensions, expected 1 to %d", c->map->path,
                         n_name, t->name.bytes, (unsigned)ndim, GGUF_MAX_DIMS);
    for (t->ndim = 0; t->ndim < ndim; t->ndim++) {
        if (!read_number(&ne, c, 8, "a dimension"))
            return false;
        if (ne == 0 || ne > INT64_MAX)
            return error_set(c->err, "%s: '%.*s' has a dimension of %llu", c->map->path, n_name,
                             t->name.bytes, (unsigned long long)ne);
        t->ne[t->ndim] = (size_t)ne;
    }
    if (!read_number(&type, c, 4, "a type") || !read_number(&t->offset, c, 8, "an offset"))
        return false;
    t->type = (uint32_t)type;
    return true;
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_text((*(const struct gguf_tensor *const *)a)->name,
                        (*(const struct gguf_tensor *const *)b)->name);
}

static bool check_names(struct cursor *c, const struct gguf *g)
{
    const struct gguf_tensor **sorted = mem_array(g->n_tensors, sizeof *sorted, "tensors", c->err);
    bool ok = sorted != NULL;
    for (size_t i = 0; ok && i < g->n_tensors; i++)
        sorted[i] = &g->tensors[i];
    if (ok && g->n_tensors)
        qsort(sorted, g->n_tensors, sizeof *sorted, compare_tensors);
    for (size_t i = 1; ok && i < g->n_tensors; i++)
        if (compare_tensors(&sorted[i - 1], &sorted[i]) == 0)
            ok = twice(c, "the tensor", sorted[i]->name);
    free(sorted);
    return ok;
}

static bool read_tensors(struct cursor *c, struct gguf *g, size_t n)
{
    g->tensors = mem_array(n, sizeof *g->tensors, "tensors", c->err);
    for (g->n_tensors = 0; g->tensors && g->n_tensors < n; g->n_tensors++)
        if (!read_tensor(c, &g->tensors[g->n_tensors]))
            return false;
    return g->tensors && check_names(c, g);
}

/* ---- the file --------------------------------------------------------------------- */

static bool read_counts(struct cursor *c, size_t *n_tensors, size_t *n_entries)
{
    const char *path = c->map->path;
    uint64_t version, tensors, entries;
    if (c->map->size < 4 || memcmp(c->map->data, "GGUF", 4) != 0) {
        error_set(c->err, "%s: is not a GGUF file", path);
        stand_in_check(path, c->map->data, c->map->size, c->err);
        return false;
    }
    c->at = 4;
    if (!read_number(&version, c, 4, "the version"))
        return false;
    if (version && (version & 0xFFFF) == 0)
        return error_set(c->err, "%s: is big-endian, expected little-endian", path);
    if (version != 2 && version != 3)
        return error_set(c->err, "%s: is GGUF version %u, expected 2 or 3", path,
                         (unsigned)version);
    if (!read_number(&tensors, c, 8, "the number of tensors")
        || !read_number(&entries, c, 8, "the number of entries"))
        return false;
    size_t left = c->map->size - c->at;
    if (tensors > left / TENSOR_LEAST || entries > left / ENTRY_LEAST)
        return error_set(c->err, "%s: says that it has %llu tensors and %llu entries of metadata,"
                         " which do not fit into its %zu bytes", path, (unsigned long long)tensors,
                         (unsigned long long)entries, c->map->size);
    *n_tensors = (size_t)tensors;
    *n_entries = (size_t)entries;
    return true;
}

static bool read_alignment(struct cursor *c, struct gguf *g)
{
    const struct gguf_entry *e = gguf_find(g, "general.alignment");
    g->alignment = ALIGNMENT;
    if (e && (e->is_array || e->type != GGUF_U32 || !gguf_size(&g->alignment, e, 0)
              || g->alignment == 0 || (g->alignment & (g->alignment - 1))))
        return error_set(c->err, "%s: general.alignment is not a u32 that is a power of 2",
                         c->map->path);
    return true;
}

static bool find_data(struct cursor *c, struct gguf *g)
{
    size_t past = c->at & (g->alignment - 1);
    g->data_start = c->at + (past ? g->alignment - past : 0);
    if (g->n_tensors && g->data_start > c->map->size)
        return error_set(c->err, "%s: truncated: the data of tensors begins at byte %zu of %zu",
                         c->map->path, g->data_start, c->map->size);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (t->offset & (g->alignment - 1))
            return error_set(c->err, "%s: '%.*s' has offset %llu, expected a multiple of %zu",
                             c->map->path, (int)t->name.n, t->name.bytes,
                             (unsigned long long)t->offset, g->alignment);
    }
    return true;
}

bool gguf_open(struct gguf *g, const char *path, struct error *err)
{
    *g = (struct gguf){ 0 };
    if (!file_map(&g->map, path, err))
        return false;
    struct cursor c = { .map = &g->map, .err = err };
    size_t n_tensors = 0, n_entries = 0;
    if (read_counts(&c, &n_tensors, &n_entries) && read_entries(&c, g, n_entries)
        && read_tensors(&c, g, n_tensors) && read_alignment(&c, g) && find_data(&c, g))
        return true;
    gguf_close(g);
    return false;
}

void gguf_close(struct gguf *g)
{
    free(g->entries);
    free(g->tensors);
    file_unmap(&g->map);
    *g = (struct gguf){ 0 };
}
