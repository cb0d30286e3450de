#include "convert/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the order of reading -------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const struct listed_weight *x = *(const struct listed_weight *const *)a;
    const struct listed_weight *y = *(const struct listed_weight *const *)b;
    int by_file = strcmp(x->stored.parts[0]->file, y->stored.parts[0]->file);
    uintptr_t at = (uintptr_t)x->stored.view.data, other = (uintptr_t)y->stored.view.data;
    if (by_file || at != other)
        return by_file ? by_file : at < other ? -1 : 1;
    return strcmp(x->name, y->name);            /* tensors without bytes */
}

const struct listed_weight **layout_reading_order(const struct weight_list *m, struct error *err)
{
    const struct listed_weight **order = mem_array(m->n, sizeof *order, "modules", err);
    for (size_t i = 0; order && i < m->n; i++)
        order[i] = &m->list[i];
    if (order)
        qsort(order, m->n, sizeof *order, compare_places);
    return order;
}

/* ---- building ---------------------------------------------------------------------- */

bool layout_add_tensor(struct layout *l, size_t *index, const char *name, size_t n,
                       const char *suffix, enum dtype dtype, size_t ndim, const size_t *shape,
                       struct error *err)
{
    struct new_tensor t = { .entry = { .dtype = dtype, .ndim = ndim },
                            .n_bytes = dtype_bytes(dtype) };
    bool fits = true;
    for (size_t i = 0; i < ndim; i++) {
        t.entry.shape[i] = shape[i];
        fits = fits && size_product(&t.n_bytes, t.n_bytes, shape[i]);
    }
    if (!fits || !size_sum(&l->bytes, l->bytes, t.n_bytes))
        return error_set(err, "'%.*s%s' has more bytes than can be counted", (int)n, name, suffix);
    if (!mem_grow(&l->tensors, &l->tensors_capacity, l->n_tensors + 1, sizeof t, "tensors", err))
        return false;
    if (asprintf(&t.name, "%.*s%s", (int)n, name, suffix) < 0)
        return error_set(err, "out of memory: a tensor's name");
    t.entry.name = t.name;
    *index = l->n_tensors;
    l->tensors[l->n_tensors++] = t;
    return true;
}

bool layout_add_task(struct layout *l, const struct task *task, struct error *err)
{
    if (!mem_grow(&l->tasks, &l->tasks_capacity, l->n_tasks + 1, sizeof *task, "tasks", err))
        return false;
    l->tasks[l->n_tasks++] = *task;
    l->tensors[task->tensor].has_scale = task->action == TASK_PACK;
    return true;
}

/* In a shard: its bytes, and more than its line in the header will have. */
static size_t cost(const struct new_tensor *t)
{
    return t->n_bytes + strlen(t->name) + 128 + 24 * t->entry.ndim;
}

/* Stable: tensors of equal elements stay in the order of reading. */
static bool place(struct layout *l, struct error *err)
{
    static const size_t sizes[] = { 8, 4, 2, 1 };
    size_t *next = mem_array(l->n_shards, sizeof *next, "shards", err);
    for (size_t s = 0; next && s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < l->n_tensors; i++)
            if (dtype_bytes(l->tensors[i].entry.dtype) == sizes[s])
                l->tensors[i].place = next[l->tensors[i].shard]++;
    bool ok = next != NULL;
    free(next);
    return ok;
}

bool layout_finish(struct layout *l, size_t shard_bytes, struct error *err)
{
    size_t used = 0;
    if (l->n_tensors == 0)
        return error_set(err, "there is no tensor to write");
    for (size_t i = 0; i < l->n_tensors; i++) {
        struct new_tensor *t = &l->tensors[i];
        size_t both = cost(t) + (t->has_scale ? cost(t + 1) : 0);
        bool is_scale = i > 0 && t[-1].has_scale;
        if (!is_scale && used && used + both > shard_bytes) {
            l->n_shards++;
            used = 0;
        }
        t->shard = l->n_shards;
        used += cost(t);
    }
    l->n_shards++;
    return place(l, err);
}

void layout_free(struct layout *l)
{
    for (size_t i = 0; i < l->n_tensors; i++)
        free(l->tensors[i].name);
    free(l->tensors);
    free(l->tasks);
    *l = (struct layout){ 0 };
}

/* ---- shards ---------------------------------------------------------------------------- */

void layout_shard_name(char out[SHARD_NAME_BYTES], const struct layout *l, size_t shard)
{
    snprintf(out, SHARD_NAME_BYTES, "model-%05zu-of-%05zu.safetensors", shard + 1, l->n_shards);
}

struct safetensors_entry *layout_entries(size_t *n, const struct layout *l, size_t shard,
                                         struct error *err)
{
    *n = 0;
    for (size_t i = 0; i < l->n_tensors; i++)
        *n += l->tensors[i].shard == shard;
    struct safetensors_entry *entries = mem_array(*n, sizeof *entries, "tensors", err);
    for (size_t i = 0; entries && i < l->n_tensors; i++)
        if (l->tensors[i].shard == shard)
            entries[l->tensors[i].place] = l->tensors[i].entry;
    return entries;
}
