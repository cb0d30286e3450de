/* generation_config.h - generation_config.json: how the publisher of a checkpoint wants it to be
 * sampled.
 *
 * Names as in transformers' GenerationConfig.  The same fields as in vLLM are read, and the two
 * penalties; do_sample is not one of them (vLLM samples whatever it says). */
#ifndef SURPRISAL_FORMATS_GENERATION_CONFIG_H
#define SURPRISAL_FORMATS_GENERATION_CONFIG_H

#include "formats/checkpoint.h"

/* NaN where the file says nothing; ranges are checked where the values are used.  Release with
 * generation_config_free, also after a failure. */
struct generation_config {
    double temperature, top_p, min_p;
    double presence_penalty, frequency_penalty, repetition_penalty;
    double top_k;                   /* a whole number; 0 or -1: off */
    size_t max_new_tokens;          /* 0: the file says nothing */
    int32_t *end_ids;               /* owned [n_end_ids]: each ends an answer */
    size_t n_end_ids;
};

/* The file beside config.json; a checkpoint may have none.  Ids that end an answer are those of
 * eos_token_id, else the config's.  A value of another type is refused by name. */
bool generation_config_read(struct generation_config *g, const struct checkpoint *ck,
                            struct error *err);
void generation_config_free(struct generation_config *g);

#endif
