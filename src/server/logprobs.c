#include "server/logprobs.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/byte_level.h"

/* ---- values ---------------------------------------------------------------------- */

static bool is_before(const float *logits, int32_t a, int32_t b)
{
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* best [k] in order: sift the ids through it, from the lowest. */
static void find_best(struct logprob *best, size_t k, const float *logits, size_t vocab_size)
{
    size_t n = 0;
    for (size_t i = 0; i < vocab_size; i++) {
        if (n == k && !(logits[i] > logits[best[k - 1].id]))
            continue;
        size_t at = n < k ? n++ : k - 1;
        for (; at > 0 && logits[i] > logits[best[at - 1].id]; at--)
            best[at] = best[at - 1];
        best[at].id = (int32_t)i;
    }
}

struct ranked {
    float logit;
    int32_t id;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->logit > y->logit ? -1 : x->logit < y->logit ? 1 : x->id < y->id ? -1 : 1;
}

/* The same where k is large. */
static bool sort_best(struct logprob *best, size_t k, const float *logits, size_t vocab_size,
                      struct error *err)
{
    struct ranked *all = mem_array(vocab_size, sizeof *all, "log-probabilities", err);
    if (!all)
        return false;
    for (size_t i = 0; i < vocab_size; i++)
        all[i] = (struct ranked){ logits[i], (int32_t)i };
    qsort(all, vocab_size, sizeof *all, compare_ranked);
    for (size_t i = 0; i < k; i++)
        best[i].id = all[i].id;
    free(all);
    return true;
}

static size_t rank_of(const float *logits, size_t vocab_size, int32_t id)
{
    size_t rank = 1;
    for (size_t i = 0; i < vocab_size; i++)
        rank += is_before(logits, (int32_t)i, id);
    return rank;
}

bool logprobs_add(struct logprobs *l, const float *logits, double logsumexp, size_t vocab_size,
                  int32_t id, struct error *err)
{
    size_t stride = 1 + l->k;
    if (!mem_grow(&l->items, &l->capacity, (l->n + 1) * stride, sizeof *l->items,
                  "log-probabilities", err))
        return false;
    struct logprob *entry = l->items + l->n * stride, *best = entry + 1;
    entry->id = id;
    entry->value = (double)logits[id] - logsumexp;
    entry->rank = rank_of(logits, vocab_size, id);
    if (l->k > 256 && !sort_best(best, l->k, logits, vocab_size, err))
        return false;
    if (l->k > 0 && l->k <= 256)
        find_best(best, l->k, logits, vocab_size);
    for (size_t i = 0; i < l->k; i++) {
        best[i].value = (double)logits[best[i].id] - logsumexp;
        best[i].rank = i + 1;
    }
    l->n++;
    return true;
}

const struct logprob *logprobs_entry(const struct logprobs *l, size_t i)
{
    return l->items + i * (1 + l->k);
}

void logprobs_free(struct logprobs *l)
{
    free(l->items);
    *l = (struct logprobs){ 0 };
}

/* ---- tokens as text ---------------------------------------------------------------- */

static bool token_bytes(struct buffer *b, const struct tokenizer *t, int32_t id, struct error *err)
{
    return !tokenizer_has_token(t, id) || tokenizer_token_bytes(t, id, false, b, err);
}

/* Bytes that are no character become U+FFFD; no token: nothing. */
static bool append_token(struct buffer *b, const struct logprobs_names *names, int32_t id,
                         struct error *err)
{
    struct buffer bytes = { 0 };
    if (names->as_ids)
        return buffer_printf(b, err, "token_id:%d", (int)id);
    bool ok = token_bytes(&bytes, names->tokenizer, id, err)
           && byte_level_append_lossy(b, bytes.data ? bytes.data : "", bytes.size, err);
    buffer_free(&bytes);
    return ok;
}

void logprobs_write_token(struct writer *w, const struct logprobs_names *names, int32_t id)
{
    struct buffer text = { 0 };
    w->ok = w->ok && append_token(&text, names, id, w->err);
    if (w->ok)
        writer_buffer(w, &text);
    buffer_free(&text);
}

/* ---- completions -------------------------------------------------------------------- */

void logprobs_write_values(struct writer *w, const struct logprobs *l, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        writer_print(w, i > begin ? "," : "");
        writer_logprob(w, logprobs_entry(l, i)->value);
    }
}

