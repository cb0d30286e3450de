/* decoding.c - times the decoder of the library alone, for decoding.py: prefill, and steps of
 * several sequences at once.
 *
 *     decoding CHECKPOINT COMPUTE THREADS PREFILL_TOKENS SECONDS
 *
 * Prints a JSON object.  Ids are random: each sequence routes its own way, as unrelated ones do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/machine.h"
#include "decode/decoder.h"
#include "decode/sampler.h"
#include "engine/limits.h"
#include "formats/weights.h"
#include "tests/decoder_step.h"

enum { MOST_SEQUENCES = 8, PROMPT = 64, SHORT_PROMPT = 20, MOST_STEPS = 1024,
       CAPACITY = PROMPT + 5 * MOST_STEPS };

struct run {
    struct checkpoint ck;
    struct weights w;
    struct engine *e;
    struct decoder *d;
    struct kv_pool pool;
    uint64_t random;
    double seconds;
};

static void fail(const struct error *err)
{
    fprintf(stderr, "decoding: %s\n", err->message);
    exit(1);
}

static void fill_ids(struct run *r, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->random = r->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        ids[i] = (int32_t)((r->random >> 33) % r->ck.config.vocab_size);
    }
}

static bool drop_logits(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)user, (void)row, (void)n, (void)logits, (void)err;
    return true;
}

static struct sequence_state state_of(struct run *r, size_t capacity)
{
    struct sequence_state s;
    struct error err = { 0 };
    if (!sequence_state_open(&s, &r->ck.config, &r->pool, capacity, &err))
        fail(&err);
    return s;
}

/* Seconds of n tokens, whose last logits alone are wanted. */
static double prefill(struct run *r, struct sequence_state *s, size_t n)
{
    const struct decoder_sink sink = { drop_logits, NULL };
    int32_t *ids = calloc(n, sizeof *ids);
    struct error err = { 0 };
    fill_ids(r, ids, n);
    double start = machine_seconds();
    if (!decoder_prefill(r->d, s, ids, n, n - 1, &sink, &err))
        fail(&err);
    free(ids);
    return machine_seconds() - start;
}

static double time_prefill(struct run *r, size_t n)
{
    struct sequence_state s = state_of(r, n);
    prefill(r, &s, n);                          /* brings the weights in */
    sequence_state_clear(&s, &r->ck.config);
    double seconds = prefill(r, &s, n);
    sequence_state_close(&s);
    return seconds;
}

static bool drop_scores(void *user, size_t row, size_t n, const struct engine_score *scores,
                        const float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)scores, (void)hidden, (void)err;
    return true;
}

/* Seconds of an evaluation of as many tokens that scores the last one alone. */
static double time_evaluation(struct run *r, size_t n)
{
    int32_t *ids = calloc(n, sizeof *ids);
    const struct engine_window window = { 0, n, n - 1 };
    const struct engine_job job = { .ids = ids, .n_ids = n, .windows = &window, .n_windows = 1,
                                    .sink = { drop_scores, NULL } };
    struct engine_statistics statistics;
    struct error err = { 0 };
    fill_ids(r, ids, n);
    double start = machine_seconds();
    if (!engine_score_windows(r->e, &job, &statistics, &err))
        fail(&err);
    free(ids);
    return machine_seconds() - start;
}

