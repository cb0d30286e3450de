#include "formats/gguf_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf.h"
#include "formats/gguf_config.h"
#include "formats/gguf_names.h"
#include "kernels/ggml_blocks.h"

#define PARTS_MOST ((size_t)1000)
#define SPLIT_END "-00001-of-00001.gguf"        /* as long as any other */

/* What tensors borrow. */
struct own {
    struct head_order orders[GGUF_HEADS];
    uint32_t place[];                   /* of the value heads */
};

struct opening {
    struct checkpoint *ck;
    struct gguf *parts;                 /* owned [n_parts] */
    size_t n_parts;
    struct config config;               /* owned: for the names */
    struct own *own;
    size_t capacity;                    /* of ck->tensors */
    struct error *err;
};

/* ---- types ------------------------------------------------------------------------ */

static bool find_type(enum dtype *out, size_t *columns, size_t *bytes, uint32_t id)
{
    static const struct {
        uint32_t id;
        enum dtype dtype;
    } plain[] = { { 0, DTYPE_F32 }, { 1, DTYPE_F16 }, { 30, DTYPE_BF16 } };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].id == id) {
            *out = plain[i].dtype;
            *columns = 1;
            *bytes = dtype_bytes(*out);
            return true;
        }
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        const struct ggml_block_type *t = ggml_block_type((enum dtype)i);
        if (t && t->id == id) {
            *out = (enum dtype)i;
            *columns = t->columns;
            *bytes = t->bytes;
            return true;
        }
    }
    return false;
}

/* A tensor of a file, before it has names. */
struct placed {
    enum dtype dtype;
    const uint8_t *data;
    size_t row_bytes;
};

static bool place(struct placed *out, const struct gguf *g, const struct gguf_tensor *t,
                  struct error *err)
{
    const char *path = g->map.path, *name = t->name.bytes;
    int n_name = (int)t->name.n;
    size_t columns, bytes, left = g->map.size - g->data_start;
    if (!find_type(&out->dtype, &columns, &bytes, t->type))
        return error_set(err, "%s: '%.*s' has type %u, which is no type of weights that is"
                         " supported", path, n_name, name, (unsigned)t->type);
    if (t->ne[0] % columns)
        return error_set(err, "%s: '%.*s' has rows of %zu, %s needs a multiple of %zu", path,
                         n_name, name, t->ne[0], dtype_name(out->dtype), columns);
    size_t n = 0;
    bool fits = size_product(&n, t->ne[0] / columns, bytes);
    out->row_bytes = n;
    for (size_t i = 1; fits && i < t->ndim; i++)
        fits = size_product(&n, n, t->ne[i]);
    if (!fits || t->offset > left || n > left - t->offset)
        return error_set(err, "%s: '%.*s' ends beyond the file's %zu bytes: truncated?", path,
                         n_name, name, g->map.size);
    out->data = g->map.data + g->data_start + t->offset;
    return true;
}

/* ---- tensors ---------------------------------------------------------------------- */

/* Of one file: a tensor of it is at hand. */
struct filling {
    const struct opening *o;
    struct safetensors_file *f;
    const struct gguf_tensor *t;
    struct placed placed;
    size_t capacity;                    /* of names and tensors; 0: they are counted */
};

static void fill_shape(struct tensor *to, const struct gguf_tensor *t, const struct gguf_name *name)
{
    size_t cols = t->ne[0];
    if (name->is_convolution)
        *to->shape = name->rows, to->shape[1] = 1, to->shape[2] = cols, to->ndim = 3;
    else if (t->ndim > 1 || name->is_row)
        *to->shape = name->rows, to->shape[1] = cols, to->ndim = 2;
    else
        *to->shape = cols, to->ndim = 1;
}

/* Heads in another order, which must be there to be put in order. */
static bool order_heads(struct tensor *to, const struct filling *f, const struct gguf_name *name,
                        struct error *err)
{
    const struct head_order *order = &f->o->own->orders[name->heads];
    bool by_col = name->heads == GGUF_ONE_COL || name->heads == GGUF_COLS;
    size_t found = by_col ? f->t->ne[0] : name->rows;
    size_t expected = order->first + order->heads * order->head_size;
    if (name->heads == GGUF_NONE || !order->heads)
        return true;
    *(by_col ? &to->col_order : &to->row_order) = order;
    return found == expected
        || error_set(err, "%s: '%s' has %zu %s, expected %zu: it has value heads", to->file,
                     to->name, found, by_col ? "columns" : "rows", expected);
}

