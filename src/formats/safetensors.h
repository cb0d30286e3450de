/* safetensors.h - one safetensors file: names and bytes -> typed tensors, and back.
 *
 * File (https://github.com/huggingface/safetensors, README "Format"): u64 little-endian header
 * length, JSON header {name: {dtype, shape, data_offsets: [begin, end)}} with an optional
 * `__metadata__`, then the data; offsets count from the end of the header.  Nothing of it is
 * trusted: header inside the file and at most SAFETENSORS_HEADER_MOST long, no name twice, known
 * dtype, shape x dtype == end - begin without overflow, ranges inside the data and not overlapping.
 * Bytes that belong to no tensor, between or after them, are allowed and never read (some writers
 * align), though upstream's own reader refuses them.
 *
 * The tensors borrow from the file's mapping, which the safetensors_file owns. */
#ifndef SURPRISAL_FORMATS_SAFETENSORS_H
#define SURPRISAL_FORMATS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"
#include "base/matrix.h"
#include "base/output_file.h"

#define TENSOR_MAX_DIMS 8
/* Bytes of the header's JSON: upstream's limit (MAX_HEADER_SIZE in safetensors/src/tensor.rs). */
#define SAFETENSORS_HEADER_MOST ((size_t)100000000)

struct tensor {
    const char *name;           /* as in the file */
    const char *file;           /* path, for messages */
    enum dtype dtype;           /* a packed format only in a GGUF */
    size_t ndim;                /* 0 for a scalar */
    size_t shape[TENSOR_MAX_DIMS];
    const uint8_t *data;        /* in the mapping; not necessarily aligned */
    size_t n_bytes;
    /* Of containers that store the model otherwise (struct matrix); not of safetensors. */
    const struct head_order *row_order, *col_order;
    bool one_added, is_rate;
};

/* Number of elements (1 for a scalar). */
size_t tensor_elements(const struct tensor *t);
/* Appends "[2, 3]" style; for messages.  Returns text. */
const char *tensor_shape_text(const struct tensor *t, char *text, size_t n);

/* ---- reading ---------------------------------------------------------- */

struct safetensors_file {
    struct mapped_file map;     /* owned */
    struct tensor *tensors;     /* owned; sorted by name as in the file */
    char *names;                /* owned; all names, back to back */
    size_t n_tensors;
};

bool safetensors_open(struct safetensors_file *f, const char *path, struct error *err);
void safetensors_close(struct safetensors_file *f);
/* Refuses tensors that share a byte. */
bool safetensors_check_overlaps(const struct safetensors_file *f, struct error *err);
/* NULL when there is none. */
const struct tensor *safetensors_find(const struct safetensors_file *f, const char *name);

/* ---- writing ---------------------------------------------------------- */

/* Writes a file whose tensors' shapes are known beforehand and whose bytes come in any order and
 * in pieces, so that no tensor need fit into memory.  Data starts 8-byte aligned; tensors follow
 * one another in the order given.  Nothing is at `path` until the commit. */
struct safetensors_writer {
    struct output_file out;     /* owned */
    size_t n_tensors;
    size_t *begin, *n_bytes;    /* owned [n_tensors]: absolute offset in the file, size */
};

struct safetensors_entry {      /* what to write */
    const char *name;
    enum dtype dtype;
    size_t ndim;
    size_t shape[TENSOR_MAX_DIMS];
};

struct safetensors_note {       /* of `__metadata__` */
    const char *key, *value;
};

bool safetensors_create(struct safetensors_writer *w, const char *path,
                        const struct safetensors_entry *entries, size_t n_entries,
                        struct error *err);
/* The same with metadata; keys and values are UTF-8. */
bool safetensors_create_noted(struct safetensors_writer *w, const char *path,
                              const struct safetensors_note *notes, size_t n_notes,
                              const struct safetensors_entry *entries, size_t n_entries,
                              struct error *err);
/* The same at `path` itself, for work that a later process may go on with (output_file.h): the file
 * gets its size at once.  Something there is refused. */
bool safetensors_create_in_place(struct safetensors_writer *w, const char *path,
                                 const struct safetensors_entry *entries, size_t n_entries,
                                 struct error *err);
/* Opens the file that safetensors_create_in_place made in an earlier process, by the same entries:
 * what was written into the tensors stays.  Another size or header is refused. */
bool safetensors_reopen(struct safetensors_writer *w, const char *path,
                        const struct safetensors_entry *entries, size_t n_entries,
                        struct error *err);
/* Bytes that have been written before. */
bool safetensors_read_back(const struct safetensors_writer *w, size_t i, size_t offset, void *bytes,
                           size_t n, struct error *err);
/* Bytes of tensor i, starting `offset` bytes into it.  Going past its end is our own mistake
 * (assert). */
bool safetensors_write(struct safetensors_writer *w, size_t i, size_t offset, const void *bytes,
                       size_t n, struct error *err);
bool safetensors_commit(struct safetensors_writer *w, struct error *err);
void safetensors_abandon(struct safetensors_writer *w);

#endif
