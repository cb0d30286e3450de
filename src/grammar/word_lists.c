#include "grammar/word_lists.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const uint32_t *words, size_t n)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ n;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ words[i]) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    return h;
}

static void put(uint32_t *slots, size_t mask, uint64_t hash, uint32_t number)
{
    size_t at = hash & mask;
    while (slots[at])
        at = (at + 1) & mask;
    slots[at] = number + 1;
}

/* Keeps the table at most half full. */
static bool widen(struct word_lists *l, struct error *err)
{
    if (l->slots && 2 * (l->n + 1) <= l->mask)
        return true;
    size_t mask = l->slots ? 2 * l->mask + 1 : 255;
    uint32_t *slots = mem_array(mask + 1, sizeof *slots, "automaton", err);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < l->n; i++)
        put(slots, mask, hash_of(word_lists_get(l, i), word_lists_length(l, i)), i);
    free(l->slots);
    l->slots = slots;
    l->mask = mask;
    return true;
}

uint32_t word_lists_number(struct word_lists *l, const uint32_t *words, size_t n,
                           struct error *err)
{
    if (l->n_words + n >= UINT32_MAX) {
        error_set(err, "the automaton is too large");
        return WORD_LISTS_FAILED;
    }
    if (!widen(l, err))
        return WORD_LISTS_FAILED;
    uint64_t hash = hash_of(words, n);
    for (size_t at = hash & l->mask; l->slots[at]; at = (at + 1) & l->mask) {
        uint32_t i = l->slots[at] - 1;
        if (word_lists_length(l, i) == n
            && (n == 0 || memcmp(word_lists_get(l, i), words, n * sizeof *words) == 0))
            return i;
    }
    if (!mem_grow(&l->words, &l->words_capacity, l->n_words + n + 1, sizeof *l->words, "automaton",
                  err)
        || !mem_grow(&l->begin, &l->begin_capacity, l->n + 2, sizeof *l->begin, "automaton", err))
        return WORD_LISTS_FAILED;
    if (n)
        memcpy(l->words + l->n_words, words, n * sizeof *words);
    uint32_t number = (uint32_t)l->n++;
    l->begin[number] = (uint32_t)l->n_words;
    l->n_words += n;
    l->begin[number + 1] = (uint32_t)l->n_words;
    put(l->slots, l->mask, hash, number);
    return number;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

size_t word_lists_sort(uint32_t *words, size_t n)
{
    size_t kept = 0;
    if (n > 1)
        qsort(words, n, sizeof *words, by_number);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || words[kept - 1] != words[i])
            words[kept++] = words[i];
    return kept;
}

size_t word_lists_bytes(const struct word_lists *l)
{
    return (l->n_words + l->n + l->mask) * 4;
}

void word_lists_free(struct word_lists *l)
{
    free(l->words);
    free(l->begin);
    free(l->slots);
    *l = (struct word_lists){ 0 };
}
