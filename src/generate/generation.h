/* generation.h - a checkpoint that is ready to answer: its model, tokenizer, sampling and decoder,
 * and the state of one sequence; one prompt after another.
 *
 * Where prompts have a beginning in common, its state need not be computed again.  The state of
 * delta nets cannot be cut back, so a snapshot is kept (decode/snapshot.h), made by prefill alone
 * and at a multiple of DELTA_CHUNK tokens: answers then have the bits of a cold start.  It stands
 * before the prompt's last <|im_start|>: what follows, the next prompt may have otherwise. */
#ifndef SURPRISAL_GENERATE_GENERATION_H
#define SURPRISAL_GENERATE_GENERATION_H

#include "decode/decoder.h"
#include "decode/snapshot.h"
#include "eval/score/model.h"
#include "formats/generation_config.h"
#include "generate/answer_reader.h"
#include "generate/continuation.h"
#include "generate/drafting.h"

/* Zero-initialise; the members borrow from one another, so the struct stays where it is. */
struct generation {
    const struct surprisal_generate_options *o;     /* borrowed */
    struct model model;
    struct input_files inputs;
    struct generation_config publisher;     /* what the checkpoint's publisher wants */
    struct error no_text;                   /* why the model has no tokenizer */
    size_t context;                         /* of the model; 0: unknown */
    struct sampler_settings sampling;
    struct sampler_bias *bias;              /* owned */
    struct kv_pool pool;
    struct sequence_state state;            /* in the pool */
    struct decoder *decoder;
    struct drafting drafting;
    struct surprisal_generate_plan plan;    /* once memory is reserved */
    /* Of a chat; without memory in the others: */
    struct snapshot snapshot;
    int32_t *kept;                          /* owned [snapshot.n_past]: its tokens */
    size_t kept_capacity;
    int32_t turn_id;                        /* of <|im_start|>; -1: there is none */
};

/* One prompt and its answer.  Zero-initialise. */
struct turn {
    const int32_t *prompt;                  /* [n_prompt]: borrowed */
    size_t n_prompt, n_cached;
    struct continuation answer;             /* owned */
    struct answer_reader *reader;           /* borrowed; NULL: the answer is plain text */
    uint64_t seed;                          /* that was drawn with */
    double prefill_seconds, decode_seconds;
    bool json_line;                         /* the result's JSON is one line */
};

/* Refuses options that are out of range; touches no file. */
bool generation_check(const struct surprisal_generate_options *o, struct error *err);
/* Opens the checkpoint and what belongs to it. */
bool generation_open(struct generation *g, const struct surprisal_generate_options *o,
                     struct error *err);
void generation_close(struct generation *g);

/* How keys and values are kept, as the options say. */
enum dtype generation_kv_dtype(const struct surprisal_generate_options *o);
/* The model's engine, with the MTP layer if drafts are wanted. */
bool generation_open_engine(struct generation *g, struct error *err);
/* Takes the memory for sequences of up to `capacity` tokens, with a snapshot or without, and tells
 * the plan. */
bool generation_reserve(struct generation *g, size_t capacity, bool with_snapshot,
                        struct error *err);
/* Refuses ids outside the vocabulary, none at all, and as many as fill the context.  name: what the
 * message calls them. */
bool generation_check_prompt(const struct generation *g, const char *name, const int32_t *ids,
                             size_t n, struct error *err);
/* Begins the answer, of as many tokens as the options say, else the publisher, else `otherwise`;
 * fewer if the context has no room for them. */
void generation_begin(const struct generation *g, struct turn *t, size_t otherwise);
/* Runs the prompt and the answer to its end. */
bool generation_run(struct generation *g, struct turn *t, struct error *err);

#endif
