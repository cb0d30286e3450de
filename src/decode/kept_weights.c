#include "decode/kept_weights.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

/* Every so many steps each use counts half: what is read changes with what is written about. */
#define HALVING_STEPS 1024

struct kept_part {
    bool is_in, is_in_use;
    size_t uses;                        /* steps in which it was used */
    size_t step;                        /* the last of them */
    size_t order;                       /* of the last use, among those of all parts */
};

struct kept_weights {
    const struct weight_schedule *parts;        /* borrowed */
    struct kept_part *part;                     /* owned [n_parts] */
    size_t room, kept;                          /* bytes of parts that are in and not in use */
    size_t step, order, bytes_read;
};

size_t kept_weights_head_bytes(const struct weight_schedule *parts, size_t n_layers)
{
    return stream_parts_bytes(&parts->list, parts->layer[n_layers], parts->list.n_parts);
}

size_t kept_weights_least(const struct weight_schedule *parts, size_t n_layers, size_t n_experts,
                          bool with_head)
{
    size_t least = with_head ? kept_weights_head_bytes(parts, n_layers) : 0;
    for (size_t layer = 0; layer < n_layers; layer++) {
        size_t first = parts->layer[layer], end = parts->layer[layer + 1], largest = 0;
        for (size_t part = first + 1; part < end; part++)
            largest = size_max(largest, stream_part_bytes(&parts->list, part));
        size_t experts = size_min(n_experts, end - first - 1) * largest;
        least = size_max(least, stream_part_bytes(&parts->list, first) + experts);
    }
    return least;
}

struct kept_weights *kept_weights_open(const struct weight_schedule *parts, size_t least,
                                       size_t bytes, struct error *err)
{
    struct kept_weights *k = mem_array(1, sizeof *k, "the list of weights", err);
    if (!k)
        return NULL;
    assert(bytes >= least);
    *k = (struct kept_weights){ .parts = parts, .room = bytes - least };
    k->part = mem_array(parts->list.n_parts, sizeof *k->part, "the list of weights", err);
    if (k->part)
        return k;
    free(k);
    return NULL;
}

static void release(struct kept_weights *k, size_t part)
{
    stream_part_release(&k->parts->list, part, false);
    k->part[part].is_in = false;
}

void kept_weights_close(struct kept_weights *k)
{
    if (!k)
        return;
    for (size_t part = 0; part < k->parts->list.n_parts; part++)
        if (k->part[part].is_in)
            release(k, part);
    free(k->part);
    free(k);
}

/* Should a go before b?  A use in this step does not count, as other parts will have theirs. */
static bool goes_before(const struct kept_weights *k, const struct kept_part *a,
                        const struct kept_part *b)
{
    size_t uses_a = a->uses - (a->step == k->step), uses_b = b->uses - (b->step == k->step);
    return uses_a < uses_b || (uses_a == uses_b && a->order > b->order);
}

static void make_room(struct kept_weights *k)
{
    while (k->kept > k->room) {
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < k->parts->list.n_parts; i++)
            if (k->part[i].is_in && !k->part[i].is_in_use
                && (first == SIZE_MAX || goes_before(k, &k->part[i], &k->part[first])))
                first = i;
        k->kept -= stream_part_bytes(&k->parts->list, first);
        release(k, first);
    }
}

void kept_weights_step(struct kept_weights *k)
{
    k->step++;
    for (size_t i = 0; i < k->parts->list.n_parts; i++) {
        struct kept_part *p = &k->part[i];
        if (k->step % HALVING_STEPS == 0)
            p->uses = (p->uses + 1) / 2;
        if (p->is_in_use)
            kept_weights_done(k, i);
    }
}

static bool bring_in(struct kept_weights *k, size_t part, struct error *err)
{
    const struct stream_parts *list = &k->parts->list;
    const struct stream_range *begin = list->ranges + list->begin[part];
    const struct stream_range *end = list->ranges + list->begin[part + 1];
    for (const struct stream_range *r = begin; r < end; r++)
        file_read_ahead(r->file, r->offset, r->n);
    for (const struct stream_range *r = begin; r < end; r++)
        if (!file_populate(r->file, r->offset, r->n, err))
            return false;
    k->bytes_read += stream_part_bytes(list, part);
    return true;
}

bool kept_weights_need(struct kept_weights *k, size_t part, struct error *err)
{
    struct kept_part *p = &k->part[part];
    assert(!p->is_in_use);
    if (p->is_in)
        k->kept -= stream_part_bytes(&k->parts->list, part);
    else if (!bring_in(k, part, err))
        return false;
    p->is_in = p->is_in_use = true;
    p->uses += p->step != k->step;
    p->step = k->step;
    p->order = ++k->order;
    return true;
}

void kept_weights_done(struct kept_weights *k, size_t part)
{
    assert(k->part[part].is_in_use);
    k->part[part].is_in_use = false;
    k->kept += stream_part_bytes(&k->parts->list, part);
    make_room(k);
}

size_t kept_weights_bytes_read(const struct kept_weights *k)
{
    return k->bytes_read;
}
