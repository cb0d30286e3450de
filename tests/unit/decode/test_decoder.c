/* Prefill and steps on the demo checkpoint: prefill has the bits of an evaluation, however it is
 * cut; steps follow it within a bound; a sequence has the same bits alone and beside others, with
 * any number of threads. */
#include "decode/decoder.h"
#include "decode/snapshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/decoder_step.h"
#include "tests/differ.h"
#include "tests/random.h"

#define CHECKPOINT "data/demo/mxfp4"

enum { N_IDS = 200, SEQUENCES = 3 };

static struct checkpoint ck;
static struct weights w;
static int32_t ids[N_IDS];
static size_t V;
static float *truth;                    /* [N_IDS, V]: of engine_trace */

static void fail(const struct error *err)
{
    check(false, "the decoder works", "%s", err->message);
    exit(check_done());
}

static struct engine *engine_with(int n_threads, enum compute_type compute)
{
    const struct engine_options options = { .n_threads = n_threads, .compute = compute };
    struct error err = { 0 };
    struct engine *e = engine_open(&ck, &w, &options, &err);
    if (!e)
        fail(&err);
    return e;
}

static struct decoder *decoder_on(const struct engine *e, size_t piece, size_t sequences)
{
    const struct decoder_options options = { .piece_tokens = piece, .max_sequences = sequences };
    struct error err = { 0 };
    struct decoder *d = decoder_open(e, &options, &err);
    if (!d)
        fail(&err);
    return d;
}

enum { POOL_BLOCKS = 16 };
static struct kv_pool pools[2];         /* of f32, of BF16 */

static struct kv_pool *pool_of(enum dtype dtype)
{
    return &pools[dtype == DTYPE_BF16];
}

static struct sequence_state state_in(struct kv_pool *pool, size_t capacity)
{
    struct sequence_state s;
    struct error err = { 0 };
    if (!sequence_state_open(&s, &ck.config, pool, capacity, &err))
        fail(&err);
    return s;
}

static struct sequence_state state_of(size_t capacity)
{
    return state_in(pool_of(DTYPE_F32), capacity);
}

/* ---- reference ------------------------------------------------------------------- */

static bool take_layer(void *user, size_t layer, float *residual, const int32_t *routing,
                       struct error *err)
{
    (void)user, (void)layer, (void)residual, (void)routing, (void)err;
    return true;
}

static bool take_hidden(void *user, size_t row, size_t n, float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)hidden, (void)err;
    return true;
}

static bool take_logits(void *user, size_t row, size_t n, const float *logits, struct error *err)
{
    (void)err;
    memcpy((float *)user + row * V, logits, n * V * sizeof *logits);
    return true;
}

static bool take_rows(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    return take_logits(user, row, n, logits, err);
}

static void find_truth(enum compute_type compute)
{
    struct engine *e = engine_with(2, compute);
    const struct engine_tracer tracer = { take_layer, take_hidden, take_logits, truth };
    struct error err = { 0 };
    if (!engine_trace(e, ids, N_IDS, &tracer, &err))
        fail(&err);
    engine_close(e);
}

static double nll(const float *logits, int32_t target)
{
    double max = -INFINITY, total = 0;
    for (size_t i = 0; i < V; i++)
        max = fmax(max, (double)logits[i]);
    for (size_t i = 0; i < V; i++)
        total += exp((double)logits[i] - max);
    return max + log(total) - (double)logits[target];
}

