/* verify_tokens.h - the tokens of a file that holds its own tokenizer, beside the original's. */
#ifndef SURPRISAL_VERIFY_VERIFY_TOKENS_H
#define SURPRISAL_VERIFY_VERIFY_TOKENS_H

#include "verify/verify_folder.h"

/* Id by id: which there are, their bytes, and which are added tokens.  Which of them are special
 * is not compared: converters guess it by the text.  An original without a tokenizer is passed
 * over. */
bool verify_tokens(const struct verify_folder *f, const struct verify_folder *original,
                   struct findings *found, struct error *err);

#endif
