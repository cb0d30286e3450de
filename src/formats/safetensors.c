#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/stand_in.h"

#define LENGTH_BYTES ((size_t)8)        /* the header's length, in front of it */

size_t tensor_elements(const struct tensor *t)
{
    return t->n_bytes / dtype_bytes(t->dtype);
}

const char *tensor_shape_text(const struct tensor *t, char *text, size_t n)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i <= t->ndim && used < n; i++) {
        int more = i < t->ndim
                 ? snprintf(text + used, n - used, "%s%zu", i ? ", " : "[", t->shape[i])
                 : snprintf(text + used, n - used, "%s]", i ? "" : "[");
        used += more > 0 ? (size_t)more : 0;
    }
    return text;
}

/* ---- one tensor of the header ----------------------------------------- */

static bool read_dtype(struct tensor *t, const cJSON *entry, struct error *err)
{
    const cJSON *dtype = json_get(entry, "dtype");
    if (!cJSON_IsString(dtype))
        return error_set(err, "%s: '%s' has no dtype", t->file, t->name);
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (!dtype_is_packed((enum dtype)i)
            && strcmp(dtype_name((enum dtype)i), dtype->valuestring) == 0) {
            t->dtype = (enum dtype)i;
            return true;
        }
    return error_set(err, "%s: '%s' has the unknown dtype '%s'", t->file, t->name,
                     dtype->valuestring);
}

/* Shape, and the bytes that it makes with the dtype. */
static bool read_shape(struct tensor *t, const cJSON *entry, struct error *err)
{
    const cJSON *shape = json_get(entry, "shape"), *item;
    if (!cJSON_IsArray(shape))
        return error_set(err, "%s: '%s' has no shape", t->file, t->name);
    bool empty = false, fits = true;
    t->n_bytes = dtype_bytes(t->dtype);
    cJSON_ArrayForEach(item, shape) {
        size_t n;
        if (!json_to_size(item, &n))
            return error_set(err, "%s: '%s' has a dimension that is not a whole number from 0 to"
                             " 2^53", t->file, t->name);
        if (t->ndim == TENSOR_MAX_DIMS)
            return error_set(err, "%s: '%s' has more than %d dimensions", t->file, t->name,
                             TENSOR_MAX_DIMS);
        t->shape[t->ndim++] = n;
        empty |= n == 0;
        fits = fits && size_product(&t->n_bytes, t->n_bytes, n);
    }
    if (empty)                          /* whatever the other dimensions multiply to */
        t->n_bytes = 0;
    char text[256];
    return empty || fits
        || error_set(err, "%s: '%s' of shape %s has more bytes than can be counted", t->file,
                     t->name, tensor_shape_text(t, text, sizeof text));
}

/* data_offsets against the shape and against the file. */
static bool read_range(struct tensor *t, const cJSON *entry, const struct mapped_file *map,
                       size_t data_start, struct error *err)
{
    const cJSON *offsets = json_get(entry, "data_offsets");
    const cJSON *first = cJSON_IsArray(offsets) ? offsets->child : NULL;
    const cJSON *second = first ? first->next : NULL;
    size_t begin, end, n_data = map->size - data_start;
    if (!json_to_size(first, &begin) || !json_to_size(second, &end) || second->next)
        return error_set(err, "%s: '%s' has no data_offsets of two whole numbers", t->file,
                         t->name);
    if (begin > end)
        return error_set(err, "%s: '%s' has data_offsets [%zu, %zu], the end before the begin",
                         t->file, t->name, begin, end);
    char text[256];
    if (end - begin != t->n_bytes)
        return error_set(err, "%s: '%s' has %zu bytes of data, but %s %s takes %zu", t->file,
                         t->name, end - begin, dtype_name(t->dtype),
                         tensor_shape_text(t, text, sizeof text), t->n_bytes);
    if (end > n_data)
        return error_set(err, "%s: '%s' ends at byte %zu of the data, but the file has only %zu"
                         " bytes of data (%zu in all): truncated?", t->file, t->name, end, n_data,
                         map->size);
    t->data = map->data + data_start + begin;
    return true;
}

/* ---- the header -------------------------------------------------------- */

static bool is_tensor(const cJSON *entry)
{
    return strcmp(entry->string, "__metadata__") != 0;
}

