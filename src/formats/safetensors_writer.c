#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "safetensors.h"

#define LENGTH_BYTES ((size_t)8)
#define DATA_ALIGN ((size_t)8)

/* Fills begin (from the start of the data) and n_bytes. */
static bool place_tensors(struct safetensors_writer *w, const char *path,
                          const struct safetensors_entry *entries, struct error *err)
{
    size_t end = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        size_t n = dtype_bytes(entries[i].dtype);
        bool fits = true;
        assert(n > 0 && entries[i].ndim <= TENSOR_MAX_DIMS);
        for (size_t d = 0; d < entries[i].ndim; d++)
            fits = fits && size_product(&n, n, entries[i].shape[d]);
        w->begin[i] = end;
        w->n_bytes[i] = n;
        if (!fits || !size_sum(&end, end, n))
            return error_set(err, "%s: '%s' has more bytes than can be counted", path,
                             entries[i].name);
    }
    return true;
}

static bool append_entry(struct buffer *header, const struct safetensors_entry *e, size_t begin,
                         size_t n_bytes, struct error *err)
{
    bool ok = json_append_string(header, e->name, strlen(e->name), err)
           && buffer_printf(header, err, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(e->dtype));
    for (size_t d = 0; ok && d < e->ndim; d++)
        ok = buffer_printf(header, err, d ? ",%zu" : "%zu", e->shape[d]);
    return ok && buffer_printf(header, err, "],\"data_offsets\":[%zu,%zu]}", begin,
                               begin + n_bytes);
}

/* transformers refuses weights whose file does not say which program's tensors they are. */
static bool append_notes(struct buffer *header, const struct safetensors_note *notes, size_t n,
                         struct error *err)
{
    bool ok = buffer_printf(header, err, "\"__metadata__\":{\"format\":\"pt\"");
    for (size_t i = 0; ok && i < n; i++)
        ok = buffer_append(header, ",", 1, err)
          && json_append_string(header, notes[i].key, strlen(notes[i].key), err)
          && buffer_append(header, ":", 1, err)
          && json_append_string(header, notes[i].value, strlen(notes[i].value), err);
    return ok && buffer_append(header, "}", 1, err);
}

/* Length, JSON, and spaces up to the alignment of the data. */
static bool make_header(struct buffer *header, const struct safetensors_writer *w,
                        const struct safetensors_note *notes, size_t n_notes,
                        const struct safetensors_entry *entries, struct error *err)
{
    char length[LENGTH_BYTES] = { 0 };
    bool ok = buffer_append(header, length, LENGTH_BYTES, err)
           && buffer_append(header, "{", 1, err) && append_notes(header, notes, n_notes, err);
    for (size_t i = 0; ok && i < w->n_tensors; i++)
        ok = buffer_append(header, ",", 1, err)
          && append_entry(header, &entries[i], w->begin[i], w->n_bytes[i], err);
    ok = ok && buffer_append(header, "}", 1, err);
    while (ok && header->size % DATA_ALIGN)
        ok = buffer_append(header, " ", 1, err);
    for (size_t i = 0; ok && i < LENGTH_BYTES; i++)
        header->data[i] = (char)(unsigned char)((header->size - LENGTH_BYTES) >> (8 * i));
    return ok;
}

/* Fills w's places, as they are in the file, and gives the header. */
static bool lay_out(struct safetensors_writer *w, struct buffer *header, const char *path,
                    const struct safetensors_note *notes, size_t n_notes,
                    const struct safetensors_entry *entries, size_t n_entries, struct error *err)
{
    *w = (struct safetensors_writer){ .out = { .fd = -1, .stream = -1 }, .n_tensors = n_entries };
    *header = (struct buffer){ 0 };
    w->begin = mem_array(n_entries, sizeof *w->begin, "tensors", err);
    w->n_bytes = mem_array(n_entries, sizeof *w->n_bytes, "tensors", err);
    if (!w->begin || !w->n_bytes || !place_tensors(w, path, entries, err)
        || !make_header(header, w, notes, n_notes, entries, err))
        return false;
    if (header->size - LENGTH_BYTES > SAFETENSORS_HEADER_MOST)
        return error_set(err, "%s: a header of %zu bytes, expected at most %zu", path,
                         header->size - LENGTH_BYTES, SAFETENSORS_HEADER_MOST);
    for (size_t i = 0; i < w->n_tensors; i++)
        w->begin[i] += header->size;
    return true;
}

