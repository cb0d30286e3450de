/* word_lists.h - short lists of numbers, each kept once and known by a number of its own. */
#ifndef SURPRISAL_GRAMMAR_WORD_LISTS_H
#define SURPRISAL_GRAMMAR_WORD_LISTS_H

#include <stdint.h>

#include "base/memory.h"

#define WORD_LISTS_FAILED UINT32_MAX

/* Zero-initialise; owns everything; release with word_lists_free. */
struct word_lists {
    uint32_t *words;            /* of all lists, one after another */
    size_t n_words, words_capacity;
    uint32_t *begin;            /* [n + 1]: where a list begins and the next */
    size_t n, begin_capacity;
    uint32_t *slots;            /* of an open hash table: number + 1; 0: free */
    size_t mask;
};

/* The number of this list: 0, 1, ... in the order in which they first came.  WORD_LISTS_FAILED when
 * memory is out. */
uint32_t word_lists_number(struct word_lists *l, const uint32_t *words, size_t n,
                           struct error *err);
/* Sorts n words and drops those that occur again; gives how many are left. */
size_t word_lists_sort(uint32_t *words, size_t n);
void word_lists_free(struct word_lists *l);
size_t word_lists_bytes(const struct word_lists *l);

/* The words of a list, valid until the next list comes, and how many. */
static inline const uint32_t *word_lists_get(const struct word_lists *l, uint32_t i)
{
    return l->words + l->begin[i];
}

static inline uint32_t word_lists_length(const struct word_lists *l, uint32_t i)
{
    return l->begin[i + 1] - l->begin[i];
}

#endif
