/* verify_findings.h - what verify found: one line each, with a short code.
 *
 * A finding says that the checkpoint is damaged, incomplete or contradicts itself, and decides the
 * exit status.  A suspicion says that values are unlike those of any model that is known, though a
 * model could have them; a note only tells.  The code says which of the three it is.  Texts are
 * safe to print: what comes from files went through error_set. */
#ifndef SURPRISAL_VERIFY_VERIFY_FINDINGS_H
#define SURPRISAL_VERIFY_VERIFY_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum finding_code {
    /* the folder */
    FOUND_CONFIG,               /* config.json cannot be used */
    FOUND_QUANTIZATION,         /* a setting of quantization_config that contradicts MXFP4 */
    FOUND_INDEX,                /* the index cannot be used */
    FOUND_UNREADABLE,           /* a safetensors file that is cut short or broken */
    FOUND_MISSING_FILE,         /* named by the index, or part of the original */
    FOUND_UNLISTED,             /* a safetensors file that nothing reads */
    FOUND_WRONG_FILE,           /* the index names another file than the one that has the tensor */
    FOUND_STALE,                /* a tensor that the index does not name */
    FOUND_TWICE,                /* a weight that is stored twice */
    FOUND_DOWNLOAD,             /* not the file that the hub's client downloaded */
    /* tensors against the config */
    FOUND_MISSING,
    FOUND_UNEXPECTED,
    FOUND_SHAPE,
    FOUND_DTYPE,
    FOUND_TIED,                 /* a head of its own, although the config ties it */
    FOUND_PAIR,                 /* codes without scales, or scales without codes */
    /* quantization_config against the files */
    FOUND_NO_CONFIG,
    FOUND_IGNORED,
    FOUND_NOT_COVERED,
    FOUND_OTHER_FORMAT,
    FOUND_NOT_PACKED,
    FOUND_MERGED,               /* parts of one module of vLLM that disagree */
    /* values */
    FOUND_SCALE_NAN,
    FOUND_NON_FINITE,
    FOUND_ZERO_TENSOR,
    FOUND_ZERO_ROWS,
    FOUND_CONSTANT,
    FOUND_SATURATED,            /* most codes are the largest: scales too small */
    FOUND_SMALL_CODES,          /* most blocks use only the smallest codes: scales too large */
    /* against the original */
    FOUND_EXTRA,                /* not in the original */
    FOUND_DIFFERS,
    FOUND_LOW_SQNR,
    FOUND_SCALE_OFF,            /* the codes fit, times another power of two */
    FOUND_ZEROED,               /* blocks that are zero, and were not */
    FOUND_CONFIG_DIFFERS,
    FOUND_FILE_DIFFERS,
    FOUND_TOKENS,               /* a file's list of tokens is not the original's */
    FINDINGS,
    /* suspicions, without the original */
    SUSPECT_NORM = FINDINGS,    /* 1 added once more, or taken away (verify_norms.h) */
    SUSPECT_EXTREME,            /* a value unlike all others (verify_extremes.h) */
    SUSPECT_SCALE,              /* a quantized kind too large or too small (verify_levels.h) */
    SUSPECT_VERSION,            /* of a quantizer that is known to write other scales */
    SUSPICIONS_END,
    /* notes */
    NOTE_CONSTANT = SUSPICIONS_END,   /* vectors, or as in the original */
    NOTE_CODES,                 /* many of the largest or smallest, and yet close to the original */
    NOTE_PATTERN,               /* a pattern that vLLM does not match */
    NOTE_TOTAL_SIZE,
    NOTE_FILE,
    NOTE_CHOICE,                /* that the folder leaves open: which of two models is read, say */
    NOTE_DOWNLOAD,
    NOTE_LEFT_OUT,              /* a part of the original that a GGUF may lack */
    FINDING_CODES
};

enum finding_level { LEVEL_FINDING, LEVEL_SUSPICION, LEVEL_NOTE, FINDING_LEVELS };

struct finding {
    enum finding_code code;
    char *file, *tensor, *text;         /* owned; file and tensor may be "" */
};

/* More than this many are counted, not kept. */
#define FINDINGS_KEPT ((size_t)10000)
#define NOTES_KEPT    ((size_t)1000)    /* of these, so that they leave room for findings */

struct findings {
    struct finding *list;               /* owned [n]; zero-initialise */
    size_t n, capacity;
    size_t counts[FINDING_LEVELS];      /* kept or not */
};

const char *finding_code_name(enum finding_code code);
enum finding_level finding_level(enum finding_code code);

/* file: a path, of which the last part is kept; tensor: a tensor or module.  NULL for none. */
bool findings_add(struct findings *f, enum finding_code code, const char *file, const char *tensor,
                  struct error *err, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* A finding about a path, or a tensor in it, whose text is an error; false and the run's own error
 * when what failed is the lack of memory or descriptors, which is no fault of the checkpoint. */
bool findings_add_error(struct findings *f, enum finding_code code, const char *path,
                        const char *tensor, const struct error *why, struct error *err);
void findings_free(struct findings *f);

#endif
