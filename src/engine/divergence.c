#include "engine/divergence.h"

#include <assert.h>
#include <math.h>

#include "engine/pass.h"
#include "model/divergence.h"

#define SIDES VOCABULARY_SIDES
#define PARTS_AHEAD 4                   /* tiles of a head in memory: one in use, the next ones */
#define PIECE_ROWS ((size_t)256)        /* of hidden states, between two releases of their pages */

struct side {
    const struct engine *e;
    const struct engine_hidden *hidden;
    const struct matrix *head;
    struct compute cm;
    size_t first_part, ahead_bytes;
    struct stream *stream;              /* owned, during a group; NULL: the other side reads the
                                           head of both */
    struct weight_feed feed;
};

/* Of a group of tokens. */
struct group_buffers {
    float *x[SIDES];                    /* [group, D]: hidden states */
    struct divergence_buffers divergence;
    /* With A's head on both; the buffers share their memory with the ones above, as they are not
     * used at the same time: */
    struct divergence_buffers same_head;
    struct divergence_row *same_head_rows;      /* [group] */
};

struct work {
    const struct engine_divergence *d;
    struct side sides[SIDES];
    struct arena arena;                 /* owned; in it: */
    struct group_buffers buffers;
    size_t n, group;                    /* tokens in all; at most, in a group */
    size_t first;                       /* of the current group */
    size_t group_size;
    size_t times, time;                 /* that a group goes through the heads; 0 is the first */
};

static bool shares_head(const struct work *w)
{
    return w->sides[0].head == w->sides[1].head;
}

/* ---- what fits ------------------------------------------------------------------- */

static size_t hidden_rows(const struct engine_hidden *h)
{
    return h->row ? h->n : h->states.rows;
}

/* The state of token i of those that are compared. */
static size_t hidden_row(const struct engine_hidden *h, size_t i)
{
    return h->row ? (size_t)h->row[i] : i;
}

static bool check_hidden(const struct side *s, const char *name, size_t n, struct error *err)
{
    const struct matrix *h = &s->hidden->states;
    size_t D = s->e->w->lm_head.cols;
    if (h->dtype != DTYPE_F32 && h->dtype != DTYPE_BF16)
        return error_set(err, "%s: hidden states of %s have dtype %s, expected F32 or BF16",
                         s->e->ck->path, name, dtype_name(h->dtype));
    if (h->cols != D || hidden_rows(s->hidden) != n)
        return error_set(err, "%s: hidden states of %s are [%zu, %zu], expected [%zu, %zu]",
                         s->e->ck->path, name, hidden_rows(s->hidden), h->cols, n, D);
    return true;
}

static bool check(const struct work *w, struct error *err)
{
    const struct engine *a = w->sides[0].e, *b = w->sides[1].e;
    if (a->w->lm_head.rows != b->w->lm_head.rows)
        return error_set(err, "%s: the vocabulary has %zu ids, that of %s %zu", b->ck->path,
                         b->w->lm_head.rows, a->ck->path, a->w->lm_head.rows);
    return check_hidden(&w->sides[0], "A", w->n, err) && check_hidden(&w->sides[1], "B", w->n, err);
}

static struct divergence_task task_of(const struct work *w, size_t n)
{
    struct divergence_task task = { .n = n, .first_row = w->first };
    for (size_t i = 0; i < SIDES; i++) {
        const struct side *s = &w->sides[i];
        task.sides[i] = (struct vocabulary_side){
            &s->cm, w->buffers.x[i], s->head, s->stream ? &s->feed : NULL, s->first_part };
    }
    return task;
}

/* A's head on the hidden states of both.  Its first side reads it. */
static struct divergence_task same_head_task(const struct work *w, size_t n)
{
    struct divergence_task task = task_of(w, n);
    task.sides[1].head = task.sides[0].head;
    task.sides[1].feed = NULL;
    return task;
}

