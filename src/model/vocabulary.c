#include "model/vocabulary.h"

#include "model/linear.h"

#define TOKEN_BLOCK (KERNEL_ROWS / 2)

/* The second side's head, packed for its products, is the first one's. */
static bool shares_head(const struct vocabulary_side *sides, size_t n_sides)
{
    return n_sides > 1 && sides[0].head == sides[1].head
        && linear_gemm(sides[0].cm) == linear_gemm(sides[1].cm);
}

struct vocabulary_buffers vocabulary_buffers_take(struct arena *a,
                                                  const struct vocabulary_side *sides,
                                                  size_t n_sides)
{
    struct vocabulary_buffers b = { 0 };
    int threads = sides[0].cm->n_threads;
    for (size_t i = 0; i < n_sides; i++) {
        const struct compute *cm = sides[i].cm;
        b.sides[i].packed = i > 0 && shares_head(sides, n_sides)
                          ? b.sides[0].packed
                          : linear_packed_take(a, cm, sides[i].head, VOCABULARY_TILE);
        b.sides[i].logits = thread_buffers_take(a, threads, TOKEN_BLOCK * VOCABULARY_TILE,
                                                sizeof(float));
        b.sides[i].gemm_scratch = linear_scratch_take(a, cm);
    }
    return b;
}

/* Ids [first, first + ids) for a block of tokens, by one thread.  Each product prefetches its part
 * of the next tile. */
static void block_of_tokens(const struct vocabulary_task *task, const struct vocabulary_buffers *b,
                            size_t first, size_t ids, const struct row_blocks *blocks,
                            size_t block)
{
    size_t t = linear_block_begin(blocks, block), rows = linear_block_begin(blocks, block + 1) - t;
    float *logits[VOCABULARY_SIDES] = { NULL };
    for (size_t i = 0; i < task->n_sides; i++) {
        const struct vocabulary_side *side = &task->sides[i];
        struct packed_b packed = b->sides[i].packed;
        size_t D = side->head->cols;
        struct prefetch prefetch = { 0 };
        packed.n = ids;
        linear_prefetch_add(&prefetch, side->head, first + ids, VOCABULARY_TILE, block,
                            blocks->count);
        logits[i] = thread_buffer(&b->sides[i].logits);
        linear_multiply(side->cm, logits[i], VOCABULARY_TILE, side->hidden + t * D, D, rows,
                        &packed, &prefetch, b->sides[i].gemm_scratch);
    }
    for (size_t row = 0; row < rows; row++) {
        task->consume(task->user, t + row, first, ids, logits);
        for (size_t i = 0; i < task->n_sides; i++)
            logits[i] += VOCABULARY_TILE;
    }
}

static void one_tile(const struct vocabulary_task *task, const struct vocabulary_buffers *b,
                     size_t first, size_t ids)
{
    const struct compute *cm = task->sides[0].cm;
    const struct row_blocks blocks = linear_row_blocks(cm, task->n, TOKEN_BLOCK);
    size_t n_packed = shares_head(task->sides, task->n_sides) ? 1 : task->n_sides;
#pragma omp parallel num_threads(cm->n_threads)
    {
        for (size_t i = 0; i < n_packed; i++) {
            const struct vocabulary_side *side = &task->sides[i];
            struct packed_b packed = b->sides[i].packed;
            packed.n = ids;
            linear_pack_weight(side->cm, &packed,
                               &(struct weight_slice){ side->head, first, ids, 0 },
                               b->sides[i].gemm_scratch);
        }
#pragma omp for schedule(dynamic)
        for (size_t block = 0; block < blocks.count; block++)
            block_of_tokens(task, b, first, ids, &blocks, block);
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

bool vocabulary_pass(const struct vocabulary_task *task, const struct vocabulary_buffers *b,
                     struct error *err)
{
    size_t V = task->sides[0].head->rows;
    for (size_t first = 0, tile = 0; first < V; first += VOCABULARY_TILE, tile++) {
        if (!need(task, tile, err))
            return false;
        size_t ids = size_min(V - first, VOCABULARY_TILE);
        one_tile(task, b, first, ids);
        done(task, tile);
        double share = (double)(first + ids) / (double)V;
        if (task->progress.report && !task->progress.report(task->progress.user, share)) {
            err->interrupted = true;
            return error_set(err, "interrupted in the head");
        }
    }
    return true;
}
