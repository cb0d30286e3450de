/* prefix.h - the token that rolling puts before a document: by lm-evaluation-harness's rule, the
 * tokenizer's bos_token, else its eos_token.
 *
 * Source: HFLM.prefix_token_id (lm_eval/models/huggingface.py).  transformers has both tokens from
 * tokenizer_config.json beside tokenizer.json.  Where that file is missing or names neither, the
 * config's eos_token_id is taken. */
#ifndef SURPRISAL_EVAL_PROTOCOL_PREFIX_H
#define SURPRISAL_EVAL_PROTOCOL_PREFIX_H

#include "formats/checkpoint.h"
#include "tokenizer/tokenizer.h"

/* Zero-initialise; release with prefix_free. */
struct prefix {
    int32_t id;
    char *token;                        /* owned: its text; NULL: not known */
    char *source;                       /* owned: "eos_token of DIR/tokenizer_config.json" */
};

/* tokenizer: the path of the tokenizer.json, or of its folder; a file need not be there.  t: the
 * tokenizer, NULL if it is not open: it is opened when a text has to become an id.  Nothing to free
 * after a failure. */
bool prefix_default(struct prefix *p, const char *tokenizer, const struct tokenizer *t,
                    const struct checkpoint *ck, struct error *err);
/* The one with this id.  t NULL: without its text. */
bool prefix_given(struct prefix *p, int32_t id, const struct tokenizer *t, struct error *err);
void prefix_free(struct prefix *p);

/* Gives the path of the tokenizer_config.json beside a tokenizer. */
char *prefix_config_path(const char *tokenizer, struct error *err);

#endif
