/* surprisal.h over the modules: options and errors are handed on, results given away. */
#include "surprisal.h"

#include <stdlib.h>
#include <string.h>

#include "eval/bench_report.h"
#include "eval/evaluate.h"
#include "eval/input.h"
#include "eval/inspect.h"
#include "eval/text.h"
#include "eval/trace.h"
#include "tokenizer/tokenizer.h"

/* The public error is the inner one under a name of its own; false either way for `return`. */
static bool tell(struct surprisal_error *out, bool ok, const struct error *err)
{
    _Static_assert(sizeof out->message == ERROR_MESSAGE_BYTES, "messages pass whole");
    if (!ok && out) {
        memcpy(out->message, err->message, sizeof out->message);
        out->interrupted = err->interrupted;
    }
    return ok;
}

const char *surprisal_version(void)
{
    return SURPRISAL_VERSION;
}

/* ---- tokenizer ----------------------------------------------------------- */

/* struct surprisal_tokenizer is never defined: a pointer to it is one to struct tokenizer. */

struct surprisal_tokenizer *surprisal_tokenizer_open(const char *path, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct tokenizer *t = tokenizer_open(path, &inner);
    tell(err, t != NULL, &inner);
    return (struct surprisal_tokenizer *)t;
}

void surprisal_tokenizer_close(struct surprisal_tokenizer *t)
{
    if (t)
        tokenizer_close((struct tokenizer *)t);
}

bool surprisal_tokenize(const struct surprisal_tokenizer *t, const char *text, size_t n_bytes,
                        int32_t **ids, size_t *n_ids, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return tell(err, tokenizer_encode((const struct tokenizer *)t, text, n_bytes, ids, n_ids, &inner),
                &inner);
}

/* Gives the buffer's bytes; an empty one has none yet. */
static bool give(struct buffer *b, bool ok, char **text, size_t *n_bytes, struct error *err)
{
    ok = ok && buffer_append(b, "", 0, err);
    if (!ok) {
        buffer_free(b);
        return false;
    }
    *text = b->data;
    if (n_bytes)
        *n_bytes = b->size;
    return true;
}

bool surprisal_detokenize(const struct surprisal_tokenizer *t, const int32_t *ids, size_t n_ids,
                          char **text, size_t *n_bytes, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer b = { 0 };
    bool ok = tokenizer_decode((const struct tokenizer *)t, ids, n_ids, &b, &inner);
    return tell(err, give(&b, ok, text, n_bytes, &inner), &inner);
}

/* ---- inputs --------------------------------------------------------------- */

bool surprisal_read_text(const char *path, enum surprisal_join join, char **text, size_t *n_bytes,
                         struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer b = { 0 };
    bool ok = text_read(&b, path, join, &inner);
    return tell(err, give(&b, ok, text, n_bytes, &inner), &inner);
}

bool surprisal_read_ids(const char *path, int32_t **ids, size_t *n_ids, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return tell(err, input_read_ids(path, ids, n_ids, NULL, &inner), &inner);
}

/* ---- evaluation ----------------------------------------------------------- */

struct surprisal_eval_options surprisal_eval_defaults(void)
{
    return (struct surprisal_eval_options){
        .protocol = SURPRISAL_DISJOINT, .context = 2048, .prefix_id = -1,
    };
}

bool surprisal_eval_check(const struct surprisal_eval_options *options, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return tell(err, evaluate_check(options, &inner), &inner);
}

bool surprisal_eval(const struct surprisal_eval_options *options, struct surprisal_result *result,
                    struct surprisal_error *err)
{
    struct error inner = { 0 };
    *result = (struct surprisal_result){ 0 };
    return tell(err, evaluate(options, result, &inner), &inner);
}

void surprisal_result_free(struct surprisal_result *result)
{
    free(result->summary_json);
    *result = (struct surprisal_result){ 0 };
}

/* ---- looking inside ------------------------------------------------------- */

/* Gives the result as JSON and as text, where they are wanted; `found` is gone afterwards. */
static bool give_both(cJSON *found, struct buffer *b, bool ok, char **json, char **text,
                      struct error *err)
{
    char *print = ok && json ? cJSON_Print(found) : NULL;
    cJSON_Delete(found);
    if (ok && json && !print)
        ok = error_set(err, "out of memory: the result as JSON");
    if (text)
        ok = give(b, ok, text, NULL, err);
    if (ok && json)
        *json = print;
    else
        cJSON_free(print);
    return ok;
}

static bool inspect(const char *checkpoint, char **json, char **text, struct error *err)
{
    cJSON *found = NULL;
    struct buffer b = { 0 };
    bool ok = inspect_checkpoint(&found, checkpoint, err)
           && (!text || inspect_text(&b, found, err));
    return give_both(found, &b, ok, json, text, err);
}

bool surprisal_inspect(const char *checkpoint, char **json, char **text, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return tell(err, inspect(checkpoint, json, text, &inner), &inner);
}

bool surprisal_bench(const struct surprisal_bench_options *options, char **json, char **text,
                     struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *found = NULL;
    struct buffer b = { 0 };
    bool ok = bench_report(json ? &found : NULL, text ? &b : NULL, options, &inner);
    return tell(err, give_both(found, &b, ok, json, text, &inner), &inner);
}

bool surprisal_trace(const struct surprisal_trace_options *options, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return tell(err, trace(options, &inner), &inner);
}