static double read_rate(const struct run *r)
{
    struct limits_rate all, one;
    struct error err = { 0 };
    if (!limits_memory(&all, &one, engine_threads(r->e), 0.2, &err))
        fail(&err);
    return all.bytes_per_second;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of the median step, and of the shortest: what the machine does when it is left alone. */
struct times {
    double median, least;
};

/* One token of each of n sequences at a time. */
static struct times time_steps(struct run *r, struct sequence_state *states, size_t n)
{
    static double seconds[MOST_STEPS];
    struct sequence_state *at[MOST_SEQUENCES];
    int32_t ids[MOST_SEQUENCES];
    struct error err = { 0 };
    float *logits;
    size_t steps = 0;
    for (size_t i = 0; i < n; i++)
        at[i] = &states[i];
    for (double begin = machine_seconds(), now = begin;
         steps < MOST_STEPS && (steps < 3 || now - begin < r->seconds); steps++) {
        double start = now;
        fill_ids(r, ids, n);
        if (!decoder_step(r->d, at, ids, n, &logits, &err))
            fail(&err);
        now = machine_seconds();
        seconds[steps] = now - start;
    }
    qsort(seconds, steps, sizeof *seconds, by_value);
    return (struct times){ seconds[steps / 2], seconds[0] };
}

/* The published settings, over the logits of a step. */
static double time_sampler(struct run *r, struct sequence_state *s)
{
    enum { DRAWS = 9 };
    const struct sampler_settings settings = { .temperature = 1, .top_k = 20, .top_p = 0.95,
                                               .repetition_penalty = 1 };
    double seconds[DRAWS];
    struct sampler sampler;
    struct sampler_choice choice;
    struct error err = { 0 };
    float *logits;
    int32_t id;
    if (!sampler_open(&sampler, &settings, r->ck.config.vocab_size, &err))
        fail(&err);
    for (size_t i = 0; i < DRAWS; i++) {
        fill_ids(r, &id, 1);
        if (!decoder_step(r->d, &s, &id, 1, &logits, &err))
            fail(&err);
        double start = machine_seconds();
        if (!sampler_draw(&sampler, &choice, logits, s->n_past, &err))
            fail(&err);
        seconds[i] = machine_seconds() - start;
    }
    sampler_close(&sampler);
    qsort(seconds, DRAWS, sizeof *seconds, by_value);
    return seconds[DRAWS / 2];
}

static void run_all(struct run *r, size_t prefill_tokens)
{
    struct sequence_state states[MOST_SEQUENCES];
    printf("{\"isa\": \"%s\", \"threads\": %d", engine_isa(r->e), engine_threads(r->e));
    printf(", \"read_bytes_per_second\": [%.6g", read_rate(r));
    for (size_t i = 0; i < MOST_SEQUENCES; i++) {
        states[i] = state_of(r, CAPACITY);
        prefill(r, &states[i], PROMPT);
    }
    printf(", %.6g], \"steps\": {", read_rate(r));
    for (size_t n = 1; n <= MOST_SEQUENCES; n *= 2) {
        struct times t = time_steps(r, states, n);
        printf("%s\"%zu\": [%.6g, %.6g]", n > 1 ? ", " : "", n, t.median, t.least);
    }
    printf("}, \"sampler_seconds\": %.6g", time_sampler(r, &states[0]));
    for (size_t i = 0; i < MOST_SEQUENCES; i++)
        sequence_state_close(&states[i]);
    printf(", \"prefill_seconds\": %.6g", time_prefill(r, prefill_tokens));
    printf(", \"evaluation_seconds\": %.6g", time_evaluation(r, prefill_tokens));
    printf(", \"short_prompt\": %d, \"short_prefill_seconds\": %.6g", SHORT_PROMPT,
           time_prefill(r, SHORT_PROMPT));
    printf("}\n");
}

int main(int argc, char **argv)
{
    struct run r = { .random = 1 };
    struct error err = { 0 };
    if (argc != 6) {
        fprintf(stderr, "decoding CHECKPOINT COMPUTE THREADS PREFILL_TOKENS SECONDS\n");
        return 2;
    }
    const struct engine_options options = {
        .n_threads = atoi(argv[3]),
        .compute = strcmp(argv[2], "bf16") == 0 ? COMPUTE_BF16 : COMPUTE_F32,
    };
    const struct decoder_options decoding = { .max_sequences = MOST_SEQUENCES };
    size_t prefill_tokens = (size_t)atoi(argv[4]);
    r.seconds = atof(argv[5]);
    if (!checkpoint_open(&r.ck, argv[1], &err) || !weights_bind(&r.w, &r.ck, &err)
        || !(r.e = engine_open(&r.ck, &r.w, &options, &err))
        || !(r.d = decoder_open(r.e, &decoding, &err))
        || !sequence_state_pool_open(&r.pool, &r.ck.config, DTYPE_F32,
                                     MOST_SEQUENCES * CAPACITY + prefill_tokens, &err))
        fail(&err);
    run_all(&r, prefill_tokens);
    sequence_state_pool_close(&r.pool);
    decoder_close(r.d);
    engine_close(r.e);
    weights_free(&r.w);
    checkpoint_close(&r.ck);
    return 0;
}