static struct group_buffers group_buffers_take(struct arena *a, const struct work *w, size_t n)
{
    struct group_buffers b = { 0 };
    for (size_t i = 0; i < SIDES; i++)
        b.x[i] = arena_take(a, n, w->sides[i].head->cols * sizeof *b.x[i]);
    const struct divergence_task task = task_of(w, n), second = same_head_task(w, n);
    if (w->times > 1)
        b.same_head_rows = arena_take(a, n, sizeof *b.same_head_rows);
    size_t begin = a->used;
    b.divergence = divergence_buffers_take(a, task.sides, n);
    size_t end = a->used;
    if (w->times > 1) {
        a->used = begin;
        b.same_head = divergence_buffers_take(a, second.sides, n);
        a->used = size_max(a->used, end);
    }
    return b;
}

/* Bytes of the arena that a group of n tokens takes. */
static size_t arena_bytes(const struct work *w, size_t n)
{
    struct arena measure = { 0 };
    group_buffers_take(&measure, w, n);
    return measure.peak;
}

/* Memory beside the arena: the rows kept for KL, and weights in flight. */
static size_t fixed_bytes(const struct work *w)
{
    return w->n * sizeof(struct divergence_row) + w->sides[0].ahead_bytes + w->sides[1].ahead_bytes;
}

/* The fewest equal groups that fit in memory beside the rows kept for KL. */
static bool plan(struct work *w, struct error *err)
{
    const struct budget *budget = &w->sides[0].e->budget;
    size_t least = fixed_bytes(w) + arena_bytes(w, 1);
    if (!budget_check(budget, least, err, "KL divergence"))
        return false;
    size_t left = budget_left(budget) - fixed_bytes(w), most = 1, step = w->n;
    while (step > 0) {
        if (most + step <= w->n && arena_bytes(w, most + step) <= left)
            most += step;
        else
            step /= 2;
    }
    size_t groups = w->n / most + (w->n % most != 0);
    w->group = groups ? w->n / groups + (w->n % groups != 0) : 0;
    return true;
}

/* All but what fits the budget. */
static void work_begin(struct work *w, const struct engine_divergence *d, size_t n)
{
    *w = (struct work){ .d = d, .n = n };
    for (size_t i = 0; i < SIDES; i++) {
        struct side *s = &w->sides[i];
        s->e = i ? d->b : d->a;
        s->hidden = i ? &d->hidden_b : &d->hidden_a;
        s->head = &s->e->w->lm_head;
        s->cm = engine_compute(s->e);
        s->cm.n_threads = d->a->n_threads;
        s->first_part = s->e->parts.layer[s->e->w->n_layers];
        s->ahead_bytes = PARTS_AHEAD * stream_part_bytes(&s->e->parts.list, s->first_part);
    }
    if (d->same_head || w->sides[0].head->data == w->sides[1].head->data) {
        assert(w->sides[0].head->cols == w->sides[1].head->cols);
        w->sides[1].head = w->sides[0].head;
        w->sides[1].ahead_bytes = 0;
    }
    bool fits = w->sides[0].head->cols == w->sides[1].head->cols;
    w->times = fits && !shares_head(w) ? 2 : 1;
}

size_t engine_divergence_least(const struct engine_divergence *d, size_t n)
{
    struct work w;
    work_begin(&w, d, n);
    return budget_needed(&d->a->budget, fixed_bytes(&w) + arena_bytes(&w, 1));
}

/* ---- a group ---------------------------------------------------------------------- */

static bool need_part(void *user, size_t part, struct error *err)
{
    struct side *s = user;
    const struct weights *w = s->e->w;
    return stream_need(s->stream, part, err)
        && (part > s->first_part || weights_check_scales(s->e->ck, w, w->n_layers, err));
}

static void part_done(void *user, size_t part)
{
    struct side *s = user;
    stream_done(s->stream, part);
}