/* ---- prefill ----------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum compute_type compute;
    int n_threads;
    size_t piece, sequences, first;
    size_t cut;                         /* of two calls, the first has as many ids; 0: one call */
    enum dtype kv;
} prefills[] = {
    { "prefill in one piece",           COMPUTE_F32,  2, 2048, 8,   0,   0,   DTYPE_F32 },
    { "prefill in pieces of a chunk",   COMPUTE_F32,  2, 64,   8,   0,   0,   DTYPE_F32 },
    { "prefill with one thread",        COMPUTE_F32,  1, 128,  1,   0,   0,   DTYPE_F32 },
    { "prefill in two calls",           COMPUTE_F32,  2, 2048, 8,   0,   128, DTYPE_F32 },
    { "only the last logits",           COMPUTE_F32,  3, 64,   1,   199, 0,   DTYPE_F32 },
    { "only logits inside a piece",     COMPUTE_F32,  2, 128,  5,   100, 0,   DTYPE_F32 },
    { "prefill in bf16",                COMPUTE_BF16, 2, 128,  8,   0,   0,   DTYPE_F32 },
    { "in bf16, keys kept as bf16",     COMPUTE_BF16, 2, 64,   8,   0,   128, DTYPE_BF16 },
};

static void test_prefill(void)
{
    float *got = calloc(N_IDS * V, sizeof *got);
    enum compute_type compute = COMPUTE_F32;
    for (size_t i = 0; i < sizeof prefills / sizeof *prefills; i++) {
        if (prefills[i].compute != compute)
            find_truth(compute = prefills[i].compute);
        struct engine *e = engine_with(prefills[i].n_threads, compute);
        struct decoder *d = decoder_on(e, prefills[i].piece, prefills[i].sequences);
        struct sequence_state s = state_in(pool_of(prefills[i].kv), N_IDS);
        struct error err = { 0 };
        size_t cut = prefills[i].cut, first = prefills[i].first;
        const struct decoder_sink head = { take_rows, got }, tail = { take_rows, got + cut * V };
        memset(got, 0xFF, N_IDS * V * sizeof *got);
        if ((cut && !decoder_prefill(d, &s, ids, cut, 0, &head, &err))
            || !decoder_prefill(d, &s, ids + cut, N_IDS - cut, first, &tail, &err))
            fail(&err);
        check_equal_f32(prefills[i].name, got + first * V, truth + first * V, (N_IDS - first) * V);
        check(s.n_past == N_IDS && (first == 0 || isnan(got[first * V - 1])), "no other logits",
              "%zu tokens", s.n_past);
        sequence_state_close(&s);
        decoder_close(d);
        engine_close(e);
    }
    free(got);
    find_truth(COMPUTE_F32);
}

/* ---- steps --------------------------------------------------------------------------- */

/* NLL of the ids after a prefill of `prompt` ids, against that of the trace.  With keys in f32 it
 * is f32 noise of other sums in the delta rule; the largest that was seen is 6e-6.  Keys that are
 * rounded to BF16 move scores by some 2^-9 of their magnitude: the largest is 0.0089. */
static void test_steps(void)
{
    static const struct {
        size_t prompt;
        enum dtype kv;
        double bound;
    } cases[] = {
        { 1,  DTYPE_F32,  5e-5 }, { 63,  DTYPE_F32,  5e-5 }, { 64, DTYPE_F32,  5e-5 },
        { 65, DTYPE_F32,  5e-5 }, { 130, DTYPE_F32,  5e-5 }, { 1,  DTYPE_BF16, 0.03 },
        { 65, DTYPE_BF16, 0.03 }, { 130, DTYPE_BF16, 0.03 },
    };
    struct engine *e = engine_with(2, COMPUTE_F32);
    struct decoder *d = decoder_on(e, 0, 1);
    float *last = calloc(N_IDS * V, sizeof *last), *logits;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t prompt = cases[i].prompt;
        struct sequence_state s = state_in(pool_of(cases[i].kv), N_IDS), *one = &s;
        const struct decoder_sink sink = { take_rows, last };
        struct error err = { 0 };
        double most = 0;
        if (!decoder_prefill(d, &s, ids, prompt, prompt - 1, &sink, &err))
            fail(&err);
        for (size_t t = prompt; t + 1 < N_IDS && t < prompt + 40; t++) {
            if (!decoder_step(d, &one, &ids[t], 1, &logits, &err))
                fail(&err);
            most = fmax(most, fabs(nll(logits, ids[t + 1]) - nll(truth + t * V, ids[t + 1])));
        }
        char name[64];
        snprintf(name, sizeof name, "%s: steps after %zu tokens follow the evaluation",
                 dtype_name(cases[i].kv), prompt);
        check(most < cases[i].bound, name, "an NLL differs by %.3g", most);
        printf("# %s: %.3g\n", name, most);
        sequence_state_close(&s);
    }
    free(last);
    decoder_close(d);
    engine_close(e);
}

