/* quantization.h - config.json's quantization_config, and what it says against what the files hold.
 *
 * What is in the files decides what is evaluated (formats/weight_format.h); a module packed but
 * ignored, or targeted and not packed, is a contradiction: listed by inspect and warned about by
 * eval.  Refused is what would change values without a tensor that shows it: a transform or a
 * rotation, sparsity, a layout of another version, and what is said of MXFP4 and is not MXFP4. */
#ifndef SURPRISAL_FORMATS_QUANTIZATION_H
#define SURPRISAL_FORMATS_QUANTIZATION_H

#include "base/memory.h"
#include "formats/checkpoint.h"
#include "formats/quantization_rules.h"
#include "formats/weights.h"

/* Refuses settings this program does not implement.  Absent quantization_config: true. */
bool quantization_check(const struct checkpoint *ck, struct error *err);
/* The same, but hands each fault to fault(), and goes on while that returns true. */
bool quantization_check_each(const struct checkpoint *ck,
                             bool (*fault)(void *user, const struct error *why), void *user,
                             struct error *err);

/* The version of a quantizer that is known to have written MXFP4 scales with another bias; NULL: it
 * is another, or none is named.  Borrows from the config. */
const char *quantization_off_version(const struct checkpoint *ck);

/* quantization_rules_free also after a failure. */
bool quantization_rules_read(struct quantization_rules *r, const struct checkpoint *ck,
                             struct error *err);
void quantization_rules_free(struct quantization_rules *r);

struct module_said {
    bool ignored, named;        /* by name or pattern; ignored also by class */
    bool by_class;              /* "Linear" is a target */
};

bool quantization_says(struct module_said *out, const struct quantization_rules *r,
                       const char *module, struct error *err);

/* Config against files for one module. */
enum quantization_verdict {
    PACKED_NO_CONFIG, PACKED_IGNORED, PACKED_UNTARGETED, PACKED_OTHERWISE, TARGETED_PLAIN,
    NO_CONTRADICTION
};

/* format: of what is stored.  is_promised: the class "Linear" among the targets promises that the
 * module is packed. */
enum quantization_verdict quantization_judge(const struct quantization_rules *r,
                                             const struct module_said *said, enum dtype format,
                                             bool is_promised);
/* As part of a line: "packed in the files, ignored by the config". */
const char *quantization_verdict_text(enum quantization_verdict verdict);
/* Does the class "Linear" promise that a weight of this kind is packed? */
bool quantization_promises(enum weight_kind kind, bool is_fused);

struct contradictions {
    struct buffer text;         /* owned: one line each, NUL-terminated */
    size_t count;
};

/* Compares config and files for every linear module of the text model. */
bool quantization_contradictions(struct contradictions *out, const struct checkpoint *ck,
                                 const struct weights *w, struct error *err);
void quantization_contradictions_free(struct contradictions *c);

#endif
