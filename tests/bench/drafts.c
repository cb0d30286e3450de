/* drafts.c - decoding with drafts of the MTP layer beside decoding without, at acceptances that are
 * forced: a random checkpoint (make-checkpoint --mtp) drafts at full cost, and a draft counts as
 * right with probability p.
 *
 *     drafts CHECKPOINT [f32|bf16 [THREADS [SECONDS]]]
 *
 * Rounds without drafts, and with 1, 2, 3 of them, take turns, so that other work on the machine
 * slows all of them; figures are sums over rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "decode/decoder.h"
#include "decode/drafter.h"
#include "formats/weights.h"
#include "tests/random.h"

enum { MOST_DRAFTS = 3, PROMPT = 64, CAPACITY = 8192, STEPS = 4 };     /* of a round */

static const double acceptances[] = { 1, 0.9, 0.8, 0.6, 0.4 };
enum { ACCEPTANCES = sizeof acceptances / sizeof *acceptances };

struct run {
    struct checkpoint ck;
    struct weights w;
    struct mtp_weights mtp;
    struct engine *e;
    struct decoder *d;
    struct drafter *drafter;
    struct kv_pool pool;
    struct sequence_state state;
    struct drafter_state drafts;
    struct random random;
    /* Of the last step: what the next slots of the layer begin with. */
    float *hidden;                      /* [1 + MOST_DRAFTS, D] */
    size_t rows;
};

/* Of a kind of steps: those with so many drafts, at one acceptance. */
struct total {
    double seconds;
    size_t tokens, steps;
};

static void must(bool ok, const struct error *err)
{
    if (ok)
        return;
    fprintf(stderr, "drafts: %s\n", err->message);
    exit(1);
}

static int32_t any_id(struct run *r)
{
    return (int32_t)random_below(&r->random, r->ck.config.vocab_size);
}

/* A step of n drafts that the layer makes, of which as many are right as p has it. */
static void step(struct run *r, size_t n, double p, struct total *t)
{
    int32_t ids[1 + MOST_DRAFTS], after[1 + MOST_DRAFTS], drafts[MOST_DRAFTS];
    size_t right = 0, D = r->ck.config.hidden_size;
    struct error err = { 0 };
    const float *hidden;
    float *logits;
    for (size_t i = 0; i <= MOST_DRAFTS; i++) {
        ids[i] = any_id(r);
        after[i] = any_id(r);
    }
    while (right < n && (double)random_uniform(&r->random) < p)
        right++;
    const struct draft_request request = { .state = &r->drafts, .hidden = r->hidden, .ids = after,
                                           .n = r->rows, .n_drafts = n, .drafts = drafts };
    double start = machine_seconds();
    if (n)
        must(drafter_draft(r->drafter, &request, 1, &err), &err);
    const struct decoder_rows rows = { &r->state, ids, 1 + n };
    must(decoder_step_rows(r->d, &rows, 1, &logits, &hidden, &err), &err);
    sequence_state_take_back(&r->state, n - right);
    t->seconds += machine_seconds() - start;
    t->tokens += 1 + right;
    t->steps++;
    r->rows = n ? 1 + right : 1;
    memcpy(r->hidden, hidden, (1 + n) * D * sizeof *hidden);
}

static void report(const struct run *r, const struct total *plain,
                   struct total with[ACCEPTANCES][MOST_DRAFTS + 1])
{
    double rate = (double)plain->tokens / plain->seconds;
    printf("%s, %d threads: without drafts %.2f tokens/s (%zu steps)\n", engine_isa(r->e),
           engine_threads(r->e), rate, plain->steps);
    for (size_t n = 1; n <= MOST_DRAFTS; n++) {
        double seconds = 0;
        size_t steps = 0;
        for (size_t a = 0; a < ACCEPTANCES; a++) {
            seconds += with[a][n].seconds;
            steps += with[a][n].steps;
        }
        printf("%zu drafts: a step costs %.2f of one without; times the rate without, when p is",
               n, seconds / (double)steps * rate);
        for (size_t a = 0; a < ACCEPTANCES; a++) {
            /* Tokens of a step, in the mean: 1 + p + ... + p^n */
            double tokens = 1, power = 1;
            for (size_t i = 0; i < n; i++)
                tokens += power *= acceptances[a];
            printf(" %g: %.2f (measured %.2f)", acceptances[a],
                   tokens / (seconds / (double)steps * rate),
                   (double)with[a][n].tokens / with[a][n].seconds / rate);
        }
        printf("\n");
    }
}