/* Sequence i begins with prompt[i] ids from offset[i] on, and joins at step `from`. */
static const struct {
    size_t offset, prompt, from, steps;
} joining[SEQUENCES] = { { 0, 70, 0, 12 }, { 30, 1, 2, 6 }, { 90, 64, 3, 9 } };

enum { MOST_STEPS = 12 };

/* The logits of the sequences in `mask`, each of its own steps: got[i] [MOST_STEPS, V]. */
static void run_together(float *const *got, unsigned mask, int n_threads,
                         enum compute_type compute)
{
    struct engine *e = engine_with(n_threads, compute);
    struct decoder *d = decoder_on(e, 64, SEQUENCES);
    struct sequence_state states[SEQUENCES];
    float *last = calloc(N_IDS * V, sizeof *last), *logits;
    const struct decoder_sink sink = { take_rows, last };
    struct error err = { 0 };
    for (size_t i = 0; i < SEQUENCES; i++)
        states[i] = state_of(N_IDS);
    for (size_t step = 0; step < MOST_STEPS; step++) {
        struct sequence_state *in[SEQUENCES];
        int32_t next[SEQUENCES];
        size_t which[SEQUENCES], n = 0;
        for (size_t j = 0; j < SEQUENCES; j++) {
            size_t i = step % 2 ? SEQUENCES - 1 - j : j, from = joining[i].from;
            const int32_t *mine = ids + joining[i].offset;
            if (!(mask >> i & 1) || step < from || step >= from + joining[i].steps)
                continue;
            if (step == from && !decoder_prefill(d, &states[i], mine, joining[i].prompt,
                                                 joining[i].prompt - 1, &sink, &err))
                fail(&err);
            in[n] = &states[i];
            which[n] = i;
            next[n++] = mine[joining[i].prompt + step - from];
        }
        if (n && !decoder_step(d, in, next, n, &logits, &err))
            fail(&err);
        for (size_t k = 0; k < n; k++)
            memcpy(got[which[k]] + (step - joining[which[k]].from) * V, logits + k * V,
                   V * sizeof *logits);
    }
    for (size_t i = 0; i < SEQUENCES; i++)
        sequence_state_close(&states[i]);
    free(last);
    decoder_close(d);
    engine_close(e);
}

static void test_batches(void)
{
    static const struct {
        const char *name;
        unsigned mask;
        int n_threads;
    } groups[] = {
        { "three that join and leave", 7, 2 }, { "three with one thread", 7, 1 },
        { "two with three threads",    5, 3 },
    };
    static const char *const types[] = { "f32", "bf16" };
    float *alone[SEQUENCES], *got[SEQUENCES];
    for (size_t i = 0; i < SEQUENCES; i++) {
        alone[i] = calloc(MOST_STEPS * V, sizeof(float));
        got[i] = calloc(MOST_STEPS * V, sizeof(float));
    }
    for (enum compute_type type = COMPUTE_F32; type <= COMPUTE_BF16; type++) {
        for (size_t i = 0; i < SEQUENCES; i++)
            run_together(alone, 1u << i, 2, type);
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
            run_together(got, groups[g].mask, groups[g].n_threads, type);
            for (size_t i = 0; i < SEQUENCES; i++) {
                char name[80];
                snprintf(name, sizeof name, "%s, %s: sequence %zu has its bits", groups[g].name,
                         types[type], i);
                if (groups[g].mask >> i & 1)
                    check_equal_f32(name, got[i], alone[i], joining[i].steps * V);
            }
        }
    }
    for (size_t i = 0; i < SEQUENCES; i++)
        free(alone[i]), free(got[i]);
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* Logits of `n` steps over ids[first] ..., to got [n, V]. */
static void run_steps(struct decoder *d, struct sequence_state *s, size_t first, size_t n,
                      float *got)
{
    struct error err = { 0 };
    float *logits;
    for (size_t i = 0; i < n; i++) {
        if (!decoder_step(d, &s, &ids[first + i], 1, &logits, &err))
            fail(&err);
        memcpy(got + i * V, logits, V * sizeof *logits);
    }
}