static bool take_tensor(void *user, const struct gguf_name *name, struct error *err)
{
    struct filling *f = user;
    if (!f->capacity) {
        f->f->n_tensors++;
        return true;
    }
    struct tensor *t = &f->f->tensors[f->f->n_tensors];
    char *own_name = f->f->names + f->f->n_tensors++ * GGUF_NAMES_BYTES;
    memcpy(own_name, name->name, sizeof name->name);
    *t = (struct tensor){ .name = own_name, .file = f->f->map.path, .dtype = f->placed.dtype,
                          .data = f->placed.data + name->first * f->placed.row_bytes,
                          .n_bytes = name->rows * f->placed.row_bytes,
                          .one_added = name->one_added, .is_rate = name->is_rate };
    fill_shape(t, f->t, name);
    return order_heads(t, f, name, err);
}

/* Counts, or fills. */
static bool take_all(struct filling *f, const struct gguf *g, struct error *err)
{
    bool ok = true;
    f->f->n_tensors = 0;
    for (size_t i = 0; ok && i < g->n_tensors; i++) {
        f->t = &g->tensors[i];
        ok = place(&f->placed, g, f->t, err)
          && gguf_names_each(g, f->t, &f->o->config, take_tensor, f, err);
    }
    return ok;
}

static bool fill_file(struct opening *o, struct gguf *g, struct safetensors_file *to)
{
    struct filling f = { .o = o, .f = to };
    if (!take_all(&f, g, o->err))
        return false;
    f.capacity = to->n_tensors;
    to->map = g->map;                   /* its owner from now on, as the checkpoint is of `to` */
    o->ck->n_files++;
    to->tensors = mem_array(f.capacity, sizeof *to->tensors, "tensors", o->err);
    to->names = mem_array(f.capacity, GGUF_NAMES_BYTES, "tensor names", o->err);
    bool ok = to->tensors && to->names && (f.capacity == 0 || take_all(&f, g, o->err));
    g->map = (struct mapped_file){ .fd = -1 };
    return ok && safetensors_check_overlaps(to, o->err);
}

static bool list_tensors(struct opening *o)
{
    struct checkpoint *ck = o->ck;
    for (size_t p = 0; p < ck->n_files; p++)
        for (size_t i = 0; i < ck->files[p].n_tensors; i++) {
            if (!mem_grow(&ck->tensors, &o->capacity, ck->n_tensors + 1, sizeof *ck->tensors,
                          "tensors", o->err))
                return false;
            ck->tensors[ck->n_tensors++] = &ck->files[p].tensors[i];
        }
    return true;
}

static bool fill_orders(struct opening *o)
{
    const struct config *c = &o->config;
    size_t heads = c->linear_num_value_heads, nk = c->linear_num_key_heads;
    size_t size = c->linear_value_head_dim, keys = 2 * nk * c->linear_key_head_dim;
    struct own *own = o->own = o->ck->own =
        mem_array(sizeof *own + heads * sizeof *own->place, 1, "the order of heads", o->err);
    if (!own)
        return false;
    /* In order, or no such layers: where there are some, config.c has refused other ratios. */
    if (nk == heads || nk == 0 || heads % nk)
        return true;
    for (size_t h = 0; h < heads; h++)
        own->place[h] = (uint32_t)(h % (heads / nk) * nk + h / (heads / nk));
    own->orders[GGUF_CHANNELS] = (struct head_order){ keys, heads, size, own->place };
    own->orders[GGUF_ROWS] = own->orders[GGUF_COLS] =
        (struct head_order){ 0, heads, size, own->place };
    own->orders[GGUF_ONE_ROW] = own->orders[GGUF_ONE_COL] =
        (struct head_order){ 0, heads, 1, own->place };
    return true;
}

/* ---- splits ----------------------------------------------------------------------- */

static bool split_number(size_t *out, const struct gguf *g, const char *key, size_t otherwise,
                         struct error *err)
{
    const struct gguf_entry *e = gguf_find(g, key);
    *out = otherwise;
    return !e || (!e->is_array && gguf_size(out, e, 0))
        || error_set(err, "%s: %s is not a whole number from 0", g->map.path, key);
}

/* Which of how many files one is, and how many tensors there are in all (0: it does not say). */
struct split {
    size_t no, count, tensors;
};

static bool read_split(struct split *out, const struct gguf *g, struct error *err)
{
    return split_number(&out->no, g, "split.no", 0, err)
        && split_number(&out->count, g, "split.count", 1, err)
        && split_number(&out->tensors, g, "split.tensors.count", 0, err);
}

