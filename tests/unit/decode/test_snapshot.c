/* A state that goes back to a snapshot gives the bits of a cold start, whatever came between: more
 * of another prompt, steps, or work that was interrupted inside of a layer. */
#include "decode/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "decode/decoder.h"
#include "tests/decoder_step.h"
#include "tests/differ.h"
#include "tests/random.h"

enum { N_IDS = 200, STEPS = 5 };

static struct checkpoint ck;
static struct weights w;
static struct decoder *d;
static struct kv_pool pool;
static size_t V;
static long calls_left;                 /* of the progress callback, until it asks to stop */

static const struct {
    const char *name;
    size_t place;                       /* of the snapshot, tokens */
    size_t other, steps;                /* tokens of another prompt behind it, and steps */
    long calls;                         /* the other prompt is interrupted after so many reports */
} cases[] = {
    { "nothing came between",       64,  0,   0, -1 },
    { "another prompt",             64,  100, 0, -1 },
    { "another prompt and steps",   128, 30,  7, -1 },
    { "steps alone",                128, 0,   9, -1 },
    { "an interrupted prompt",      64,  100, 0, 3 },
    { "a prompt interrupted late",  128, 70,  0, 20 },
};

static bool count_down(void *user, const char *stage, double done, double total, const char *unit)
{
    (void)user, (void)stage, (void)done, (void)total, (void)unit;
    return calls_left < 0 || calls_left-- > 0;
}

static bool take_logits(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)row, (void)n, (void)err;
    memcpy(user, logits, V * sizeof *logits);
    return true;
}

/* The logits after the prompt, and of steps: got [1 + STEPS, V]. */
static void run(struct sequence_state *s, const int32_t *ids, size_t n, float *got)
{
    const struct decoder_sink sink = { take_logits, got };
    struct error err = { 0 };
    float *logits;
    must(decoder_prefill(d, s, ids, n, n - 1, &sink, &err), &err);
    for (size_t i = 1; i <= STEPS; i++) {
        must(decoder_step(d, &s, &ids[n - i], 1, &logits, &err), &err);
        memcpy(got + i * V, logits, V * sizeof *logits);
    }
}

static void test_case(size_t i, const int32_t *ids, const float *cold)
{
    struct sequence_state s, *one = &s;
    struct snapshot snapshot;
    struct error err = { 0 };
    float *got = calloc((1 + STEPS) * V, sizeof *got), *logits;
    const struct decoder_sink sink = { take_logits, got };
    size_t place = cases[i].place;
    must(sequence_state_open(&s, &ck.config, &pool, 2 * N_IDS, &err)
         && snapshot_open(&snapshot, &ck.config, &err)
         && decoder_prefill(d, &s, ids, place, place, &sink, &err), &err);
    snapshot_take(&snapshot, &s, &ck.config);
    calls_left = cases[i].calls;
    bool stopped = cases[i].other
                && !decoder_prefill(d, &s, ids + 3, cases[i].other, cases[i].other, &sink, &err);
    check(stopped == (cases[i].calls >= 0), "the work is interrupted where that is wanted",
          "%s: %s", cases[i].name, err.message);
    calls_left = -1;
    for (size_t k = 0; k < cases[i].steps; k++)
        must(decoder_step(d, &one, ids, 1, &logits, &err), &err);
    snapshot_restore(&snapshot, &s, &ck.config);
    run(&s, ids + place, N_IDS - place, got);
    check_equal_f32(cases[i].name, got, cold, (1 + STEPS) * V);
    snapshot_close(&snapshot);
    sequence_state_close(&s);
    free(got);
}

int main(void)
{
    struct random r = { 31 };
    int32_t ids[N_IDS];
    struct error err = { 0 };
    const struct engine_options options = { .n_threads = 2, .progress = { .report = count_down } };
    calls_left = -1;
    must(checkpoint_open(&ck, "data/demo/mxfp4", &err) && weights_bind(&w, &ck, &err), &err);
    struct engine *e = engine_open(&ck, &w, &options, &err);
    must(e != NULL, &err);
    d = decoder_open(e, &(struct decoder_options){ .piece_tokens = 64, .max_sequences = 1 }, &err);
    must(d != NULL, &err);
    must(sequence_state_pool_open(&pool, &ck.config, DTYPE_F32, 2 * N_IDS, &err), &err);
    V = ck.config.vocab_size;
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, 4000);
    struct sequence_state s;
    float *cold = calloc((1 + STEPS) * V, sizeof *cold);
    must(sequence_state_open(&s, &ck.config, &pool, 2 * N_IDS, &err), &err);
    run(&s, ids, N_IDS, cold);
    sequence_state_close(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(i, ids, cold);
    free(cold);
    sequence_state_pool_close(&pool);
    decoder_close(d);
    engine_close(e);
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