static void prefill(struct decoder *d, struct sequence_state *s, size_t n)
{
    float *last = calloc(N_IDS * V, sizeof *last);
    const struct decoder_sink sink = { take_rows, last };
    struct error err = { 0 };
    if (!decoder_prefill(d, s, ids, n, n, &sink, &err))
        fail(&err);
    free(last);
}

/* What is stored is what is read: with rounded keys, too, no result depends on how it is cut. */
static void test_rounded_keys(void)
{
    static const size_t pieces[] = { 64, 128 };
    float *want = calloc(8 * V, sizeof *want), *got = calloc(8 * V, sizeof *got);
    for (size_t i = 0; i < 3; i++) {
        struct engine *e = engine_with(i ? 3 : 1, COMPUTE_F32);
        struct decoder *d = decoder_on(e, i ? pieces[i - 1] : 0, 1);
        struct sequence_state s = state_in(pool_of(DTYPE_BF16), N_IDS);
        prefill(d, &s, 180);
        run_steps(d, &s, 180, 8, i ? got : want);
        if (i)
            check_equal_f32("rounded keys: pieces and threads change no bit", got, want, 8 * V);
        sequence_state_close(&s);
        decoder_close(d);
        engine_close(e);
    }
    free(want), free(got);
}

/* A copy and its original go on as if each were alone: inside a block that both have, with other
 * ids, in either order; a cut copy of a model without delta nets repeats its steps. */
static void test_copies(void)
{
    enum { N = 6 };
    struct engine *e = engine_with(2, COMPUTE_F32);
    struct decoder *d = decoder_on(e, 0, 1);
    float *alone[2], *got = calloc(N * V, sizeof *got);
    struct sequence_state s = state_of(N_IDS), copy = state_of(N_IDS);
    size_t before = pool_of(DTYPE_F32)->n_free;
    for (size_t i = 0; i < 2; i++) {
        alone[i] = calloc(N * V, sizeof **alone);
        sequence_state_clear(&s, &ck.config);
        prefill(d, &s, 130);
        run_steps(d, &s, i ? 20 : 130, N, alone[i]);
    }
    sequence_state_clear(&s, &ck.config);
    prefill(d, &s, 130);
    sequence_state_copy(&copy, &s, &ck.config);
    check(pool_of(DTYPE_F32)->n_free == before - 2 && sequence_state_lacks(&s, 1) == 1,
          "a copy shares blocks", "%zu of %zu are free", pool_of(DTYPE_F32)->n_free, before);
    run_steps(d, &copy, 20, N, got);
    check_equal_f32("a copy goes its own way", got, alone[1], N * V);
    check(pool_of(DTYPE_F32)->n_free == before - 3 && sequence_state_lacks(&s, 1) == 0,
          "the block that it writes to is its own", "%zu of %zu are free",
          pool_of(DTYPE_F32)->n_free, before);
    run_steps(d, &s, 130, N, got);
    check_equal_f32("and its original another one", got, alone[0], N * V);
    sequence_state_close(&s);
    sequence_state_close(&copy);
    check(pool_of(DTYPE_F32)->n_free == before, "all blocks go back", "%zu of %zu are free",
          pool_of(DTYPE_F32)->n_free, before);
    free(alone[0]), free(alone[1]), free(got);
    decoder_close(d);
    engine_close(e);
}

