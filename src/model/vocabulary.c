#include "model/vocabulary.h"

#include <omp.h>

#include "model/linear.h"

#define TOKEN_BLOCK (KERNEL_ROWS / 2)

struct side_scratch {
    struct packed_b packed;        /* VOCABULARY_TILE rows of the head */
    float *logits;                  /* [threads, TOKEN_BLOCK, VOCABULARY_TILE] */
    char *gemm_scratch;
};

/* The second side's head, packed for its products, is the first one's. */
static bool shares_head(const struct vocabulary_task *task)
{
    const struct vocabulary_side *a = &task->sides[0], *b = &task->sides[1];
    return task->n_sides > 1 && a->head == b->head && linear_gemm(a->cm) == linear_gemm(b->cm);
}

static void scratch_take(const struct vocabulary_task *task, struct side_scratch *s)
{
    struct arena *arena = task->sides[0].cm->arena;
    size_t threads = (size_t)task->sides[0].cm->n_threads;
    for (size_t i = 0; i < task->n_sides; i++) {
        const struct vocabulary_side *side = &task->sides[i];
        s[i].packed = i > 0 && shares_head(task) ? s[0].packed
                                                 : packed_take(side->cm, side->head, VOCABULARY_TILE);
        s[i].logits = arena_take(arena, threads * TOKEN_BLOCK, VOCABULARY_TILE * sizeof(float));
        s[i].gemm_scratch = gemm_scratch_take(side->cm);
    }
}

/* Ids [first, first + ids) for a block of tokens, by one thread.  Each product brings in its share of
 * the next tile. */
static void block_of_tokens(const struct vocabulary_task *task, const struct side_scratch *s,
                            size_t first, size_t ids, const struct row_blocks *blocks, size_t block)
{
    size_t t = block_begin(blocks, block), rows = block_begin(blocks, block + 1) - t;
    float *logits[VOCABULARY_SIDES] = { NULL };
    for (size_t i = 0; i < task->n_sides; i++) {
        const struct vocabulary_side *side = &task->sides[i];
        size_t D = side->head->cols;
        struct prefetch prefetch = { 0 };
        prefetch_add(&prefetch, side->head, first + ids, VOCABULARY_TILE, block, blocks->count);
        logits[i] = s[i].logits + (size_t)omp_get_thread_num() * TOKEN_BLOCK * VOCABULARY_TILE;
        multiply_packed(side->cm, logits[i], VOCABULARY_TILE, side->hidden + t * D, D, rows,
                        &s[i].packed, &prefetch, s[i].gemm_scratch);
    }
    for (size_t row = 0; row < rows; row++) {
        task->take(task->user, t + row, first, ids, logits);
        for (size_t i = 0; i < task->n_sides; i++)
            logits[i] += VOCABULARY_TILE;
    }
}

static void one_tile(const struct vocabulary_task *task, struct side_scratch *s, size_t first,
                     size_t ids)
{
    const struct compute *cm = task->sides[0].cm;
    const struct row_blocks blocks = row_blocks_of(cm, task->n, TOKEN_BLOCK);
    size_t n_packed = shares_head(task) ? 1 : task->n_sides;
    for (size_t i = 0; i < task->n_sides; i++)
        s[i].packed.n = ids;
#pragma omp parallel num_threads(cm->n_threads)
    {
        for (size_t i = 0; i < n_packed; i++) {
            const struct weight_slice weight = { task->sides[i].head, first, ids, 0 };
            pack_weight(task->sides[i].cm, &s[i].packed, &weight, s[i].gemm_scratch);
        }
#pragma omp for schedule(dynamic)
        for (size_t block = 0; block < blocks.count; block++)
            block_of_tokens(task, s, first, ids, &blocks, block);
    }
}

static bool need(const struct vocabulary_task *task, size_t tile, struct error *err)
{
    for (size_t i = 0; i < task->n_sides; i++) {
        const struct vocabulary_side *side = &task->sides[i];
        if (side->feed && !side->feed->need(side->feed->user, side->first_part + tile, err))
            return false;
    }
    return true;
}

static void done(const struct vocabulary_task *task, size_t tile)
{
    for (size_t i = 0; i < task->n_sides; i++) {
        const struct vocabulary_side *side = &task->sides[i];
        if (side->feed)
            side->feed->done(side->feed->user, side->first_part + tile);
    }
}

static bool all_tiles(const struct vocabulary_task *task, struct side_scratch *s, struct error *err)
{
    size_t V = task->sides[0].head->rows;
    for (size_t first = 0, tile = 0; first < V; first += VOCABULARY_TILE, tile++) {
        if (!need(task, tile, err))
            return false;
        size_t ids = size_min(V - first, VOCABULARY_TILE);
        one_tile(task, s, first, ids);
        done(task, tile);
        double share = (double)(first + ids) / (double)V;
        if (task->progress.report && !task->progress.report(task->progress.user, share)) {
            err->interrupted = true;
            return error_set(err, "interrupted in the head");
        }
    }
    return true;
}

bool vocabulary_pass(const struct vocabulary_task *task, struct error *err)
{
    struct arena *arena = task->sides[0].cm->arena;
    struct side_scratch s[VOCABULARY_SIDES];
    size_t mark = arena->used;
    scratch_take(task, s);
    arena->used = mark;
    return !arena->block || all_tiles(task, s, err);
}
