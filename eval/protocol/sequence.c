#include "eval/protocol/sequence.h"

#include <stdlib.h>
#include <string.h>

static bool append_document(struct sequence *s, const struct input *in, size_t document,
                            const struct surprisal_protocol_plan *plan, int32_t prefix_id,
                            struct error *err)
{
    size_t begin = document ? in->document_ends[document - 1] : 0;
    size_t n = in->document_ends[document] - begin, base = s->n_ids, windows_before = s->all.n;
    bool rolling = plan->protocol == SURPRISAL_ROLLING;
    if (rolling && n == 0)
        return true;
    if (rolling)
        s->ids[s->n_ids++] = prefix_id;
    memcpy(s->ids + s->n_ids, in->ids + begin, n * sizeof *s->ids);
    s->n_ids += n;
    if (!protocol_windows(&s->all, plan->protocol, base, s->n_ids - base, plan->context,
                          plan->stride, err))
        return false;
    size_t *grown = realloc(s->prefixes, s->all.n * sizeof *grown);
    if (!grown)
        return error_set(err, "out of memory: %zu windows", s->all.n);
    s->prefixes = grown;
    for (size_t w = windows_before; w < s->all.n; w++)
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
    if (ok && max_windows && max_windows < s->all.n)
        s->all.n = max_windows;
    s->windows = s->all;
    if (ok && windows_scored(&s->windows) == 0)
        ok = error_set(err, "the windows hold no token to score");
    if (ok)
        return true;
    sequence_free(s);
    return error_prefix(err, "%s: ", in->path);
}

/* Tokens that go through the layers for windows [begin, end). */
static size_t tokens_of(const struct sequence *s, size_t begin, size_t end)
{
    const struct windows w = { .list = s->all.list + begin, .n = end - begin };
    return windows_model_tokens(&w);
}

size_t sequence_most_parts(const struct sequence *s)
{
    const struct engine_window *last = &s->all.list[s->all.n - 1];
    return s->all.n - (last->first == last->end);   /* the last one of strided may score nothing */
}

bool sequence_take_part(struct sequence *s, const struct surprisal_part *part, struct error *err)
{
    size_t n = sequence_most_parts(s), begin = 0, end = 0, tokens = 0;
    if (part->of > n)
        return error_set(err, "%zu windows cannot be divided into %zu parts", n, part->of);
    size_t total = tokens_of(s, 0, n);
    for (size_t i = 1; i <= part->index; i++) {
        size_t most = n - (part->of - i);       /* one window at least for each part that follows */
        begin = end;
        while (end < most && (end == begin || tokens * part->of < total * i)) {
            tokens += tokens_of(s, end, end + 1);
            end++;
        }
    }
    if (part->index == part->of)
        end = s->all.n;
    s->first_window = begin;
    s->windows = (struct windows){ .list = s->all.list + begin, .n = end - begin };
    return true;
}

void sequence_free(struct sequence *s)
{
    free(s->ids);
    windows_free(&s->all);
    free(s->prefixes);
    *s = (struct sequence){ 0 };
}
