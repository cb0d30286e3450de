/* gguf_tokenizer.h - a tokenizer.json and a tokenizer_config.json made of a GGUF's metadata.
 *
 * A GGUF has tokens, their types and merges, but of pre-tokenizer and normalizer only a name that
 * stands for them (llama.cpp, llama-vocab.cpp).  "qwen35" is the pattern below and no normalizer,
 * where the model's own tokenizer.json has NFC: texts that NFC changes get other ids. */
#ifndef SURPRISAL_TOKENIZER_GGUF_TOKENIZER_H
#define SURPRISAL_TOKENIZER_GGUF_TOKENIZER_H

#include "base/gguf.h"
#include "base/memory.h"

#define GGUF_TOKENIZER_PRE "qwen35"
#define GGUF_TOKENIZER_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|" \
    " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Appends the text of tokenizer.json; */
bool gguf_tokenizer_text(struct buffer *out, const struct gguf *g, struct error *err);
/* of tokenizer_config.json: chat_template, bos_token, eos_token and pad_token, where the file at
 * path has them. */
bool gguf_tokenizer_config(struct buffer *out, const char *path, struct error *err);

#endif
