/* record.h - the folder of a finished run, read again: nothing in it is trusted that was not checked.
 *
 * What is checked: the summary's own digest, the digests of the columns (run_folder.h), their types
 * and shapes, that the rows are those of the protocol's windows in order, and that mean NLL and its
 * standard error, computed again from the columns, are the summary's (RECORD_TOLERANCE, as another
 * machine may have another exp).  So a folder that was cut short, edited, or put together from two
 * runs is refused, with file, found and expected.  One that an older version wrote has no digests and is refused for that.
 *
 * The columns are copies, so that what was checked is what is used; hidden states are a view. */
#ifndef SURPRISAL_EVAL_RUN_RECORD_H
#define SURPRISAL_EVAL_RUN_RECORD_H

#include "base/json.h"
#include "eval/statistics/statistics.h"
#include "formats/safetensors.h"
#include "surprisal.h"

#define RECORD_TOLERANCE 1e-12          /* relative */

/* Zero-initialise; release with record_close. */
struct record {
    char *folder;                       /* owned */
    cJSON *summary;                     /* owned */
    size_t scored, windows, tokens, context, stride;    /* as the summary has them */
    enum surprisal_protocol protocol;
    struct figures figures;             /* computed from the columns */
    /* Owned, [scored]; rows by ascending position. */
    int32_t *position, *window, *id, *top1;
    int32_t *index_in_window;           /* of the token in its window: 1 follows the first one seen */
    double *nll;                        /* nats; finite, not negative */
    float *logsumexp;
    /* Owned, [windows]: the document that a window belongs to; NULL when the text is one. */
    int32_t *document;
    size_t n_documents;                 /* that have windows */
    bool keeps_hidden;                  /* says the summary */
    struct matrix hidden;               /* final hidden states [scored, hidden_size], F32 or BF16;
                                           data NULL until record_view_hidden, borrows from file */
    struct safetensors_file file;       /* owned */
};

/* Summary and tokens stand in the folder. */
bool record_is_folder(const char *folder);

/* Bytes that an open record of so many rows takes. */
size_t record_bytes(size_t scored, size_t windows);

/* Hidden states, which may be many, are neither checked nor hashed. */
bool record_open(struct record *r, const char *folder, struct error *err);
/* Checks the hidden states and fills in the view; a record that keeps none is refused. */
bool record_view_hidden(struct record *r, struct error *err);
void record_close(struct record *r);

#endif
