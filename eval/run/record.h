/* record.h - reads the folder of a finished run, and trusts nothing in it without a check.
 *
 * The checks: the summary's own digest; the digests of the columns (run_folder.h), their types and
 * shapes; the rows must be those of the protocol's windows, in order; mean NLL and its standard
 * error, computed again from the columns, must equal those of the summary (within RECORD_TOLERANCE,
 * since exp differs between machines).  So a folder that was cut short, edited, or put together
 * from two runs is refused, with file, found and expected.  A folder of an older version is refused
 * because it has no digests.
 *
 * The columns are copied, so that later changes of the file do not matter; hidden states are a
 * view. */
#ifndef SURPRISAL_EVAL_RUN_RECORD_H
#define SURPRISAL_EVAL_RUN_RECORD_H

#include "base/json.h"
#include "eval/statistics/statistics.h"
#include "formats/safetensors.h"
#include "surprisal.h"

#define RECORD_TOLERANCE 1e-12          /* relative */

/* The part of a run that `eval --part` made; of 0: it is whole. */
struct record_part {
    size_t index, of;                   /* from 1 */
    size_t first_window, windows_of_all;
};

/* Zero-initialise; release with record_close. */
struct record {
    char *folder;                       /* owned */
    cJSON *summary;                     /* owned */
    size_t scored, windows, tokens, context, stride;    /* as the summary has them */
    struct record_part part;            /* windows: of the part; `window` counts those of all */
    /* Windows that are left out (left_out.h): their rows are in the file and not in the columns. */
    bool *left_out;                     /* owned [windows] */
    size_t n_left_out;
    size_t file_rows;                   /* rows in the file: scored, and those left out */
    int32_t *file_row;                  /* owned [scored]: the row in the file; NULL: the same */
    enum surprisal_protocol protocol;
    struct figures figures;             /* computed from the columns */
    /* Owned, [scored]; rows by ascending position. */
    int32_t *position, *window, *id, *top1;
    int32_t *index_in_window;           /* of the token in its window: 0 is the first one seen */
    double *nll;                        /* nats; finite, not negative */
    float *logsumexp;
    /* Owned, [part.windows_of_all]: the document of each window; NULL: the text was not split. */
    int32_t *document;
    size_t n_documents;                 /* that have windows */
    bool keeps_hidden;                  /* according to the summary */
    struct matrix hidden;               /* final hidden states [file_rows, hidden_size], F32 or
                                           BF16; data NULL until record_view_hidden, borrows from
                                           file */
    struct safetensors_file file;       /* owned */
};

/* Does the folder hold summary.json and tokens.safetensors? */
bool record_is_folder(const char *folder);

/* Memory of an open record with this many rows. */
size_t record_bytes(size_t scored, size_t windows);

/* Does not check or hash hidden states, which may be large. */
bool record_open(struct record *r, const char *folder, struct error *err);
/* Leaves out more windows, windows [r->windows]; an error if no row is left.  The figures,
 * those in the summary too, are then of the others. */
bool record_leave_out(struct record *r, const bool *windows, struct error *err);
/* Refuses a part of a run. */
bool record_refuse_part(const struct record *r, struct error *err);

/* Give a member of a summary another value; a summary without the member stays as it is.  item is
 * taken over, NULL: memory was out.  Of the numbers that are not finite the summary has null. */
bool record_replace(cJSON *summary, const char *key, cJSON *item, struct error *err);
bool record_replace_number(cJSON *summary, const char *key, double value, struct error *err);
/* r->scored and r->figures into the summary, with those by word and byte. */
bool record_replace_figures(struct record *r, struct error *err);

/* Checks the hidden states and fills in the view; refuses a record without them. */
bool record_view_hidden(struct record *r, struct error *err);
void record_close(struct record *r);

#endif
