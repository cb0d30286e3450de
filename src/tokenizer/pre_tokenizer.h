/* pre_tokenizer.h - cuts normalized text into the words that BPE encodes one by one.
 *
 * Supported: Split (by regular expression or string, all five behaviours, inverted or not) and
 * ByteLevel, which must come last: it maps the text to another alphabet, and here that is part of
 * BPE. */
#ifndef SURPRISAL_TOKENIZER_PRE_TOKENIZER_H
#define SURPRISAL_TOKENIZER_PRE_TOKENIZER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/pattern.h"

/* What to do with the matches (SplitDelimiterBehavior in `tokenizers`). */
enum split_behavior {
    SPLIT_ISOLATED,                 /* each match is a piece                     */
    SPLIT_REMOVED,                  /* matches are dropped                       */
    SPLIT_MERGED_WITH_PREVIOUS,     /* a match ends the piece before it          */
    SPLIT_MERGED_WITH_NEXT,         /* a match starts the piece after it         */
    SPLIT_CONTIGUOUS                /* neighbouring matches are one piece        */
};

struct pre_tokenizer_stage {
    bool prefix_space;              /* a piece gets a space in front if it has none */
    struct pattern *pattern;        /* owned; NULL: no splitting */
    enum split_behavior behavior;
    bool invert;                    /* matches and the text between them change roles */
};

struct pre_tokenizer {
    struct pre_tokenizer_stage *stages;     /* each splits every piece of the one before */
    size_t n, capacity;
};

/* Reads the "pre_tokenizer" of a tokenizer.json.  Free it after a failure, too. */
bool pre_tokenizer_load(struct pre_tokenizer *z, const cJSON *json, const char *path,
                        struct error *err);
void pre_tokenizer_free(struct pre_tokenizer *z);

/* One thread's buffers, and the callback that receives the words.  Its bytes are valid during the
 * call. */
struct pre_tokenizer_run {
    const struct pre_tokenizer *pre_tokenizer;
    struct pattern_scratch *matching;           /* owned */
    struct buffer subject, prefixed_text, prefixed_subject;
    bool (*word)(void *user, const char *word, size_t n, struct error *err);
    void *user;
};
bool pre_tokenizer_run_init(struct pre_tokenizer_run *r, const struct pre_tokenizer *z,
                            struct error *err);
void pre_tokenizer_run_free(struct pre_tokenizer_run *r);

/* Calls r->word for each word of the n bytes, none of them empty. */
bool pre_tokenizer_split(struct pre_tokenizer_run *r, const char *text, size_t n,
                         struct error *err);

#endif
