/* input.h - from the file that is evaluated to token ids, and what names and measures it. */
#ifndef SURPRISAL_EVAL_PROTOCOL_INPUT_H
#define SURPRISAL_EVAL_PROTOCOL_INPUT_H

#include "base/digest.h"
#include "base/memory.h"
#include "formats/checkpoint.h"
#include "surprisal.h"
#include "tokenizer/tokenizer.h"

/* Zero-initialise; release with input_free. */
struct input {
    const char *path;                   /* borrowed from the options */
    bool is_text;                       /* else a file of ids */
    int32_t *ids;                       /* owned [n_ids]; documents follow one another */
    size_t n_ids, capacity;
    size_t *document_ends;              /* owned [n_documents]: ends in ids, the last is n_ids */
    size_t n_documents, documents_capacity;
    struct digest digest;               /* of the text after the join; of the bytes of an ids file */
    size_t bytes;                       /* of what was digested; of the documents when split */
    size_t words;                       /* text only; of the documents when split */
    bool has_crlf;                      /* text only: lines end in CR LF, which changes the result */
};

/* Reads the text or ids that the options name, as the task has them.  t is NULL for ids.  Every id is
 * checked against the checkpoint's vocabulary; empty input is an error. */
bool input_read(struct input *in, const struct surprisal_eval_options *o, enum surprisal_task task,
                const struct tokenizer *t, const struct checkpoint *ck, struct error *err);
void input_free(struct input *in);

/* Reads a file of ids; bytes (may be NULL): what stands in it, owned by the caller.
 * *ids: given (free). */
bool input_read_ids(const char *path, int32_t **ids, size_t *n_ids, struct buffer *bytes,
                    struct error *err);
/* Names the first id outside the checkpoint's vocabulary and where it came from. */
bool input_check_ids(const int32_t *ids, size_t n_ids, const char *path,
                     const struct checkpoint *ck, struct error *err);

#endif
