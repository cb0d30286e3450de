/* pre_tokenizer.h - cuts normalized text into the words that BPE encodes one by one.
 *
 * Supported: Split (by regular expression or string, all five behaviours, inverted or not) and
 * ByteLevel, which must come last: it maps the text to another alphabet, which here happens
 * within BPE. */
#ifndef SURPRISAL_TOKENIZER_PRE_TOKENIZER_H
#define SURPRISAL_TOKENIZER_PRE_TOKENIZER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/pattern.h"

/* What becomes of the matches (SplitDelimiterBehavior in `tokenizers`). */
enum split_behavior {
    SPLIT_ISOLATED,                 /* each match is a piece                     */
    SPLIT_REMOVED,                  /* matches are dropped                       */
    SPLIT_MERGED_WITH_PREVIOUS,     /* a match ends the piece before it          */
    SPLIT_MERGED_WITH_NEXT,         /* a match starts the piece behind it        */
    SPLIT_CONTIGUOUS                /* neighbouring matches are one piece        */
};

struct pre_tokenizer_stage {
    bool prefix_space;              /* a piece that does not start with a space gets one */
    struct pattern *pattern;        /* owned; NULL: no splitting */
    enum split_behavior behavior;
    bool invert;                    /* what lies between the matches counts as match */
};

struct pre_tokenizer {
    struct pre_tokenizer_stage *stages;     /* each applied to every piece of the one before */
    size_t n, capacity;
};

/* Reads the "pre_tokenizer" of a tokenizer.json.  On failure too it is to be freed. */
bool pre_tokenizer_load(struct pre_tokenizer *z, const cJSON *json, const char *path,
                        struct error *err);
void pre_tokenizer_free(struct pre_tokenizer *z);

/* One thread's buffers, and where the words go.  The callback's bytes are valid during the call. */
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
