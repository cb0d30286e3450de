/* public.h - what surprisal.h calls errors and results, from and to the types below it. */
#ifndef SURPRISAL_API_PUBLIC_H
#define SURPRISAL_API_PUBLIC_H

#include <cjson/cJSON.h>
#include <surprisal.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"

/* Copies the inner error into the public one and gives ok, for `return`. out may be NULL. */
bool public_tell(struct surprisal_error *out, bool ok, const struct error *err);

/* Gives the buffer's text, or frees it unless ok.  An empty text is given as "". */
bool public_give_text(struct buffer *b, bool ok, char **text, size_t *n_bytes, struct error *err);
/* Gives a result as JSON and as text, where they are wanted (not NULL); `found` is gone
 * afterwards. */
bool public_give(cJSON *found, struct buffer *b, bool ok, char **json, char **text,
                 struct error *err);

#endif
