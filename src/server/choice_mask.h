/* choice_mask.h - which tokens may come next in a choice: those of the form that its request
 * demands (answer_form.h), of the end of thinking that is forced, of allowed_token_ids, bad_words
 * and min_tokens.
 *
 * Where the form is complete and the others leave nothing, the end tokens stay.  Behind an end
 * token that ends nothing (ignore_eos) only end tokens come. */
#ifndef SURPRISAL_SERVER_CHOICE_MASK_H
#define SURPRISAL_SERVER_CHOICE_MASK_H

#include "server/job.h"

/* When the sampler is there. */
bool choice_mask_open(struct choice *c, struct error *err);
/* Releases what it took, and counts its work. */
void choice_mask_close(struct choice *c);

/* Before a token is drawn, and then struct sampler_mask's: user is the choice. */
bool choice_mask_prepare(struct choice *c, struct error *err);
void choice_mask_apply(void *user, float *logits, size_t vocab_size);
/* After it. */
bool choice_mask_add(struct choice *c, int32_t id, struct error *err);
/* When a draw has failed: says so if it was for the request's own masks. */
void choice_mask_explain(struct choice *c);

#endif
