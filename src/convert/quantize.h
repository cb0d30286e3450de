/* quantize.h - a checkpoint folder from another: to MXFP4, and back to BF16. */
#ifndef SURPRISAL_CONVERT_QUANTIZE_H
#define SURPRISAL_CONVERT_QUANTIZE_H

#include <surprisal.h>

#include "base/json.h"

/* Options that contradict each other, or are out of range; touches no file. */
bool quantize_check(const struct surprisal_quantize_options *o, struct error *err);

/* A checkpoint that is open already; all borrowed. */
struct opened_checkpoint {
    const struct checkpoint *ck;
    const struct weights *w;
    const struct input_files *inputs;   /* what was read of it, as it was then */
};

/* A file of a new folder: its name, and what it holds. */
struct new_text {
    const char *name, *text;
};

/* opened: the options' checkpoint, by whose path they name it; NULL: it is opened here.
 *
 * *result: what was done, {"plan", and unless dry_run "blocks", "undecided", "bytes_read",
 * "bytes_written", "shards", "shards_kept", "seconds", "bytes_read_per_second",
 * "peak_rss_bytes"}. */
bool quantize_checkpoint(cJSON **result, const struct surprisal_quantize_options *o,
                         const struct opened_checkpoint *opened, struct error *err);
/* The same without "plan", "blocks" and "undecided".  texts: further files of the folder, the last
 * without a name; for a checkpoint that has none of its own; NULL: none. */
bool dequantize_checkpoint(cJSON **result, const struct surprisal_dequantize_options *o,
                           const struct opened_checkpoint *opened, const struct new_text *texts,
                           struct error *err);

/* The result as text. */
bool quantize_text(struct buffer *out, const cJSON *result, struct error *err);

#endif