static bool read_tensors(struct safetensors_file *f, const cJSON *header, size_t data_start,
                         struct error *err)
{
    size_t n_tensors = 0, n_names = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, header) {
        n_tensors += is_tensor(entry);
        n_names += strlen(entry->string) + 1;       /* at most the header's size */
    }
    f->tensors = mem_array(n_tensors, sizeof *f->tensors, "tensors", err);
    f->names = mem_array(n_names, 1, "tensor names", err);
    if (!f->tensors || !f->names)
        return false;
    char *name = f->names;
    cJSON_ArrayForEach(entry, header) {
        if (!is_tensor(entry))
            continue;
        struct tensor *t = &f->tensors[f->n_tensors++];
        size_t n = strlen(entry->string) + 1;
        t->name = memcpy(name, entry->string, n);
        t->file = f->map.path;
        name += n;
        if (!cJSON_IsObject(entry))
            return error_set(err, "%s: '%s' is not described by an object", t->file, t->name);
        if (!json_unique_keys(entry, t->file, err) || !read_dtype(t, entry, err)
            || !read_shape(t, entry, err) || !read_range(t, entry, &f->map, data_start, err))
            return false;
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int compare_data(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    return (x->data > y->data) - (x->data < y->data);
}

bool safetensors_check_overlaps(const struct safetensors_file *f, struct error *err)
{
    const struct tensor **by_data = mem_array(f->n_tensors, sizeof *by_data, "tensors", err);
    if (!by_data)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < f->n_tensors; i++)
        if (f->tensors[i].n_bytes)      /* an empty tensor shares no byte with anything */
            by_data[n++] = &f->tensors[i];
    qsort(by_data, n, sizeof *by_data, compare_data);
    bool ok = true;
    for (size_t i = 1; ok && i < n; i++)
        if (by_data[i - 1]->data + by_data[i - 1]->n_bytes > by_data[i]->data)
            ok = error_set(err, "%s: the data of '%s' and '%s' overlap", f->map.path,
                           by_data[i - 1]->name, by_data[i]->name);
    free(by_data);
    return ok;
}

/* Where the header is, by its length in front of it. */
static bool find_header(size_t *n, const struct safetensors_file *f, struct error *err)
{
    const char *path = f->map.path;
    if (f->map.size < LENGTH_BYTES)
        return error_set(err, "%s: truncated: %zu bytes, a safetensors file has at least %zu", path,
                         f->map.size, LENGTH_BYTES);
    uint64_t length = 0;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        length |= (uint64_t)f->map.data[i] << (8 * i);
    if (length > f->map.size - LENGTH_BYTES)
        return error_set(err, "%s: a header of %llu bytes does not fit into the file's %zu bytes",
                         path, (unsigned long long)length, f->map.size);
    if (length > SAFETENSORS_HEADER_MOST)       /* before memory is taken for what it says */
        return error_set(err, "%s: a header of %llu bytes, expected at most %zu", path,
                         (unsigned long long)length, SAFETENSORS_HEADER_MOST);
    const char *text = (const char *)f->map.data + LENGTH_BYTES;
    if (length == 0 || text[0] != '{')  /* as upstream: no white space in front */
        return error_set(err, "%s: the header is not a JSON object", path);
    *n = (size_t)length;
    return true;
}

static bool read_header(struct safetensors_file *f, struct error *err)
{
    const char *path = f->map.path;
    size_t length = 0;
    if (!find_header(&length, f, err)) {
        stand_in_check(path, f->map.data, f->map.size, err);    /* says it better, if it is one */
        return false;
    }
    cJSON *header = json_parse((const char *)f->map.data + LENGTH_BYTES, length, path, err);
    if (!header)
        return false;
    size_t data_start = LENGTH_BYTES + length;
    bool ok = json_unique_keys(header, path, err) && read_tensors(f, header, data_start, err);
    cJSON_Delete(header);
    if (!ok)
        return false;
    qsort(f->tensors, f->n_tensors, sizeof *f->tensors, compare_names);
    return safetensors_check_overlaps(f, err);
}

bool safetensors_open(struct safetensors_file *f, const char *path, struct error *err)
{
    *f = (struct safetensors_file){ 0 };
    if (!file_map(&f->map, path, err))
        return false;
    if (read_header(f, err))
        return true;
    safetensors_close(f);
    return false;
}

void safetensors_close(struct safetensors_file *f)
{
    free(f->tensors);
    free(f->names);
    file_unmap(&f->map);
    *f = (struct safetensors_file){ 0 };
}

const struct tensor *safetensors_find(const struct safetensors_file *f, const char *name)
{
    struct tensor key = { .name = name };
    return f->n_tensors ? bsearch(&key, f->tensors, f->n_tensors, sizeof key, compare_names) : NULL;
}