void logprobs_write_tokens(struct writer *w, const struct logprobs *l, size_t begin, size_t end,
                           const struct logprobs_names *names)
{
    for (size_t i = begin; i < end; i++) {
        writer_print(w, i > begin ? "," : "");
        logprobs_write_token(w, names, logprobs_entry(l, i)->id);
    }
}

/* One object: the token first, then the best; of two tokens with one text the larger value
 * stays. */
static void write_alternatives(struct writer *w, const struct logprob *entry, size_t k,
                               const struct logprobs_names *names)
{
    struct buffer *texts = mem_array(1 + k, sizeof *texts, "tokens", w->err);
    w->ok = w->ok && texts;
    for (size_t i = 0; w->ok && i <= k; i++)
        w->ok = append_token(&texts[i], names, entry[i].id, w->err)
             && buffer_append(&texts[i], "", 0, w->err);
    writer_print(w, "{");
    for (size_t i = 0; w->ok && i <= k; i++) {
        double value = entry[i].value;
        bool shown = false;
        for (size_t other = 0; other <= k; other++) {
            if (texts[i].size != texts[other].size
                || memcmp(texts[i].data, texts[other].data, texts[i].size) != 0)
                continue;
            shown = shown || other < i;
            value = entry[other].value > value ? entry[other].value : value;
        }
        if (shown)
            continue;
        writer_print(w, i ? "," : "");
        writer_buffer(w, &texts[i]);
        writer_print(w, ":");
        writer_logprob(w, value);
    }
    writer_print(w, "}");
    for (size_t i = 0; texts && i <= k; i++)
        buffer_free(&texts[i]);
    free(texts);
}

void logprobs_write_top(struct writer *w, const struct logprobs *l, size_t begin, size_t end,
                        const struct logprobs_names *names)
{
    for (size_t i = begin; i < end; i++) {
        writer_print(w, i > begin ? "," : "");
        write_alternatives(w, logprobs_entry(l, i), size_min(l->k, names->most), names);
    }
}

/* ---- chat, and prompts -------------------------------------------------------------- */

static void write_detail(struct writer *w, const struct logprob *p,
                         const struct logprobs_names *names)
{
    struct buffer bytes = { 0 };
    writer_print(w, "{\"token\":");
    logprobs_write_token(w, names, p->id);
    writer_print(w, ",\"logprob\":");
    writer_logprob(w, p->value);
    writer_print(w, ",\"bytes\":[");
    w->ok = w->ok && token_bytes(&bytes, names->tokenizer, p->id, w->err);
    for (size_t i = 0; i < bytes.size; i++)
        writer_print(w, i ? ",%d" : "%d", (unsigned char)bytes.data[i]);
    writer_print(w, "]");
    buffer_free(&bytes);
}

void logprobs_write_content(struct writer *w, const struct logprobs *l, size_t begin, size_t end,
                            const struct logprobs_names *names)
{
    writer_print(w, "[");
    for (size_t i = begin; i < end; i++) {
        const struct logprob *entry = logprobs_entry(l, i);
        writer_print(w, i > begin ? "," : "");
        write_detail(w, entry, names);
        writer_print(w, ",\"top_logprobs\":[");
        for (size_t k = 1; k <= size_min(l->k, names->most); k++) {
            writer_print(w, k > 1 ? "," : "");
            write_detail(w, &entry[k], names);
            writer_print(w, "}");
        }
        writer_print(w, "]}");
    }
    writer_print(w, "]");
}

static void write_ranked(struct writer *w, const struct logprob *p,
                         const struct logprobs_names *names)
{
    const struct logprobs_names as_text = { names->tokenizer, false, 0 };
    writer_print(w, "\"%d\":{\"logprob\":", (int)p->id);
    writer_logprob(w, p->value);
    writer_print(w, ",\"rank\":%zu,\"decoded_token\":", p->rank);
    logprobs_write_token(w, &as_text, p->id);
    writer_print(w, "}");
}

void logprobs_write_prompt(struct writer *w, const struct logprobs *l,
                           const struct logprobs_names *names)
{
    writer_print(w, "[null");
    for (size_t i = 0; i < l->n; i++) {
        const struct logprob *entry = logprobs_entry(l, i);
        writer_print(w, ",{");
        write_ranked(w, entry, names);
        for (size_t k = 1; k <= size_min(l->k, names->most); k++)
            if (entry[k].id != entry->id) {
                writer_print(w, ",");
                write_ranked(w, &entry[k], names);
            }
        writer_print(w, "}");
    }
    writer_print(w, "]");
}