static size_t file_size(const struct safetensors_writer *w, const struct buffer *header)
{
    size_t last = w->n_tensors - 1;
    return w->n_tensors ? w->begin[last] + w->n_bytes[last] : header->size;
}

/* The header in the file is the one that would be written. */
static bool check_header(const struct safetensors_writer *w, const struct buffer *header,
                         struct error *err)
{
    char *found = mem_array(header->size, 1, "a header", err);
    bool ok = found && output_file_read_at(&w->out, 0, found, header->size, err);
    if (ok && memcmp(found, header->data, header->size) != 0)
        ok = error_set(err, "%s: its header is not that of the interrupted run", w->out.path);
    free(found);
    return ok;
}

static bool end_opening(struct safetensors_writer *w, struct buffer *header, bool ok)
{
    buffer_free(header);
    if (!ok)
        safetensors_abandon(w);
    return ok;
}

bool safetensors_create(struct safetensors_writer *w, const char *path,
                        const struct safetensors_entry *entries, size_t n_entries,
                        struct error *err)
{
    return safetensors_create_noted(w, path, NULL, 0, entries, n_entries, err);
}

bool safetensors_create_noted(struct safetensors_writer *w, const char *path,
                              const struct safetensors_note *notes, size_t n_notes,
                              const struct safetensors_entry *entries, size_t n_entries,
                              struct error *err)
{
    struct buffer header;
    bool ok = lay_out(w, &header, path, notes, n_notes, entries, n_entries, err)
           && output_file_create(&w->out, path, err)
           && output_file_write_at(&w->out, 0, header.data, header.size, err);
    return end_opening(w, &header, ok);
}

bool safetensors_create_in_place(struct safetensors_writer *w, const char *path,
                                 const struct safetensors_entry *entries, size_t n_entries,
                                 struct error *err)
{
    struct buffer header;
    bool ok = lay_out(w, &header, path, NULL, 0, entries, n_entries, err)
           && output_file_create_in_place(&w->out, path, err)
           && output_file_reserve(&w->out, file_size(w, &header), err)
           && output_file_write_at(&w->out, 0, header.data, header.size, err);
    return end_opening(w, &header, ok);
}

bool safetensors_reopen(struct safetensors_writer *w, const char *path,
                        const struct safetensors_entry *entries, size_t n_entries,
                        struct error *err)
{
    struct buffer header;
    bool ok = lay_out(w, &header, path, NULL, 0, entries, n_entries, err)
           && output_file_reopen(&w->out, path, file_size(w, &header), err)
           && check_header(w, &header, err);
    return end_opening(w, &header, ok);
}

bool safetensors_read_back(const struct safetensors_writer *w, size_t i, size_t offset, void *bytes,
                           size_t n, struct error *err)
{
    assert(i < w->n_tensors && offset <= w->n_bytes[i] && n <= w->n_bytes[i] - offset);
    return output_file_read_at(&w->out, w->begin[i] + offset, bytes, n, err);
}

bool safetensors_write(struct safetensors_writer *w, size_t i, size_t offset, const void *bytes,
                       size_t n, struct error *err)
{
    assert(i < w->n_tensors && offset <= w->n_bytes[i] && n <= w->n_bytes[i] - offset);
    return output_file_write_at(&w->out, w->begin[i] + offset, bytes, n, err);
}

static void free_places(struct safetensors_writer *w)
{
    free(w->begin);
    free(w->n_bytes);
    w->begin = w->n_bytes = NULL;
    w->n_tensors = 0;
}

bool safetensors_commit(struct safetensors_writer *w, struct error *err)
{
    free_places(w);
    return output_file_commit(&w->out, err);
}

void safetensors_abandon(struct safetensors_writer *w)
{
    free_places(w);
    output_file_abandon(&w->out);
}
