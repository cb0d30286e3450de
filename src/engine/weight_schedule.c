#include "engine/weight_schedule.h"

#include <stdlib.h>

#include "base/memory.h"
#include "kernels/stored.h"
#include "model/vocabulary.h"

struct maker {
    struct weight_schedule *p;
    const struct checkpoint *ck;
    size_t capacity, n_ranges, part_capacity;
    struct error *err;
};

/* Adds bytes to the current part; bytes that follow the last range extend it. */
static bool add(struct maker *m, const uint8_t *data, size_t n)
{
    const struct mapped_file *f = n ? checkpoint_file_of(m->ck, data) : NULL;
    if (!f)                                     /* no bytes, or (in tests) not from a file */
        return true;
    size_t offset = (size_t)(data - f->data), first = m->p->list.begin[m->p->list.n_parts];
    struct stream_range *last = m->n_ranges > first ? &m->p->list.ranges[m->n_ranges - 1] : NULL;
    m->p->bytes += n;
    if (last && last->file == f && last->offset + last->n == offset) {
        last->n += n;
        return true;
    }
    if (!mem_grow(&m->p->list.ranges, &m->capacity, m->n_ranges + 1, sizeof *m->p->list.ranges,
                  "the list of weights", m->err))
        return false;
    m->p->list.ranges[m->n_ranges++] = (struct stream_range){ f, offset, n };
    return true;
}

/* Rows [first, first + rows) of a stored matrix. */
static bool add_rows(struct maker *m, const struct matrix *w, size_t first, size_t rows)
{
    struct stored_span spans[STORED_SPANS];
    size_t n = stored_spans(spans, w, first, rows);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = add(m, spans[i].data, spans[i].n);
    return ok;
}

static bool add_matrix(struct maker *m, const struct matrix *w)
{
    return add_rows(m, w, 0, w->rows);
}

static bool end_part(struct maker *m)
{
    struct stream_parts *list = &m->p->list;
    if (!mem_grow(&list->begin, &m->part_capacity, list->n_parts + 2, sizeof *list->begin,
                  "the list of weights", m->err))
        return false;
    list->begin[++list->n_parts] = m->n_ranges;
    m->p->largest = size_max(m->p->largest, stream_part_bytes(list, list->n_parts - 1));
    return true;
}

struct picker {
    struct maker *m;
    bool mlp;                           /* the dense MLP, else everything but it and the experts */
};

static bool pick(void *user, const struct model_weight *w)
{
    const struct picker *picker = user;
    return w->kind == WEIGHT_EXPERTS || (w->kind == WEIGHT_DENSE_MLP) != picker->mlp
        || add_matrix(picker->m, w->matrix);
}

/* A layer of the model, or (mtp) that of MTP with what is around it. */
struct layer_source {
    const struct weights *w;
    size_t layer;
    const struct mtp_weights *mtp;
};

static bool add_picked(struct maker *m, const struct layer_source *from, bool mlp)
{
    struct picker p = { m, mlp };
    return (from->mtp ? weights_visit_mtp(m->ck, from->mtp, pick, &p)
                      : weights_visit_layer(m->ck, from->w, from->layer, pick, &p))
        && end_part(m);
}

static bool add_layer(struct maker *m, const struct layer_source *from)
{
    size_t before = m->p->bytes;
    const struct mlp_weights *experts = (from->mtp ? &from->mtp->layer
                                                   : &from->w->layers[from->layer])->experts;
    bool ok = add_picked(m, from, false);
    if (!experts)
        ok = ok && add_picked(m, from, true);
    for (size_t e = 0; ok && e < m->ck->config.num_experts; e++)
        ok = add_matrix(m, &experts[e].gate) && add_matrix(m, &experts[e].up)
          && add_matrix(m, &experts[e].down) && end_part(m);
    m->p->largest_layer = size_max(m->p->largest_layer, m->p->bytes - before);
    return ok;
}

static bool add_vocabulary(struct maker *m, const struct matrix *table)
{
    bool ok = true;
    for (size_t row = 0; ok && row < table->rows; row += VOCABULARY_TILE)
        ok = add_rows(m, table, row, size_min(VOCABULARY_TILE, table->rows - row)) && end_part(m);
    return ok;
}

static bool begin(struct maker *m, size_t n_layers)
{
    struct weight_schedule *p = m->p;
    *p = (struct weight_schedule){ 0 };
    p->layer = mem_array(n_layers + 1, sizeof *p->layer, "the list of weights", m->err);
    if (!p->layer
        || !mem_grow(&p->list.begin, &m->part_capacity, 1, sizeof *p->list.begin,
                     "the list of weights", m->err))
        return false;
    p->list.begin[0] = 0;
    return true;
}

bool weight_schedule_make(struct weight_schedule *p, const struct checkpoint *ck,
                          const struct weights *w, struct error *err)
{
    struct maker m = { .p = p, .ck = ck, .err = err };
    size_t L = w->n_layers;
    bool ok = begin(&m, L) && add_vocabulary(&m, &w->embed_tokens);
    for (size_t layer = 0; ok && layer < L; layer++) {
        p->layer[layer] = p->list.n_parts;
        ok = add_layer(&m, &(struct layer_source){ .w = w, .layer = layer });
    }
    if (ok)
        p->layer[L] = p->list.n_parts;
    ok = ok && add_matrix(&m, &w->norm) && add_vocabulary(&m, &w->lm_head);
    if (!ok)
        weight_schedule_free(p);
    return ok;
}

bool weight_schedule_make_draft(struct weight_schedule *p, const struct checkpoint *ck,
                                const struct weights *w, const struct mtp_weights *mtp,
                                struct error *err)
{
    struct maker m = { .p = p, .ck = ck, .err = err };
    bool ok = begin(&m, 2) && add_vocabulary(&m, &w->embed_tokens);
    for (size_t i = 0; ok && i < 3; i++) {
        p->layer[i] = p->list.n_parts;
        ok = i == 0 ? add_layer(&m, &(struct layer_source){ .mtp = mtp })
                    : add_vocabulary(&m, &w->lm_head);
    }
    if (!ok)
        weight_schedule_free(p);
    return ok;
}

void weight_schedule_free(struct weight_schedule *p)
{
    free(p->list.ranges);
    free(p->list.begin);
    free(p->layer);
    *p = (struct weight_schedule){ 0 };
}
