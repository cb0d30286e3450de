/* names.h - tensors of the text model whose names stand after another prefix than the model's own.
 *
 * The names are `model.language_model.X` or `model.X`, and `lm_head` (FORMATS).  Tools write
 * others: `language_model.model.X` and `language_model.lm_head` (MLX), `model.language_model.
 * language_model.language_model.X` (transformers 5 at times), `module.model.X` (a trainer's
 * wrapper), or no prefix.  A prefix is found by the embedding behind it.  If there is one alone,
 * and none of the model's own, its tensors get the names of the model, so that nothing else need
 * know the prefix; with two nothing is translated, and binding refuses the checkpoint. */
#ifndef SURPRISAL_FORMATS_NAMES_H
#define SURPRISAL_FORMATS_NAMES_H

#include "formats/checkpoint.h"

#define NAMES_MULTIMODAL "model.language_model."
#define NAMES_TEXT "model."

/* After the reader has opened its files, before the tensors are sorted.  A translation is a note of
 * the checkpoint. */
bool names_translate(struct checkpoint *ck, const struct checkpoint_faults *faults,
                     struct error *err);
/* Gives the name that a module of the model has in the files; *out NULL where it is the same. */
bool names_in_files(char **out, const struct checkpoint *ck, const char *module, struct error *err);
/* Appends names that are there, embeddings first, for the message that the model's are not.
 * Returns text. */
const char *names_shown(const struct checkpoint *ck, char *text, size_t n);

#endif
