/* gguf.h - one GGUF file: its metadata, and where its tensors are.
 *
 * File (https://github.com/ggml-org/ggml, docs/gguf.md; versions 2 and 3, little-endian):
 *
 *     "GGUF" | u32 version | u64 n_tensors | u64 n_entries | entries | tensors | padding | data
 *     string = u64 length, bytes;  entry = string key, u32 type, value
 *     array = u32 type, u64 count, elements;  tensor = string name, u32 n_dims, u64 ne[n_dims]
 *     (fastest first), u32 type, u64 offset into the data
 *
 * Data starts at a multiple of `general.alignment`, as each tensor does.  Nothing of it is trusted:
 * counts and lengths fit into the file, no key or name twice, no string with a NUL, no array in an
 * array.  What a tensor's type is, and so its size, is the reader's business (formats/).
 *
 * Everything borrows from the mapping, which the gguf owns. */
#ifndef SURPRISAL_BASE_GGUF_H
#define SURPRISAL_BASE_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"

#define GGUF_MAX_DIMS 4
#define GGUF_NAME_MOST ((size_t)63)     /* bytes of a tensor's name, as in llama.cpp */

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING,
    GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPES
};

/* Not NUL-terminated. */
struct gguf_text {
    const char *bytes;
    size_t n;
};

struct gguf_entry {
    struct gguf_text key;
    enum gguf_type type;                /* of an array: of its elements */
    bool is_array;
    size_t n;                           /* elements; 1 unless it is an array */
    const uint8_t *data;                /* the first of them */
};

struct gguf_tensor {
    struct gguf_text name;
    size_t ndim, ne[GGUF_MAX_DIMS];     /* ne[0] is the length of a row */
    uint32_t type;
    uint64_t offset;                    /* in data; a multiple of the alignment */
};

struct gguf {
    struct mapped_file map;             /* owned */
    struct gguf_entry *entries;         /* owned [n_entries]; sorted by key */
    struct gguf_tensor *tensors;        /* owned [n_tensors]; as in the file */
    size_t n_entries, n_tensors;
    size_t data_start, alignment;
};

bool gguf_open(struct gguf *g, const char *path, struct error *err);
void gguf_close(struct gguf *g);

/* ---- metadata --------------------------------------------------------------------- */

/* NULL when there is none. */
const struct gguf_entry *gguf_find(const struct gguf *g, const char *key);
/* Element i of an entry; false if it is no whole number from 0 (bool: 0 or 1), no finite number, no
 * string. */
bool gguf_size(size_t *out, const struct gguf_entry *e, size_t i);
bool gguf_number(double *out, const struct gguf_entry *e, size_t i);
bool gguf_text(struct gguf_text *out, const struct gguf_entry *e);      /* no array */
/* All strings of an array, from the first: *at is e->data before the first call. */
struct gguf_text gguf_next_text(const uint8_t **at);
/* Whether a text is these bytes. */
bool gguf_text_is(struct gguf_text text, const char *s);

/* ---- paths ------------------------------------------------------------------------ */

/* Is it a GGUF file, by its first bytes, or a folder that has such files, by their names, and no
 * safetensors? */
bool gguf_recognises(const char *path);
/* Gives the path of the file that holds the model's metadata: the file itself, or of a folder's the
 * one model (the first of a split).  Several are refused with their list. */
char *gguf_find_file(const char *path, struct error *err);

#endif
