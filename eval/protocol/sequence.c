#include "eval/protocol/sequence.h"

#include <stdlib.h>
#include <string.h>

static bool append_document(struct sequence *s, const struct input *in, size_t document,
                            const struct surprisal_protocol_plan *plan, int32_t prefix_id,
                            struct error *err)
{
    size_t begin = document ? in->document_ends[document - 1] : 0;
    size_t n = in->document_ends[document] - begin, base = s->n_ids, windows_before = s->windows.n;
    bool rolling = plan->protocol == SURPRISAL_ROLLING;
    if (rolling && n == 0)
        return true;
    if (rolling)
        s->ids[s->n_ids++] = prefix_id;
    memcpy(s->ids + s->n_ids, in->ids + begin, n * sizeof *s->ids);
    s->n_ids += n;
    if (!protocol_windows(&s->windows, plan->protocol, base, s->n_ids - base, plan->context,
                          plan->stride, err))
        return false;
    size_t *grown = realloc(s->prefixes, s->windows.n * sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory: %zu windows", s->windows.n);
    s->prefixes = grown;
    for (size_t w = windows_before; w < s->windows.n; w++)
        s->prefixes[w] = s->n_ids - in->document_ends[document];
    return true;
}

size_t sequence_document(const struct sequence *s, size_t window)
{
    return s->prefixes[window] - 1;
}

bool sequence_make(struct sequence *s, const struct input *in,
                   const struct surprisal_protocol_plan *plan, int32_t prefix_id,
                   size_t max_windows, struct error *err)
{
    *s = (struct sequence){ 0 };
    size_t most;
    bool ok = (size_sum(&most, in->n_ids, in->n_documents) && most <= INT32_MAX)
           || error_set(err, "%zu tokens are more than %d", in->n_ids, INT32_MAX);
    if (ok)
        s->ids = mem_array(most, sizeof *s->ids, "token ids", err);
    ok = s->ids != NULL;
    for (size_t i = 0; ok && i < in->n_documents; i++)
        ok = append_document(s, in, i, plan, prefix_id, err);
    if (ok && max_windows && max_windows < s->windows.n)
        s->windows.n = max_windows;
    if (ok && windows_scored(&s->windows) == 0)
        ok = error_set(err, "the windows hold no token to score");
    if (ok)
        return true;
    sequence_free(s);
    return error_prefix(err, "%s: ", in->path);
}

void sequence_free(struct sequence *s)
{
    free(s->ids);
    windows_free(&s->windows);
    free(s->prefixes);
    *s = (struct sequence){ 0 };
}
