#include "server/forced.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool forced_add(struct forced_words *f, const struct tokenizer *t, const char *text, size_t n,
                struct workspace *w, struct error *err)
{
    int32_t *ids;
    size_t n_ids;
    if (!tokenizer_encode(t, text, n, &ids, &n_ids, err))
        return false;
    struct request_word *words = workspace_take(w, (f->n + 1) * sizeof *words, err);
    char *copy = words ? workspace_copy(w, (const char *)ids, n_ids * sizeof *ids, err) : NULL;
    free(ids);
    if (!copy)
        return false;
    if (f->n)
        memcpy(words, f->words, f->n * sizeof *words);
    words[f->n] = (struct request_word){ (const int32_t *)copy, n_ids };
    *f = (struct forced_words){ words, f->n + 1 };
    return true;
}

/* Does the word go on after these ids? */
static bool is_alive(const struct request_word *word, const int32_t *ids, size_t n)
{
    return n < word->n && (n == 0 || memcmp(word->ids, ids, n * sizeof *ids) == 0);
}

void forced_mask(const struct forced *f, float *logits, const float *raw, size_t vocab_size,
                 const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < vocab_size; i++)
        logits[i] = -INFINITY;
    for (size_t i = 0; i < f->words->n; i++) {
        const struct request_word *word = &f->words->words[i];
        if (is_alive(word, ids + f->begin, n - f->begin))
            logits[word->ids[n - f->begin]] = raw[word->ids[n - f->begin]];
    }
}

void forced_go_on(struct forced *f, const int32_t *ids, size_t n)
{
    bool alive = false;
    for (size_t i = 0; f->words && i < f->words->n; i++)
        alive = alive || is_alive(&f->words->words[i], ids + f->begin, n - f->begin);
    if (!alive)
        f->words = NULL;
}
