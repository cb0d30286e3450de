#include "eval/divergence.h"

#include <string.h>

#include "base/digest.h"
#include "base/public.h"
#include "eval/opened.h"

/* The head is what it was when the hidden states were made. */
static bool check_head(const struct opened *o, const struct divergence_source *s, bool *other,
                       const struct progress *progress, struct error *err)
{
    struct digest digest;
    char hex[2 * DIGEST_BYTES + 1];
    if (!weights_head_digest(&digest, &o->checkpoint, &o->weights, progress, err))
        return false;
    digest_hex(hex, &digest);
    if (strcmp(hex, s->head_sha256) == 0)
        return true;
    if (other)
        *other = true;
    return error_set(err, "%s: the head has SHA-256 %s, but the run was made with %s",
                     o->checkpoint.path, hex, s->head_sha256);
}

static bool open_source(struct opened *o, const struct divergence_source *s,
                        const struct divergence_options *options, struct error *err)
{
    const struct progress progress = public_progress(&options->progress);
    const struct engine_options engine = {
        .n_threads = options->threads, .memory_bytes = options->memory_bytes, .isa = options->isa,
        .compute = s->compute, .progress = progress,
    };
    return opened_checkpoint(o, s->checkpoint, &options->progress, err)
        && check_head(o, s, options->other_head, &progress, err) && opened_engine(o, &engine, err);
}

static bool same_head(const struct divergence_source *a, const struct opened *opened_a,
                      const struct divergence_source *b, const struct opened *opened_b)
{
    const struct matrix *x = &opened_a->weights.lm_head, *y = &opened_b->weights.lm_head;
    return strcmp(a->head_sha256, b->head_sha256) == 0 && x->dtype == y->dtype && x->rows == y->rows
        && x->cols == y->cols;
}

bool divergence_measure(struct divergence_row *rows, const struct divergence_source *a,
                        const struct divergence_source *b, const struct divergence_options *options,
                        struct error *err)
{
    struct opened opened_a = { 0 }, opened_b = { 0 };
    /* A's engine has the budget, so it is opened when all else is there. */
    bool ok = open_source(&opened_b, b, options, err) && open_source(&opened_a, a, options, err);
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
