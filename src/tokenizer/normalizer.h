/* normalizer.h - Unicode normalization forms (UAX 15), by utf8proc.
 *
 * Equal to Hugging Face's, which knows Unicode 9: younger code points pass unchanged
 * (unicode.h).  Linear time: utf8proc's own reordering is quadratic in the length of a run
 * of combining marks, so normalizer.c reorders by counting sort. */
#ifndef SURPRISAL_TOKENIZER_NORMALIZER_H
#define SURPRISAL_TOKENIZER_NORMALIZER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

enum normal_form { NORMAL_FORM_NFC, NORMAL_FORM_NFD, NORMAL_FORM_NFKC, NORMAL_FORM_NFKD };

/* Applies its forms one after the other.  Owns forms; zero-initialised it changes nothing. */
struct normalizer {
    enum normal_form *forms;
    size_t n, capacity;
};

/* Reads the "normalizer" of a tokenizer.json: null, one of the forms, or a Sequence of those.  Free
 * the normalizer after a failure, too. */
bool normalizer_load(struct normalizer *z, const cJSON *json, const char *path,
                     struct error *err);
void normalizer_free(struct normalizer *z);

/* Buffers of one thread.  Zero-initialise; release with normalizer_scratch_free. */
struct normalizer_scratch {
    struct buffer text[2];      /* the result, and the input of a further form */
    int32_t *points, *sorted;   /* a run of code points; room to reorder it    */
    size_t n_points, points_capacity, sorted_capacity;
};
void normalizer_scratch_free(struct normalizer_scratch *s);

/* Replaces *text (*n bytes of valid UTF-8) by its normal form, which lies in the scratch until the
 * next call; text without anything to normalize stays where it is. */
bool normalizer_run(const struct normalizer *z, struct normalizer_scratch *s, const char **text,
                    size_t *n, struct error *err);

#endif
