#include "generate/continuation.h"

#include <stdlib.h>

void continuation_init(struct continuation *a, const struct continuation_limits *limits)
{
    *a = (struct continuation){ .limits = *limits, .end_id = -1,
                          .characters = { .tokenizer = limits->tokenizer } };
    stop_text_init(&a->text, limits->stop, limits->n_stop);
    a->text.keep = limits->keep_stop;
}

void continuation_free(struct continuation *a)
{
    free(a->ids);
    free(a->logprobs);
    token_text_free(&a->characters);
    stop_text_free(&a->text);
    buffer_free(&a->fresh);
}

static bool is_among(int32_t id, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

void continuation_stop(struct continuation *a, enum surprisal_finish finish)
{
    if (!a->finished)
        a->finish = finish;
    a->finished = true;
}

/* Special tokens are framing, and not text, unless they are wanted. */
static bool add_text(struct continuation *a, int32_t id, struct error *err)
{
    const struct tokenizer *t = a->limits.tokenizer;
    if (!t || !tokenizer_has_token(t, id)
        || (tokenizer_is_special(t, id) && !a->limits.keep_special))
        return true;
    a->fresh.size = 0;
    return token_text_add(&a->characters, id, &a->fresh, err)
        && stop_text_add(&a->text, a->fresh.data, a->fresh.size, err);
}

bool continuation_add(struct continuation *a, const struct sampler_choice *choice,
                      struct error *err)
{
    if (!mem_grow(&a->ids, &a->ids_capacity, a->n + 1, sizeof *a->ids, "the answer", err)
        || !mem_grow(&a->logprobs, &a->logprobs_capacity, a->n + 1, sizeof *a->logprobs,
                     "the answer", err))
        return false;
    a->ids[a->n] = choice->id;
    a->logprobs[a->n++] = choice->logprob;
    a->text.waits = a->n <= a->limits.min_tokens;
    bool ends = !a->text.waits && is_among(choice->id, a->limits.end_ids, a->limits.n_end_ids);
    bool stops = !a->text.waits && is_among(choice->id, a->limits.stop_ids, a->limits.n_stop_ids);
    if (ends || stops) {
        a->end_id = choice->id;
        continuation_stop(a, SURPRISAL_FINISH_STOP);
    }
    if (ends || (stops && !a->limits.keep_stop))
        return true;
    if (!add_text(a, choice->id, err))
        return false;
    if (continuation_stop_text(a))
        continuation_stop(a, SURPRISAL_FINISH_STOP);
    if (a->n == a->limits.max_tokens)
        continuation_stop(a, a->limits.at_most);
    return true;
}

bool continuation_end(struct continuation *a, struct error *err)
{
    a->fresh.size = 0;
    if (!continuation_stop_text(a)
        && (!token_text_end(&a->characters, &a->fresh, err)
            || !stop_text_add(&a->text, a->fresh.data, a->fresh.size, err)))
        return false;
    stop_text_end(&a->text);
    return buffer_append(&a->text.text, "", 0, err);
}

const char *continuation_news(struct continuation *a, size_t *n)
{
    const char *news = a->text.text.data ? a->text.text.data + a->given : "";
    *n = a->text.released - a->given;
    a->given = a->text.released;
    return news;
}

const char *continuation_stop_text(const struct continuation *a)
{
    return a->text.found < a->text.n ? a->text.texts[a->text.found] : NULL;
}
