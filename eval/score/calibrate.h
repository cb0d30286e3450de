/* calibrate.h - the job of surprisal_calibrate: a text through a checkpoint's layers, what goes
 * into its linears squared and averaged (engine/calibration.h), the file (calibration_file.h), and
 * a report that names the experts that the text reached too rarely.
 *
 * The report as JSON:
 *     surprisal, out
 *     checkpoint {path, digest}, text {path, sha256}
 *     protocol, context, stride, windows
 *     tokens                           through the layers: a window's last token is a target only
 *     compute, isa, threads, linears   (in the file)
 *     experts {count, min_tokens, unused, rare [{layer, expert, tokens}]}
 *                                      of all layers; rare: those with fewer tokens than
 *                                      min_tokens, unused ones included; null in dense models
 *     seconds, passes, bytes_read */
#ifndef SURPRISAL_EVAL_SCORE_CALIBRATE_H
#define SURPRISAL_EVAL_SCORE_CALIBRATE_H

#include "base/json.h"
#include "surprisal.h"

/* As surprisal.h documents it. */
bool calibrate_check(const struct surprisal_calibrate_options *o, struct error *err);
/* Writes the file.  Gives *json, to be freed by cJSON_Delete, and appends to text; both may be
 * NULL. */
bool calibrate_checkpoint(cJSON **json, struct buffer *text,
                          const struct surprisal_calibrate_options *o, struct error *err);

#endif
