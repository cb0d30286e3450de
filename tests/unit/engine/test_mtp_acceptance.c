/* The MTP layer's states and drafts along a text, row by row, against those of float64
 * (../shared/goldens/tiny-mtp, made by ../shared/oracle/mtp.py). */
#include "base/file.h"
#include "engine/engine.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/differ.h"
#include "tests/isas.h"

#define CHECKPOINT "../shared/checkpoints/tiny-mtp"
#define GOLDEN "../shared/goldens/tiny-mtp/mtp.safetensors"

enum { T = 256, DRAFTS = 3, D = 128, V = 4160, LOGIT_ROWS = 16 };

/* What the sink got of one draft. */
struct drafted {
    size_t n;
    struct engine_draft drafts[T];
    float hidden[T * D];
};

static struct checkpoint ck;
static struct weights w;
static struct mtp_weights mtp;
static struct safetensors_file golden;
static struct drafted all[DRAFTS];

static const void *golden_of(const char *name, int k)
{
    char full[32];
    snprintf(full, sizeof full, "%s.%d", name, k);
    for (size_t i = 0; i < golden.n_tensors; i++)
        if (strcmp(golden.tensors[i].name, k ? full : name) == 0)
            return golden.tensors[i].data;
    fprintf(stderr, "%s: no tensor %s\n", GOLDEN, k ? full : name);
    exit(1);
}

static bool take(void *user, size_t window, size_t draft, size_t n,
                 const struct engine_draft *drafts, const float *hidden, struct error *err)
{
    struct drafted *d = (struct drafted *)user + draft;
    if (window != 0 || n > T)
        return error_set(err, "%zu drafts of window %zu", n, window);
    d->n = n;
    memcpy(d->drafts, drafts, n * sizeof *drafts);
    memcpy(d->hidden, hidden, n * D * sizeof *hidden);
    return true;
}

static bool ignore(void *user, size_t row, size_t n, const struct engine_score *scores,
                   const float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)scores, (void)hidden, (void)err;
    return true;
}

/* The text and one token more, so that the last slot has a target, too. */
static bool draft(const char *isa, int n_threads, struct error *err)
{
    int32_t ids[T + 1] = { 0 };
    memcpy(ids, golden_of("ids", 0), T * sizeof *ids);
    const struct engine_options options = { .n_threads = n_threads, .isa = isa, .mtp = &mtp };
    const struct engine_window window = { .begin = 0, .end = T + 1, .first = 1 };
    const struct engine_job job = { .ids = ids, .n_ids = T + 1, .windows = &window, .n_windows = 1,
                                    .sink = { ignore, NULL }, .drafts = { DRAFTS, take, all } };
    struct engine_statistics st;
    struct engine *e = engine_open(&ck, &w, &options, err);
    memset(all, 0, sizeof all);
    bool ok = e && engine_score_windows(e, &job, &st, err);
    engine_close(e);
    return ok;
}

/* States are of size 1; the text's routing has no near-tie that f32 decides otherwise. */
static void check_draft(const char *isa, int k)
{
    const struct drafted *d = &all[k - 1];
    const float *hidden = golden_of("hidden", k), *logits = golden_of("logits", k);
    const double *lse = golden_of("logsumexp", k);
    const int32_t *top1 = golden_of("top1", k);
    char name[64];
    double worst_state = 0, worst_lse = 0, worst_logit = 0;
    size_t n = T - (size_t)k, others = 0;
    for (size_t i = 0; i < n * D; i++)
        worst_state = fmax(worst_state, fabs((double)d->hidden[i] - (double)hidden[i]));
    for (size_t i = 0; i < n; i++) {
        worst_lse = fmax(worst_lse, fabs((double)d->drafts[i].logsumexp - lse[i]));
        others += d->drafts[i].top1 != top1[i];
    }
    float row[D];
    for (size_t id = 0; id < V; id++) {
        kernels_scalar.rows->expand(row, &w.lm_head, id, 0, D);
        for (size_t i = 0; i < LOGIT_ROWS; i++) {
            double sum = 0;
            for (size_t j = 0; j < D; j++)
                sum += (double)row[j] * (double)d->hidden[i * D + j];
            worst_logit = fmax(worst_logit, fabs(sum - (double)logits[i * V + id]));
        }
    }
    snprintf(name, sizeof name, "%s: states of draft %d", isa, k);
    check(d->n == n && worst_state < 2e-5, name, "%zu rows, off by %.2g", d->n, worst_state);
    snprintf(name, sizeof name, "%s: logits of draft %d", isa, k);
    check(worst_logit < 2e-5 && worst_lse < 2e-5 && others == 0, name,
          "off by %.2g, log-sum-exp by %.2g, %zu best tokens differ", worst_logit, worst_lse,
          others);
    printf("%s, draft %d: states off by %.2g, logits %.2g, log-sum-exp %.2g\n", isa, k,
           worst_state, worst_logit, worst_lse);
}

/* Members, since padding is anything. */
static bool same_drafts(const struct drafted *a, const struct drafted *b)
{
    bool same = a->n == b->n && memcmp(a->hidden, b->hidden, sizeof a->hidden) == 0;
    for (size_t i = 0; same && i < a->n; i++) {
        const struct engine_draft *x = &a->drafts[i], *y = &b->drafts[i];
        same = memcmp(&x->nll, &y->nll, sizeof x->nll) == 0
            && memcmp(&x->accepted, &y->accepted, sizeof x->accepted) == 0
            && x->logsumexp == y->logsumexp && x->top1 == y->top1 && x->same_top1 == y->same_top1;
    }
    return same;
}

static void test_all(void)
{
    static struct drafted one_thread[DRAFTS];
    struct error err = { 0 };
    for (size_t i = 0; i < N_ISAS; i++) {
        if (!kernels_find(isas[i], &err))
            continue;
        if (!check(draft(isas[i], 1, &err), isas[i], "%s", err.message))
            return;
        for (int k = 1; k <= DRAFTS; k++)
            check_draft(isas[i], k);
        if (strcmp(isas[i], "openblas") == 0)   /* its bits depend on the shapes of products */
            continue;
        memcpy(one_thread, all, sizeof all);
        bool ok = draft(isas[i], 3, &err);
        for (int k = 0; k < DRAFTS; k++)
            check(ok && same_drafts(&one_thread[k], &all[k]), "three threads give the same bits",
                  "%s, draft %d: they do not; %s", isas[i], k + 1, err.message);
    }
}

int main(void)
{
    struct error err = { 0 };
    if (!file_exists(GOLDEN)) {
        check_skip("drafts along a text", "no ../shared/goldens/tiny-mtp");
        return check_done();
    }
    bool ok = checkpoint_open(&ck, CHECKPOINT, &err) && weights_bind(&w, &ck, &err)
           && weights_bind_mtp(&mtp, &ck, &err) && safetensors_open(&golden, GOLDEN, &err);
    if (check(ok, "checkpoint and golden values are there", "%s", err.message))
        test_all();
    safetensors_close(&golden);
    weights_free_mtp(&mtp);
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