/* A delta net does not go back, so it is put back from a copy. */
static void test_cut(void)
{
    enum { N = 4 };
    struct engine *e = engine_with(2, COMPUTE_F32);
    struct decoder *d = decoder_on(e, 0, 1);
    float *want = calloc(N * V, sizeof *want), *got = calloc(N * V, sizeof *got);
    struct sequence_state s = state_of(N_IDS);
    struct snapshot kept;
    struct error err = { 0 };
    if (!snapshot_open(&kept, &ck.config, &err))
        fail(&err);
    prefill(d, &s, 127);
    snapshot_take(&kept, &s, &ck.config);
    run_steps(d, &s, 127, N, want);
    size_t taken = pool_of(DTYPE_F32)->n_free;
    sequence_state_cut(&s, 127);
    snapshot_restore(&kept, &s, &ck.config);
    check(s.n_past == 127 && pool_of(DTYPE_F32)->n_free == taken + 1, "a cut gives blocks back",
          "%zu and %zu are free", taken, pool_of(DTYPE_F32)->n_free);
    run_steps(d, &s, 127, N, got);
    check_equal_f32("steps after a cut repeat those before it", got, want, N * V);
    free(want), free(got);
    sequence_state_close(&s);
    snapshot_close(&kept);
    decoder_close(d);
    engine_close(e);
}

/* What a pool of two blocks cannot hold is refused, and nothing is lost. */
static void test_pool_is_out(void)
{
    struct kv_pool pool;
    struct error err = { 0 };
    struct engine *e = engine_with(2, COMPUTE_F32);
    struct decoder *d = decoder_on(e, 0, 2);
    float *want = calloc(V, sizeof *want), *logits;
    const struct decoder_sink sink = { take_rows, want };
    if (!sequence_state_pool_open(&pool, &ck.config, DTYPE_F32, 2 * KV_BLOCK, &err))
        fail(&err);
    struct sequence_state s = state_in(&pool, N_IDS), other = state_in(&pool, N_IDS);
    struct sequence_state *both[] = { &s, &other };
    prefill(d, &s, 128);
    prefill(d, &other, 5);
    bool ok = decoder_prefill(d, &other, ids, 150, 150, &sink, &err);
    check(!ok && err.lacking && strstr(err.message, "0 of 2 are free") && other.n_past == 5,
          "a prompt for which blocks lack is refused", "%s", err.message);
    err = (struct error){ 0 };
    check(sequence_state_lacks(&s, 1) == 1 && sequence_state_lacks(&other, 1) == 0,
          "what lacks is known before", "%zu", sequence_state_lacks(&s, 1));
    ok = decoder_step(d, both, ids, 2, &logits, &err);
    check(!ok && err.lacking && s.n_past == 128 && other.n_past == 5, "and a step", "%s",
          err.message);
    sequence_state_close(&other);
    run_steps(d, &s, 128, 1, want);
    check(s.n_past == 129 && fabs(nll(want, ids[129]) - nll(truth + 128 * V, ids[129])) < 5e-5,
          "once another gives its block back, the step works", "%zu tokens", s.n_past);
    sequence_state_close(&s);
    sequence_state_pool_close(&pool);
    free(want);
    decoder_close(d);
    engine_close(e);
}

/* ---- refusals -------------------------------------------------------------------------- */

static void test_refusals(void)
{
    static const struct {
        const char *name, *word;
        int32_t id;
        size_t n;
    } cases[] = {
        { "an id outside the vocabulary", "vocabulary", 1 << 20, 1 },
        { "a negative id",                "vocabulary", -1,      1 },
        { "more than the state holds",    "holds 4",    1,       5 },
    };
    struct engine *e = engine_with(1, COMPUTE_F32);
    struct decoder *d = decoder_on(e, 64, 1);
    struct sequence_state s = state_of(4);
    float *last = calloc(V, sizeof *last);
    const struct decoder_sink sink = { take_rows, last };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t list[5] = { cases[i].id };
        struct error err = { 0 };
        bool ok = decoder_prefill(d, &s, list, cases[i].n, cases[i].n, &sink, &err);
        check(!ok && strstr(err.message, cases[i].word) && s.n_past == 0, cases[i].name, "%s",
              err.message);
    }
    size_t bytes = sequence_state_pool_bytes(&ck.config, DTYPE_BF16, SIZE_MAX / 16);
    check(bytes == SIZE_MAX, "keys that no memory holds", "%zu bytes", bytes);
    free(last);
    sequence_state_close(&s);
    decoder_close(d);
    engine_close(e);
}

