/* Steps of several rows: a row has the bits of a step of one token, whatever stands beside it, and
 * a state whose last rows were taken back goes on as if it had never had them. */
#include "decode/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "tests/decoder_step.h"
#include "tests/differ.h"
#include "tests/random.h"

enum { SEQUENCES = 3, MOST_DRAFTS = 5, TOKENS = 24, N_IDS = 200 };

/* Sequence i is ids from offset on, of which the first `prompt` are prefilled. */
static const struct {
    size_t offset, prompt;
} sequences[SEQUENCES] = { { 0, 70 }, { 20, 1 }, { 40, 120 } };    /* the last crosses a block */

static const struct {
    const char *name;
    enum compute_type compute;
    enum dtype kv;
} kinds[] = {
    { "f32", COMPUTE_F32, DTYPE_F32 },   { "f32, keys bf16", COMPUTE_F32, DTYPE_BF16 },
    { "bf16", COMPUTE_BF16, DTYPE_BF16 },
};

static struct checkpoint ck;
static struct weights w;
static int32_t ids[N_IDS];
static size_t V;
static struct random r = { 5 };

/* One decoder and the states of all sequences after their prompts. */
struct run {
    struct engine *e;
    struct decoder *d;
    struct kv_pool pool;
    struct sequence_state states[SEQUENCES];
};

static bool drop(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)user, (void)row, (void)n, (void)logits, (void)err;
    return true;
}

static void begin(struct run *run, size_t kind, int n_threads, bool keeps_rows)
{
    const struct engine_options options = { .n_threads = n_threads,
                                            .compute = kinds[kind].compute };
    const struct decoder_options decoding = { .max_sequences = SEQUENCES,
                                              .max_rows = SEQUENCES * (1 + MOST_DRAFTS) };
    const struct decoder_sink sink = { drop, NULL };
    struct error err = { 0 };
    must((run->e = engine_open(&ck, &w, &options, &err))
         && (run->d = decoder_open(run->e, &decoding, &err))
         && sequence_state_pool_open(&run->pool, &ck.config, kinds[kind].kv, SEQUENCES * N_IDS,
                                     &err), &err);
    for (size_t i = 0; i < SEQUENCES; i++) {
        struct sequence_state *s = &run->states[i];
        size_t n = sequences[i].prompt;
        must(sequence_state_open(s, &ck.config, &run->pool, N_IDS, &err)
             && (!keeps_rows || sequence_state_keep_rows(s, &ck.config, MOST_DRAFTS, &err))
             && decoder_prefill(run->d, s, ids + sequences[i].offset, n, n, &sink, &err), &err);
    }
}

static void end(struct run *run)
{
    for (size_t i = 0; i < SEQUENCES; i++)
        sequence_state_close(&run->states[i]);
    sequence_state_pool_close(&run->pool);
    decoder_close(run->d);
    engine_close(run->e);
}

static const int32_t *tokens_of(size_t sequence)
{
    return ids + sequences[sequence].offset + sequences[sequence].prompt;
}

/* truth [SEQUENCES, TOKENS, V]: token by token, each sequence alone. */
static void run_alone(float *truth, size_t kind)
{
    struct run run;
    struct error err = { 0 };
    float *logits;
    begin(&run, kind, 2, false);
    for (size_t i = 0; i < SEQUENCES; i++)
        for (size_t t = 0; t < TOKENS; t++) {
            struct sequence_state *s = &run.states[i];
            must(decoder_step(run.d, &s, tokens_of(i) + t, 1, &logits, &err), &err);
            memcpy(truth + (i * TOKENS + t) * V, logits, V * sizeof *logits);
        }
    end(&run);
}

/* A token and its drafts, of which the first `right` are right. */
struct step {
    int32_t ids[1 + MOST_DRAFTS];
    size_t n_drafts, right;
};

static struct step step_of(size_t sequence, size_t done)
{
    struct step s;
    size_t left = TOKENS - done - 1;
    s.n_drafts = random_below(&r, MOST_DRAFTS + 1);
    s.right = size_min(left, random_below(&r, s.n_drafts + 1));
    for (size_t i = 0; i <= s.n_drafts; i++)
        s.ids[i] = i <= s.right ? tokens_of(sequence)[done + i]
                                : (int32_t)random_below(&r, 4000);
    return s;
}

/* got [SEQUENCES, TOKENS, V]: all together, in steps of random drafts. */
static void run_drafts(float *got, size_t kind, int n_threads)
{
    struct run run;
    struct error err = { 0 };
    size_t done[SEQUENCES] = { 0 };
    float *logits;
    begin(&run, kind, n_threads, true);
    for (;;) {
        struct step steps[SEQUENCES];
        struct decoder_rows rows[SEQUENCES];
        size_t which[SEQUENCES], n = 0, row = 0;
        for (size_t i = 0; i < SEQUENCES; i++)
            if (done[i] < TOKENS) {
                steps[n] = step_of(i, done[i]);
                rows[n] = (struct decoder_rows){ &run.states[i], steps[n].ids,
                                                 1 + steps[n].n_drafts };
                which[n++] = i;
            }
        if (n == 0)
            break;
        must(decoder_step_rows(run.d, rows, n, &logits, NULL, &err), &err);
        for (size_t k = 0; k < n; row += rows[k++].n) {
            size_t i = which[k], kept = 1 + steps[k].right;
            memcpy(got + (i * TOKENS + done[i]) * V, logits + row * V, kept * V * sizeof *got);
            sequence_state_take_back(&run.states[i], rows[k].n - kept);
            done[i] += kept;
        }
    }
    for (size_t i = 0; i < SEQUENCES; i++)
        check(run.states[i].n_past == sequences[i].prompt + TOKENS, "rows taken back do not count",
              "%zu tokens", run.states[i].n_past);
    end(&run);
}

int main(void)
{
    struct error err = { 0 };
    must(checkpoint_open(&ck, "data/demo/mxfp4", &err) && weights_bind(&w, &ck, &err), &err);
    V = ck.config.vocab_size;
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, 4000);
    size_t n = SEQUENCES * TOKENS * V;
    float *truth = calloc(n, sizeof *truth), *got = calloc(n, sizeof *got);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        run_alone(truth, kind);
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            char name[80];
            snprintf(name, sizeof name, "%s, threads %d: a row has the bits of a step of one token",
                     kinds[kind].name, n_threads);
            run_drafts(got, kind, n_threads);
            check_equal_f32(name, got, truth, n);
        }
    }
    free(truth), free(got);
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
