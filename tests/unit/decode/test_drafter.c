/* The drafter against `eval --mtp`'s drafts (engine/mtp_acceptance.h, which is compared with
 * float64): a text that ends with a chain's own drafts has the same chain there.  Drafts are the
 * same alone and beside other sequences, and go on from what was accepted. */
#include "decode/drafter.h"

#include <stdlib.h>
#include <string.h>

#include "decode/decoder.h"
#include "formats/weights.h"
#include "tests/differ.h"
#include "tests/random.h"

enum { N_DRAFTS = 4, N_IDS = 700, SEQUENCES = 3 };

static struct checkpoint ck;
static struct weights w;
static struct mtp_weights mtp;
static struct engine *e;
static int32_t ids[N_IDS + 1 + N_DRAFTS];

/* ---- what the engine drafts ------------------------------------------------------- */

/* The last N_DRAFTS targets of the window, of which draft k made the k-th. */
static bool take(void *user, size_t window, size_t draft, size_t n,
                 const struct engine_draft *drafts, const float *hidden, struct error *err)
{
    int32_t *chain = user;
    (void)window, (void)hidden, (void)err;
    chain[draft] = drafts[n - N_DRAFTS + draft].top1;
    return true;
}

static bool ignore(void *user, size_t row, size_t n, const struct engine_score *scores,
                   const float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)scores, (void)hidden, (void)err;
    return true;
}

/* The chain of a text that ends with N_DRAFTS drafts. */
static void engine_chain(int32_t *chain, const int32_t *text, size_t n)
{
    const struct engine_window window = { 0, n, n - N_DRAFTS };
    const struct engine_job job = { .ids = text, .n_ids = n, .windows = &window, .n_windows = 1,
                                    .sink = { ignore, NULL }, .drafts = { N_DRAFTS, take, chain } };
    struct engine_statistics st;
    struct error err = { 0 };
    must(engine_score_windows(e, &job, &st, &err), &err);
}

/* ---- sequences that draft ---------------------------------------------------------- */

struct pair {
    struct decoder *decoder;
    struct drafter *drafter;
    struct kv_pool pool;
    struct sequence_state states[SEQUENCES];
    struct drafter_state drafts[SEQUENCES];
};

static bool prefilled(void *user, const struct sequence_state *s, const int32_t *piece,
                      const float *hidden, size_t n, struct error *err)
{
    struct pair *p = user;
    return drafter_prefill(p->drafter, &p->drafts[s - p->states], piece, hidden, n, err);
}

static bool drop(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)user, (void)row, (void)n, (void)logits, (void)err;
    return true;
}

static void begin(struct pair *p, enum dtype kv)
{
    const struct decoder_options decoding = { .max_sequences = SEQUENCES, .piece_tokens = 128,
                                              .max_rows = SEQUENCES * (1 + N_DRAFTS),
                                              .observer = { prefilled, p } };
    const struct drafter_options drafting = { .max_sequences = SEQUENCES, .n_drafts = N_DRAFTS,
                                              .pool_tokens = SEQUENCES * N_IDS, .kv = kv };
    struct error err = { 0 };
    *p = (struct pair){ 0 };
    must((p->decoder = decoder_open(e, &decoding, &err))
         && (p->drafter = drafter_open(e, &drafting, &err))
         && sequence_state_pool_open(&p->pool, &ck.config, kv, SEQUENCES * N_IDS, &err), &err);
    for (size_t i = 0; i < SEQUENCES; i++)
        must(sequence_state_open(&p->states[i], &ck.config, &p->pool, N_IDS, &err)
             && sequence_state_keep_rows(&p->states[i], &ck.config, N_DRAFTS, &err)
             && drafter_state_open(&p->drafts[i], p->drafter, N_IDS, &err), &err);
}

static void end(struct pair *p)
{
    for (size_t i = 0; i < SEQUENCES; i++) {
        sequence_state_close(&p->states[i]);
        drafter_state_close(&p->drafts[i]);
    }
    sequence_state_pool_close(&p->pool);
    drafter_close(p->drafter);
    decoder_close(p->decoder);
}

/* Sequence i begins with n tokens of ids from `offset` on. */
static void prompt(struct pair *p, size_t i, size_t offset, size_t n)
{
    const struct decoder_sink sink = { drop, NULL };
    struct error err = { 0 };
    sequence_state_clear(&p->states[i], &ck.config);
    drafter_state_go_back(&p->drafts[i], 0, NULL, 0);
    must(decoder_prefill(p->decoder, &p->states[i], ids + offset, n, n, &sink, &err), &err);
}

/* ---- tests --------------------------------------------------------------------------- */

/* After prompts of these lengths (the longest in two pieces), and after a step whose first `right`
 * drafts are taken for right: then the text goes on with ids of its own. */