static bool open_part(struct opening *o, const char *first, size_t i, size_t count)
{
    struct split split;
    char *path = mem_string(first, o->err);
    if (!path)
        return false;
    char *end = path + strlen(path) - strlen(SPLIT_END);
    snprintf(end, sizeof SPLIT_END, "-%05u-of-%05u.gguf", (unsigned)(i + 1) % 100000,
             (unsigned)count % 100000);
    struct gguf *g = &o->parts[i];
    bool ok = gguf_open(g, path, o->err) && ++o->n_parts && read_split(&split, g, o->err);
    if (ok && (split.no != i || split.count != count))
        ok = error_set(o->err, "%s: says that it is part %zu of %zu, expected part %zu of %zu",
                       path, split.no + 1, split.count, i + 1, count);
    free(path);
    return ok;
}

static bool is_first_name(const char *path, size_t count)
{
    char end[sizeof SPLIT_END];
    size_t n = strlen(path), n_end = strlen(SPLIT_END);
    snprintf(end, sizeof end, "-00001-of-%05u.gguf", (unsigned)count % 100000);
    return n > n_end && strcmp(path + n - n_end, end) == 0;
}

static bool open_others(struct opening *o, const char *path)
{
    struct split split;
    size_t tensors = 0;
    if (!read_split(&split, &o->parts[0], o->err))
        return false;
    if (split.count <= 1)
        return true;
    if (split.no != 0)
        return error_set(o->err, "%s: is part %zu of %zu of a split, expected the first", path,
                         split.no + 1, split.count);
    if (split.count > PARTS_MOST || !is_first_name(path, split.count))
        return error_set(o->err, "%s: is the first of %zu files, expected a name that ends in"
                         " -00001-of-%05zu.gguf to find the others by", path, split.count,
                         split.count);
    struct gguf *parts = mem_array(split.count, sizeof *parts, "files", o->err);
    if (!parts)
        return false;
    parts[0] = o->parts[0];
    free(o->parts);
    o->parts = parts;
    for (size_t i = 1; i < split.count; i++)
        if (!open_part(o, path, i, split.count))
            return false;
    for (size_t i = 0; i < o->n_parts; i++)
        tensors += o->parts[i].n_tensors;
    return !split.tensors || split.tensors == tensors
        || error_set(o->err, "%s: says that the files have %zu tensors, but they have %zu", path,
                     split.tensors, tensors);
}

/* ---- the reader ------------------------------------------------------------------- */

static bool make_config(struct opening *o)
{
    struct checkpoint *ck = o->ck;
    cJSON *made = gguf_config_make(o->parts, o->n_parts, o->err);
    char *text = json_print_line(made);
    bool ok = text && digest_of(&ck->config_digest, text, strlen(text), o->err)
           && (ck->config_json = json_parse(text, strlen(text), ck->config_path, o->err))
           && config_read(&o->config, ck->config_json, SIZE_MAX, ck->config_path, o->err);
    cJSON_free(text);
    cJSON_Delete(made);
    return ok;
}

static bool open_all(struct opening *o)
{
    struct checkpoint *ck = o->ck;
    char *path = gguf_find_file(ck->path, o->err);
    bool ok = path && (ck->config_path = mem_string(path, o->err))
           && (o->parts = mem_array(1, sizeof *o->parts, "files", o->err))
           && gguf_open(&o->parts[0], path, o->err) && (o->n_parts = 1)
           && open_others(o, path) && make_config(o) && fill_orders(o)
           && (ck->files = mem_array(o->n_parts, sizeof *ck->files, "files", o->err));
    for (size_t i = 0; ok && i < o->n_parts; i++)
        ok = fill_file(o, &o->parts[i], &ck->files[i]);
    free(path);
    return ok && list_tensors(o);
}

static bool open_gguf(struct checkpoint *ck, const struct checkpoint_faults *faults,
                      struct error *err)
{
    struct opening o = { .ck = ck, .err = err };
    (void)faults;
    bool ok = open_all(&o);
    for (size_t i = 0; i < o.n_parts; i++)
        gguf_close(&o.parts[i]);
    free(o.parts);
    config_free(&o.config);
    return ok;
}

static void close_gguf(struct checkpoint *ck)
{
    free(ck->own);
}

/* The files of weights are listed when they are open. */
static bool list_gguf(struct input_files *in, const char *folder, struct error *err)
{
    char *path = gguf_find_file(folder, err);
    bool ok = path && input_files_add(in, path, err);
    free(path);
    return ok;
}

const struct checkpoint_reader gguf_reader = {
    .name = "GGUF", .is_self_described = true, .recognises = gguf_recognises,
    .open = open_gguf, .close = close_gguf, .list = list_gguf, .tokenizer = gguf_find_file,
};
