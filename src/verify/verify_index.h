/* verify_index.h - model.safetensors.index.json, read for what can be read of it. */
#ifndef SURPRISAL_VERIFY_VERIFY_INDEX_H
#define SURPRISAL_VERIFY_VERIFY_INDEX_H

#include "base/json.h"
#include "verify/verify_findings.h"

struct verify_index_row {               /* borrows from the JSON */
    const char *tensor, *file;
};

struct verify_index {
    cJSON *json;                        /* owned; NULL when there is none, or none that can be used */
    struct verify_index_row *rows;      /* owned [n_rows], sorted by file, then by tensor */
    size_t n_rows;
    bool has_total;
    size_t total_bytes;                 /* metadata.total_size */
};

/* Of a folder.  Faults are findings; fails only for lack of memory or descriptors.
 * verify_index_free also after a failure. */
bool verify_index_read(struct verify_index *x, const char *folder, struct findings *found,
                       struct error *err);
void verify_index_free(struct verify_index *x);

#endif
