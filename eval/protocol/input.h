/* input.h - reads the text or ids to evaluate: token ids, and the digest and sizes of the file. */
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
    bool is_text;                       /* false: a file of ids */
    int32_t *ids;                       /* owned [n_ids]; one document after another */
    size_t n_ids, capacity;
    size_t *document_ends;              /* owned [n_documents]: ends in ids; the last is n_ids */
    size_t n_documents, documents_capacity;
    struct digest ids_digest;           /* of all ids, I32 in little-endian order */
    struct digest digest;               /* of the text after the join, or of the ids file */
    size_t bytes;                       /* of the digested bytes, or of the documents */
    size_t words;                       /* text only; of it, or of the documents */
    /* Of a text, what is easily overlooked and gives another result: */
    bool has_crlf;                      /* lines end in CR LF */
    bool has_mark;                      /* it begins with a byte order mark */
};

/* Reads the text or ids that the options name, and splits a text into documents if the task does.
 * t is NULL for ids.  Every id is checked against the checkpoint's vocabulary; empty input is an
 * error. */
bool input_read(struct input *in, const struct surprisal_eval_options *o, enum surprisal_task task,
                const struct tokenizer *t, const struct checkpoint *ck, struct error *err);
void input_free(struct input *in);

/* Reads a file of ids.  bytes (may be NULL): gets the content, owned by the caller.  *ids: given
 * (free). */
bool input_read_ids(const char *path, int32_t **ids, size_t *n_ids, struct buffer *bytes,
                    struct error *err);
/* Refuses ids outside the checkpoint's vocabulary: the error names the first one and `path`. */
bool input_check_ids(const int32_t *ids, size_t n_ids, const char *path,
                     const struct checkpoint *ck, struct error *err);

#endif