static void test_chains(struct pair *p, bool all)
{
    static const struct {
        size_t n, right;
    } cases[] = { { 1, 0 }, { 5, 4 }, { 127, 3 }, { 2, 2 }, { 128, 0 }, { 530, 2 } };
    for (size_t i = 0; i < (all ? sizeof cases / sizeof *cases : 3); i++) {
        size_t n = cases[i].n, right = cases[i].right;
        int32_t text[N_IDS], found[N_DRAFTS], expected[N_DRAFTS];
        struct error err = { 0 };
        const float *hidden;
        float *logits;
        char name[80];
        memcpy(text, ids, sizeof text);
        prompt(p, 0, 0, n);
        struct draft_request request = { .state = &p->drafts[0], .ids = text + n, .n = 1,
                                         .n_drafts = N_DRAFTS, .drafts = found };
        for (size_t step = 0; step < 2; step++) {
            must(drafter_draft(p->drafter, &request, 1, &err), &err);
            memcpy(text + n + 1, found, sizeof found);
            engine_chain(expected, text, n + 1 + N_DRAFTS);
            snprintf(name, sizeof name, "%s of %zu tokens: the engine's chain",
                     step ? "a step after a prompt" : "a prompt", cases[i].n);
            check_equal_i32(name, found, expected, N_DRAFTS);
            struct decoder_rows rows = { &p->states[0], text + n, 1 + N_DRAFTS };
            must(decoder_step_rows(p->decoder, &rows, 1, &logits, &hidden, &err), &err);
            sequence_state_take_back(&p->states[0], N_DRAFTS - right);
            n += 1 + right;
            memcpy(text + n, ids + n, N_DRAFTS * sizeof *text);
            request.ids = text + n - right;
            request.hidden = hidden;
            request.n = 1 + right;
        }
    }
}

/* Sequence i: prompt tokens, drafts that it wants.  All at once, and one by one. */
static void test_together(struct pair *p)
{
    static const struct {
        size_t prompt, n_drafts;
    } cases[SEQUENCES] = { { 90, 4 }, { 1, 2 }, { 130, 3 } };
    int32_t alone[SEQUENCES][N_DRAFTS] = { 0 }, together[SEQUENCES][N_DRAFTS] = { 0 };
    struct draft_request requests[SEQUENCES];
    struct error err = { 0 };
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < SEQUENCES; i++) {
            prompt(p, i, 40 * i, cases[i].prompt);
            requests[i] = (struct draft_request){
                .state = &p->drafts[i], .ids = ids + 40 * i + cases[i].prompt, .n = 1,
                .n_drafts = cases[i].n_drafts, .drafts = round ? together[i] : alone[i],
            };
            if (round == 0)
                must(drafter_draft(p->drafter, &requests[i], 1, &err), &err);
        }
        if (round == 1)
            must(drafter_draft(p->drafter, requests, SEQUENCES, &err), &err);
    }
    check_equal_i32("drafts beside other sequences are those alone", together[0], alone[0],
                    SEQUENCES * N_DRAFTS);
    check(alone[1][1] != 0 && alone[1][2] == 0, "no more than a sequence wants", "%d %d",
          (int)alone[1][1], (int)alone[1][2]);
}

/* After a snapshot's tokens another prompt goes on as from a cold start. */
static void test_going_back(struct pair *p)
{
    const struct decoder_sink sink = { drop, NULL };
    int32_t cold[N_DRAFTS], again[N_DRAFTS];
    float *kept = calloc(ck.config.hidden_size, sizeof *kept);
    struct draft_request request = { .state = &p->drafts[0], .ids = ids + 200, .n = 1,
                                     .n_drafts = N_DRAFTS, .drafts = cold };
    struct error err = { 0 };
    prompt(p, 0, 0, 200);
    must(drafter_draft(p->drafter, &request, 1, &err), &err);
    prompt(p, 0, 0, 128);
    memcpy(kept, p->drafts[0].hidden, ck.config.hidden_size * sizeof *kept);
    must(decoder_prefill(p->decoder, &p->states[0], ids + 5, 40, 40, &sink, &err), &err);
    drafter_state_go_back(&p->drafts[0], 128, kept, ck.config.hidden_size);
    check(p->drafts[0].n_past == 127 && p->drafts[0].waits, "the last slot waits again",
          "%zu slots", p->drafts[0].n_past);
    prompt(p, 1, 0, 128);                       /* another one's delta nets are what these were */
    sequence_state_copy(&p->states[0], &p->states[1], &ck.config);
    must(decoder_prefill(p->decoder, &p->states[0], ids + 128, 72, 72, &sink, &err), &err);
    request.drafts = again;
    must(drafter_draft(p->drafter, &request, 1, &err), &err);
    check_equal_i32("from a snapshot the drafts are those of a cold start", again, cold, N_DRAFTS);
    free(kept);
}

int main(void)
{
    static const char *const checkpoints[] = { "data/demo/bf16", "data/demo/mxfp4" };
    struct random r = { 23 };
    struct error err = { 0 };
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, 4000);
    for (size_t i = 0; i < 2; i++) {
        const struct engine_options options = { .n_threads = 2 - (int)i, .mtp = &mtp };
        struct pair p;
        must(checkpoint_open(&ck, checkpoints[i], &err) && weights_bind(&w, &ck, &err)
             && weights_bind_mtp(&mtp, &ck, &err) && (e = engine_open(&ck, &w, &options, &err)),
             &err);
        begin(&p, i ? DTYPE_BF16 : DTYPE_F32);
        test_chains(&p, i == 0);
        test_together(&p);
        test_going_back(&p);
        end(&p);
        engine_close(e);
        weights_free_mtp(&mtp);
        weights_free(&w);
        checkpoint_close(&ck);
    }
    return check_done();
}