static void run_all(struct run *r, double seconds)
{
    struct total plain = { 0 }, with[ACCEPTANCES][MOST_DRAFTS + 1] = { 0 }, warm = { 0 };
    for (size_t n = 0; n <= MOST_DRAFTS; n++)
        step(r, n, 1, &warm);
    for (double begin = machine_seconds(); machine_seconds() - begin < seconds;)
        for (size_t a = 0; a < ACCEPTANCES; a++)
            for (size_t n = 0; n <= MOST_DRAFTS; n++)
                for (size_t i = 0; i < STEPS; i++) {
                    must(r->state.n_past + 1 + MOST_DRAFTS < CAPACITY,
                         &(struct error){ .message = "too many seconds" });
                    step(r, n, acceptances[a], n ? &with[a][n] : &plain);
                }
    report(r, &plain, with);
}

static bool drop(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)user, (void)row, (void)n, (void)logits, (void)err;
    return true;
}

static bool prefilled(void *user, const struct sequence_state *s, const int32_t *ids,
                      const float *hidden, size_t n, struct error *err)
{
    struct run *r = user;
    (void)s;
    memcpy(r->hidden, hidden + (n - 1) * r->ck.config.hidden_size,
           r->ck.config.hidden_size * sizeof *hidden);
    return drafter_prefill(r->drafter, &r->drafts, ids, hidden, n, err);
}

static void open_all(struct run *r, const char *path, const struct engine_options *options)
{
    const struct drafter_options drafting = { .max_sequences = 1, .n_drafts = MOST_DRAFTS,
                                              .pool_tokens = CAPACITY, .kv = DTYPE_F32 };
    const struct decoder_options decoding = { .max_sequences = 1, .max_rows = 1 + MOST_DRAFTS,
                                              .observer = { prefilled, r } };
    const struct decoder_sink sink = { drop, NULL };
    struct engine_options with_mtp = *options;
    struct error err = { 0 };
    int32_t ids[PROMPT];
    with_mtp.mtp = &r->mtp;
    must(checkpoint_open(&r->ck, path, &err) && weights_bind(&r->w, &r->ck, &err)
         && weights_bind_mtp(&r->mtp, &r->ck, &err)
         && (r->e = engine_open(&r->ck, &r->w, &with_mtp, &err))
         && (r->d = decoder_open(r->e, &decoding, &err))
         && (r->drafter = drafter_open(r->e, &drafting, &err))
         && sequence_state_pool_open(&r->pool, &r->ck.config, DTYPE_F32, CAPACITY, &err)
         && sequence_state_open(&r->state, &r->ck.config, &r->pool, CAPACITY, &err)
         && sequence_state_keep_rows(&r->state, &r->ck.config, MOST_DRAFTS, &err)
         && drafter_state_open(&r->drafts, r->drafter, CAPACITY, &err), &err);
    r->hidden = mem_array((1 + MOST_DRAFTS) * r->ck.config.hidden_size, sizeof *r->hidden,
                          "states", &err);
    must(r->hidden != NULL, &err);
    for (size_t i = 0; i < PROMPT; i++)
        ids[i] = any_id(r);
    must(decoder_prefill(r->d, &r->state, ids, PROMPT, PROMPT - 1, &sink, &err), &err);
    r->rows = 1;
}

static void close_all(struct run *r)
{
    free(r->hidden);
    drafter_state_close(&r->drafts);
    sequence_state_close(&r->state);
    sequence_state_pool_close(&r->pool);
    drafter_close(r->drafter);
    decoder_close(r->d);
    engine_close(r->e);
    weights_free_mtp(&r->mtp);
    weights_free(&r->w);
    checkpoint_close(&r->ck);
}

int main(int argc, char **argv)
{
    static struct run r = { .random = { 1 } };
    struct engine_options options = { .compute = COMPUTE_F32 };
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "drafts CHECKPOINT [f32|bf16 [THREADS [SECONDS]]]\n");
        return 2;
    }
    if (argc > 2 && strcmp(argv[2], "bf16") == 0)
        options.compute = COMPUTE_BF16;
    options.n_threads = argc > 3 ? atoi(argv[3]) : 0;
    open_all(&r, argv[1], &options);
    run_all(&r, argc > 4 ? atof(argv[4]) : 60);
    close_all(&r);
    return 0;
}
