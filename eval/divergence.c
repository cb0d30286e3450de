#include "eval/divergence.h"

#include <string.h>

#include "base/digest.h"
#include "base/public.h"
#include "eval/job_inputs.h"
#include "eval/opened.h"

/* A checkpoint of a run, its head as it was when the run was made. */
struct source {
    const struct divergence_source *of;
    struct opened opened;
    struct input_files inputs;
};

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

static bool open_source(struct source *to, const struct divergence_source *s,
                        const struct divergence_options *options, struct error *err)
{
    struct opened *o = &to->opened;
    to->of = s;
    const struct progress progress = public_progress(&options->progress);
    const struct engine_options engine = {
        .n_threads = options->threads, .memory_bytes = options->memory_bytes, .isa = options->isa,
        .compute = s->compute, .progress = progress,
    };
    return checkpoint_list_folder(&to->inputs, s->checkpoint, err)
        && opened_checkpoint(o, s->checkpoint, &options->progress, err)
        && checkpoint_list_weights(&to->inputs, &o->checkpoint, err)
        && check_head(o, s, options->other_head, &progress, err) && opened_engine(o, &engine, err);
}

static bool same_head_still(void *user, const char *path, bool *same, struct error *err)
{
    const struct source *s = user;
    (void)path;
    *same = check_head(&s->opened, s->of, NULL, NULL, err);
    return true;
}

/* The head was read once for each group of tokens, and each time the same. */
static bool check_source(struct source *s, const struct divergence_options *options,
                         struct error *err)
{
    const struct input_files_again again = { same_head_still, s };
    const struct progress progress = public_progress(&options->progress);
    return input_files_check(&s->inputs, &again, &progress, err);
}

static void close_source(struct source *s)
{
    opened_close(&s->opened);
    input_files_free(&s->inputs);
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
    struct source x = { 0 }, y = { 0 };
    /* A's engine has the budget, so it is opened when all else is there. */
    bool ok = open_source(&y, b, options, err) && open_source(&x, a, options, err);
    if (ok) {
        const struct engine_divergence d = {
            .a = x.opened.engine, .b = y.opened.engine, .hidden_a = a->hidden, .hidden_b = b->hidden,
            .same_head = same_head(a, &x.opened, b, &y.opened),
        };
        ok = engine_divergence(&d, rows, err) && check_source(&x, options, err)
          && check_source(&y, options, err);
    }
    close_source(&x);
    close_source(&y);
    return ok;
}