/* x = rows [first, first + n) as f32. */
static bool load_hidden(float *x, const struct side *s, size_t first, size_t n, struct error *err)
{
    const struct matrix *h = &s->hidden->states;
    const struct mapped_file *f = s->hidden->file;
    size_t row_bytes = h->cols * dtype_bytes(h->dtype);
    for (size_t at = 0; at < n; at += PIECE_ROWS) {
        size_t rows = size_min(PIECE_ROWS, n - at);
        size_t begin = hidden_row(s->hidden, first + at);
        size_t end = hidden_row(s->hidden, first + at + rows - 1) + 1;
        size_t offset = f ? (size_t)(h->data - f->data) + begin * row_bytes : 0;
        if (f && !file_populate(f, offset, (end - begin) * row_bytes, err))
            return false;
#pragma omp parallel for num_threads(s->cm.n_threads)
        for (size_t i = at; i < at + rows; i++)
            compute_rows(&s->cm)->expand(x + i * h->cols, h, hidden_row(s->hidden, first + i), 0,
                                         h->cols);
        if (f)
            file_release(f, offset, (end - begin) * row_bytes, false);
    }
    return true;
}

static bool open_stream(struct side *s, struct error *err)
{
    const struct stream_options options = { .ahead_bytes = s->ahead_bytes, .evict = s->e->evict };
    s->feed = (struct weight_feed){ need_part, part_done, s };
    s->stream = stream_open(&s->e->parts.list, s->first_part, &options, err);
    return s->stream != NULL;
}

static bool report(void *user, double share)
{
    const struct work *w = user;
    const struct progress *p = &w->d->a->progress;
    double of_group = ((double)w->time + share) / (double)w->times;
    double done = (double)w->first + of_group * (double)w->group_size;
    return !p->report || p->report(p->user, "KL divergence", done, (double)w->n, "tokens");
}

static void close_streams(struct work *w)
{
    for (size_t i = 0; i < SIDES; i++) {
        stream_close(w->sides[i].stream);
        w->sides[i].stream = NULL;
    }
}

static bool run_heads(struct work *w, struct divergence_row *rows, struct error *err)
{
    bool ok = open_stream(&w->sides[0], err)
           && (shares_head(w) || open_stream(&w->sides[1], err));
    if (ok) {
        struct divergence_task task = task_of(w, w->group_size);
        task.rows = rows;
        task.progress = (struct step_progress){ report, w };
        w->time = 0;
        ok = divergence_forward(&task, &w->buffers.divergence, err);
    }
    close_streams(w);
    return ok;
}

/* Fills kld_same_head. */
static bool run_same_head(struct work *w, struct divergence_row *rows, struct error *err)
{
    bool ok = w->times == 1 || open_stream(&w->sides[0], err);
    if (ok && w->times > 1) {
        struct divergence_task task = same_head_task(w, w->group_size);
        task.rows = w->buffers.same_head_rows;
        task.progress = (struct step_progress){ report, w };
        w->time = 1;
        ok = divergence_forward(&task, &w->buffers.same_head, err);
    }
    close_streams(w);
    for (size_t i = 0; i < w->group_size; i++)
        rows[i].kld_same_head = w->times > 1 ? w->buffers.same_head_rows[i].kld
                              : shares_head(w) ? rows[i].kld : (double)NAN;
    return ok;
}

static bool run_group(struct work *w, struct divergence_row *rows, struct error *err)
{
    bool ok = true;
    w->group_size = size_min(w->group, w->n - w->first);
    for (size_t i = 0; ok && i < SIDES; i++)
        ok = load_hidden(w->buffers.x[i], &w->sides[i], w->first, w->group_size, err);
    return ok && run_heads(w, rows + w->first, err) && run_same_head(w, rows + w->first, err);
}

/* ---- the whole ---------------------------------------------------------------------- */

static bool allocate(struct work *w, struct error *err)
{
    if (!arena_reserve(&w->arena, arena_bytes(w, w->group), err))
        return false;
    w->buffers = group_buffers_take(&w->arena, w, w->group);
    return true;
}

bool engine_divergence(const struct engine_divergence *d, struct divergence_row *rows,
                       struct error *err)
{
    struct work w;
    work_begin(&w, d, hidden_rows(&d->hidden_a));
    bool ok = check(&w, err) && plan(&w, err) && allocate(&w, err);
    for (; ok && w.first < w.n; w.first += w.group)
        ok = run_group(&w, rows, err);
    arena_free(&w.arena);
    return ok;
}
