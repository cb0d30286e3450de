#include "decode/request.h"

#include <stdlib.h>

struct request *request_new(const struct scheduler_request *given, const struct prefix_cache *cache,
                            struct error *err)
{
    struct request *r = mem_array(1, sizeof *r, "a request", err);
    if (!r)
        return NULL;
    r->given = *given;
    if (!given->cache_salt)
        r->given.cache_salt = "";
    r->next_row = given->n_prompt - 1;
    if (given->prompt_logits)
        r->next_row = size_min(r->next_row, given->first_logits);
    prefix_cache_places(cache, r->places, given->prompt, given->n_prompt);
    return r;
}

void request_free(struct request *r)
{
    free(r->answer);
    free(r);
}

void request_end(struct request *r, enum scheduler_end end)
{
    r->is_over = true;
    r->end = end;
}

bool request_decodes(const struct request *r)
{
    return r->state->n_past >= r->given.n_prompt;
}

size_t request_piece_end(const struct request *r, size_t most)
{
    size_t at = r->state->n_past, end = at + size_min(most, r->given.n_prompt - at);
    for (size_t i = 0; i < PREFIX_CACHE_PLACES; i++)
        if (r->places[i] > at)
            end = size_min(end, r->places[i]);
    return end;
}

bool request_give_rows(struct request *r, size_t n, float *logits, struct error *err)
{
    if (!r->given.prompt_logits(r->given.user, r->next_row, n, logits, &r->err)) {
        request_end(r, SCHEDULER_FAILED);
        *err = r->err;
        return false;
    }
    r->next_row += n;
    return true;
}

/* A token that is to be decoded next. */
static bool add(struct request *r, int32_t id, size_t vocab_size, size_t context)
{
    size_t position = r->given.n_prompt + r->n_answer;
    if (position >= context)
        return error_set(&r->err, "token %zu is beyond the context of %zu", position, context);
    if (id < 0 || (size_t)id >= vocab_size)
        return error_set(&r->err, "the answer has id %d, the vocabulary has %zu", (int)id,
                         vocab_size);
    if (!mem_grow(&r->answer, &r->answer_capacity, r->n_answer + 1, sizeof *r->answer,
                  "the answer", &r->err))
        return false;
    r->answer[r->n_answer++] = id;
    return true;
}

bool request_choose(struct request *r, float *logits, size_t vocab_size, size_t context)
{
    int32_t id = -1;
    bool more = true;
    size_t position = r->given.n_prompt + r->n_answer;
    bool ok = r->given.choose(r->given.user, logits, position, &id, &more, &r->err);
    r->chosen = id;
    if (ok && !more)
        request_end(r, SCHEDULER_DONE);
    else if (!ok || !add(r, id, vocab_size, context))
        request_end(r, SCHEDULER_FAILED);
    return ok && id >= 0;
}
