#include "eval/compare/divergence.h"

#include <stdint.h>
#include <string.h>

#include "base/digest.h"
#include "base/progress.h"
#include "eval/score/job_inputs.h"
#include "eval/score/model.h"

/* A checkpoint of a run, its head as it was when the run was made. */
struct source {
    const struct divergence_source *of;
    struct model model;
    struct input_files inputs;
};

/* The head is what it was when the hidden states were made. */
static bool check_head(const struct model *o, const struct divergence_source *s, bool *other,
                       const struct progress *progress, struct error *err)
{
    struct digest digest;
    char hex[2 * DIGEST_BYTES + 1];
    if (!weights_head_digest(&digest, o->checkpoint, o->weights, progress, err))
        return false;
    digest_hex(hex, &digest);
    if (strcmp(hex, s->head_sha256) == 0)
        return true;
    if (other)
        *other = true;
    return error_set(err, "%s: the head has SHA-256 %s, but the run was made with %s",
                     o->checkpoint->path, hex, s->head_sha256);
}

static bool open_source(struct source *to, const struct divergence_source *s,
                        const struct divergence_options *options, bool checks_head,
                        struct error *err)
{
    struct model *o = &to->model;
    to->of = s;
    const struct progress progress = PROGRESS_OF(&options->machine.progress);
    struct engine_options engine = model_engine_options(&options->machine, 0);
    engine.compute = s->compute;
    return model_source_list(&to->inputs, s->checkpoint, err)
        && model_open(o, s->checkpoint, &to->inputs, &options->machine.progress, err)
        && (!checks_head || check_head(o, s, options->other_head, &progress, err))
        && model_open_engine(o, &engine, err);
}

static bool same_head_still(void *user, const char *path, bool *same, struct error *err)
{
    const struct source *s = user;
    (void)path;
    *same = check_head(&s->model, s->of, NULL, NULL, err);
    return true;
}

/* The head was the same each time it was read, once for each group of tokens. */
static bool check_source(struct source *s, const struct divergence_options *options,
                         struct error *err)
{
    const struct input_files_again again = { same_head_still, s, true };
    const struct progress progress = PROGRESS_OF(&options->machine.progress);
    return input_files_check(&s->inputs, &again, &progress, err);
}

static void close_source(struct source *s)
{
    model_close(&s->model);
    input_files_free(&s->inputs);
}

static bool same_shape(const struct model *a, const struct model *b)
{
    const struct matrix *x = &a->weights->lm_head, *y = &b->weights->lm_head;
    return x->dtype == y->dtype && x->rows == y->rows && x->cols == y->cols;
}

static bool same_head(const struct divergence_source *a, const struct model *model_a,
                      const struct divergence_source *b, const struct model *model_b)
{
    return a->head_sha256 && b->head_sha256 && strcmp(a->head_sha256, b->head_sha256) == 0
        && same_shape(model_a, model_b);
}

/* The same, found out. */
static bool hash_heads(bool *same, const struct model *a, const struct model *b,
                       const struct progress *progress, struct error *err)
{
    struct digest x, y;
    if (!weights_head_digest(&x, a->checkpoint, a->weights, progress, err)
        || !weights_head_digest(&y, b->checkpoint, b->weights, progress, err))
        return false;
    *same = memcmp(&x, &y, sizeof x) == 0;
    return true;
}

/* For a look ahead: who does the work warns, and refuses what does not fit. */
static bool open_quietly(struct source *x, const struct divergence_source *a, struct source *y,
                         const struct divergence_source *b,
                         const struct divergence_options *options, struct error *err)
{
    struct divergence_options quiet = *options;
    quiet.machine.progress.warn = NULL;
    quiet.machine.memory_bytes = SIZE_MAX;
    return open_source(y, b, &quiet, false, err) && open_source(x, a, &quiet, false, err);
}

bool divergence_least(size_t *bytes, const struct divergence_source *a,
                      const struct divergence_source *b, size_t n, size_t beside_bytes,
                      const struct divergence_options *options, struct error *err)
{
    struct source x = { 0 }, y = { 0 };
    const struct progress progress = PROGRESS_OF(&options->machine.progress);
    bool ok = open_quietly(&x, a, &y, b, options, err);
    if (ok) {
        struct engine_divergence d = { .a = x.model.engine, .b = y.model.engine,
                                       .same_head = same_head(a, &x.model, b, &y.model) };
        bool known = d.same_head || (a->head_sha256 && b->head_sha256);
        *bytes = engine_divergence_least(&d, n) + beside_bytes;
        if (!known && same_shape(&x.model, &y.model)
            && !budget_check_ahead(options->machine.memory_bytes, *bytes, NULL, "KL divergence"))
            ok = hash_heads(&d.same_head, &x.model, &y.model, &progress, err);
        *bytes = engine_divergence_least(&d, n) + beside_bytes;
    }
    close_source(&x);
    close_source(&y);
    return ok;
}

bool divergence_seconds(double *seconds, const struct divergence_source *a,
                        const struct divergence_source *b, size_t n,
                        const struct divergence_options *options, struct error *err)
{
    struct source x = { 0 }, y = { 0 };
    bool ok = open_quietly(&x, a, &y, b, options, err);
    if (ok) {
        const struct engine_divergence d = {
            .a = x.model.engine, .b = y.model.engine,
            .same_head = a->head_sha256 && b->head_sha256 ? same_head(a, &x.model, b, &y.model)
                                                          : same_shape(&x.model, &y.model),
        };
        *seconds = engine_divergence_seconds(&d, n);
    }
    close_source(&x);
    close_source(&y);
    return ok;
}

bool divergence_measure(struct divergence_row *rows, const struct divergence_source *a,
                        const struct divergence_source *b, const struct divergence_options *options,
                        struct error *err)
{
    struct source x = { 0 }, y = { 0 };
    /* A's engine gets the memory budget, so it is opened last. */
    bool ok = open_source(&y, b, options, true, err) && open_source(&x, a, options, true, err);
    if (ok) {
        const struct engine_divergence d = {
            .a = x.model.engine, .b = y.model.engine, .hidden_a = a->hidden, .hidden_b = b->hidden,
            .same_head = same_head(a, &x.model, b, &y.model),
        };
        ok = engine_divergence(&d, rows, err) && check_source(&x, options, err)
          && check_source(&y, options, err);
    }
    close_source(&x);
    close_source(&y);
    return ok;
}
