/* bpe_table.h - the table of merges, for bpe.c and bpe_load.c only. */
#ifndef SURPRISAL_TOKENIZER_BPE_TABLE_H
#define SURPRISAL_TOKENIZER_BPE_TABLE_H

#include "tokenizer/bpe.h"

#define BPE_NO_PAIR UINT64_MAX      /* not a pair: ids are not negative */

static inline uint64_t bpe_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of a pair, or the free one where it belongs. */
static inline struct bpe_merge *bpe_merge_slot(const struct bpe *b, uint64_t pair)
{
    size_t i = (size_t)vocabulary_hash_mix(pair) & b->mask;
    while (b->merges[i].pair != pair && b->merges[i].pair != BPE_NO_PAIR)
        i = (i + 1) & b->mask;
    return &b->merges[i];
}

#endif
