#include "eval/divergence.h"

#include <stdint.h>
#include <string.h>

#include "base/digest.h"
#include "base/public.h"
#include "eval/opened.h"

/* The head is what it was when the hidden states were made. */
static bool check_head(const struct opened *o, const struct divergence_source *s,
                       const struct progress *progress, struct error *err)
{
    struct digest digest;
    char hex[2 * DIGEST_BYTES + 1];
    if (!weights_head_digest(&digest, &o->checkpoint, &o->weights, progress, err))
        return false;
    digest_hex(hex, &digest);
    return strcmp(hex, s->head_sha256) == 0
        || error_set(err, "%s: the head has SHA-256 %s, but the run was made with %s",
                     o->checkpoint.path, hex, s->head_sha256);
}

static bool open_source(struct opened *o, const struct divergence_source *s,
                        const struct divergence_options *options, bool checks_head, struct error *err)
{
    const struct progress progress = public_progress(&options->progress);
    const struct engine_options engine = {
        .n_threads = options->threads, .memory_bytes = options->memory_bytes, .isa = options->isa,
        .compute = s->compute, .progress = progress,
    };
    return opened_checkpoint(o, s->checkpoint, &options->progress, err)
        && (!checks_head || check_head(o, s, &progress, err)) && opened_engine(o, &engine, err);
}

static bool same_shape(const struct opened *a, const struct opened *b)
{
    const struct matrix *x = &a->weights.lm_head, *y = &b->weights.lm_head;
    return x->dtype == y->dtype && x->rows == y->rows && x->cols == y->cols;
}

static bool same_head(const struct divergence_source *a, const struct opened *opened_a,
                      const struct divergence_source *b, const struct opened *opened_b)
{
    return a->head_sha256 && b->head_sha256 && strcmp(a->head_sha256, b->head_sha256) == 0
        && same_shape(opened_a, opened_b);
}

/* The same, found out. */
static bool hash_heads(bool *same, const struct opened *a, const struct opened *b,
                       const struct progress *progress, struct error *err)
{
    struct digest x, y;
    if (!weights_head_digest(&x, &a->checkpoint, &a->weights, progress, err)
        || !weights_head_digest(&y, &b->checkpoint, &b->weights, progress, err))
        return false;
    *same = memcmp(&x, &y, sizeof x) == 0;
    return true;
}

bool divergence_least(size_t *bytes, const struct divergence_source *a, const struct divergence_source *b,
                      size_t n, size_t beside_bytes, const struct divergence_options *options,
                      struct error *err)
{
    struct opened opened_a = { 0 }, opened_b = { 0 };
    struct divergence_options quiet = *options;
    const struct progress progress = public_progress(&options->progress);
    quiet.progress.warn = NULL;         /* who does the work warns */
    quiet.memory_bytes = SIZE_MAX;
    bool ok = open_source(&opened_b, b, &quiet, false, err) && open_source(&opened_a, a, &quiet, false, err);
    if (ok) {
        struct engine_divergence d = { .a = opened_a.engine, .b = opened_b.engine,
                                       .same_head = same_head(a, &opened_a, b, &opened_b) };
        bool known = d.same_head || (a->head_sha256 && b->head_sha256);
        *bytes = engine_divergence_least(&d, n) + beside_bytes;
        if (!known && same_shape(&opened_a, &opened_b)
            && !budget_check_ahead(options->memory_bytes, *bytes, NULL, "KL divergence"))
            ok = hash_heads(&d.same_head, &opened_a, &opened_b, &progress, err);
        *bytes = engine_divergence_least(&d, n) + beside_bytes;
    }
    opened_close(&opened_a);
    opened_close(&opened_b);
    return ok;
}

bool divergence_measure(struct divergence_row *rows, const struct divergence_source *a,
                        const struct divergence_source *b, const struct divergence_options *options,
                        struct error *err)
{
    struct opened opened_a = { 0 }, opened_b = { 0 };
    /* A's engine has the budget, so it is opened when all else is there. */
    bool ok = open_source(&opened_b, b, options, true, err)
           && open_source(&opened_a, a, options, true, err);
    if (ok) {
        const struct engine_divergence d = {
            .a = opened_a.engine, .b = opened_b.engine, .hidden_a = a->hidden, .hidden_b = b->hidden,
            .same_head = same_head(a, &opened_a, b, &opened_b),
        };
        ok = engine_divergence(&d, rows, err);
    }
    opened_close(&opened_a);
    opened_close(&opened_b);
    return ok;
}