static bool keep_logits(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)err;
    memcpy((float *)user + row * V, logits, n * V * sizeof *logits);
    return true;
}

/* Logits [N_IDS, V] of a prompt and steps. */
static float *logits_of(struct decoder *d)
{
    enum { PROMPT = 130 };
    struct sequence_state s = state_of(N_IDS);
    struct error err = { 0 };
    float *all = calloc(N_IDS * V, sizeof *all);
    const struct decoder_sink sink = { keep_logits, all };
    bool ok = decoder_prefill(d, &s, ids, PROMPT, 0, &sink, &err);
    for (size_t i = PROMPT; ok && i < N_IDS; i++) {
        struct sequence_state *state = &s;
        float *logits;
        ok = decoder_step(d, &state, &ids[i], 1, &logits, &err);
        if (ok)
            memcpy(all + i * V, logits, V * sizeof *logits);
    }
    if (!ok)
        fail(&err);
    sequence_state_close(&s);
    return all;
}

/* The least budget reads weights again and again: not a bit changes. */
static void test_few_weights(struct decoder *d)
{
    struct engine *e = engine_with(1, COMPUTE_F32);
    struct decoder *whole = decoder_on(e, 0, 1);
    float *few = logits_of(d), *all = logits_of(whole);
    size_t bytes = decoder_weight_bytes(whole), held = decoder_weight_bytes(d);
    differ_check_equal("weights that do not stay give the same bits", few, all, N_IDS * V,
                       DIFFER_F32);
    check(held < bytes && decoder_bytes_read(d) > bytes && decoder_bytes_read(whole) == 0,
          "they were read again", "%zu bytes of %zu, %zu in memory", decoder_bytes_read(d), bytes,
          held);
    free(few);
    free(all);
    decoder_close(whole);
    engine_close(e);
}

/* Pieces become shorter and weights leave before a budget is refused, and the sum that the refusal
 * names suffices. */
static void test_budget(void)
{
    size_t least = 0;
    struct error err = { 0 };
    for (size_t budget = (size_t)1 << 20; budget < (size_t)1 << 30; budget += (size_t)1 << 20) {
        const struct engine_options options = { .n_threads = 1, .memory_bytes = budget };
        const struct decoder_options wanted = { .max_sequences = 1, .other_bytes = 12345678,
                                                .count_weights = true };
        struct engine *e = engine_open(&ck, &w, &options, &err);
        struct decoder *d = e ? decoder_open(e, &wanted, &err) : NULL;
        if (d && !least) {
            least = budget;
            test_few_weights(d);
        }
        bool fits = d && decoder_bytes(d) + wanted.other_bytes <= budget;
        if (least)
            check(fits, "the buffers fit into the budget", "%s", err.message);
        decoder_close(d);
        engine_close(e);
        budget += least ? budget : 0;
    }
    check(least > 12345678 && strstr(err.message, "decoding needs"),
          "a budget that is too small names the sum", "%s", err.message);
}

int main(void)
{
    struct error err = { 0 };
    struct random r = { 17 };
    if (!checkpoint_open(&ck, CHECKPOINT, &err) || !weights_bind(&w, &ck, &err))
        fail(&err);
    V = ck.config.vocab_size;
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, 4000);
    for (size_t i = 0; i < 2; i++) {
        if (!sequence_state_pool_open(&pools[i], &ck.config, i ? DTYPE_BF16 : DTYPE_F32,
                                      POOL_BLOCKS * KV_BLOCK, &err))
            fail(&err);
    }
    truth = calloc(N_IDS * V, sizeof *truth);
    find_truth(COMPUTE_F32);
    test_prefill();
    test_steps();
    test_batches();
    test_rounded_keys();
    test_copies();
    test_cut();
    test_pool_is_out();
    test_refusals();
    test_budget();
    free(truth);
    sequence_state_pool_close(&pools[0]);
    sequence_state_pool_close(&pools[1]);
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
