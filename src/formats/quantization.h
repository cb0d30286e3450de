/* quantization.h - config.json's quantization_config, and what it says against what the files hold.
 *
 * compressed-tensors: {quant_method, format, config_groups: {g: {targets, weights, format}},
 * ignore}; targets and ignore are module names, module classes ("Linear") or `re:` patterns.
 * A format that is not MXFP4 weights-only is refused.  What is in the files decides what is
 * evaluated; a module packed but ignored, or targeted and not packed, is a contradiction: listed
 * by inspect and warned about by eval. */
#ifndef SURPRISAL_FORMATS_QUANTIZATION_H
#define SURPRISAL_FORMATS_QUANTIZATION_H

#include "base/memory.h"
#include "formats/checkpoint.h"
#include "formats/weights.h"

/* Refuses settings this program does not implement.  Absent quantization_config: true. */
bool quantization_check(const struct checkpoint *ck, struct error *err);

struct contradictions {
    struct buffer text;         /* owned: one line each, NUL-terminated */
    size_t count;
};

/* Compares config and files for every linear module of the text model. */
bool quantization_contradictions(struct contradictions *out, const struct checkpoint *ck,
                                 const struct weights *w, struct error *err);
void contradictions_free(struct contradictions *c);

#endif
