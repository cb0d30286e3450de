#include "eval/score/calibration_file.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 256                /* about what the header says of a linear's two tensors */

/* Linear i has tensors i (tokens) and n + i (means), so that the eight-byte ones come first. */
struct file {
    const struct calibration *c;
    struct buffer names;                /* back to back, two of each linear */
    const struct matrix **weights;      /* owned [n], in the order of the checkpoint */
    struct safetensors_entry *entries;  /* owned [2 n] */
    struct safetensors_writer writer;
    size_t n;
    struct error *err;
};

static bool list_linear(void *user, const struct model_weight *w)
{
    struct file *f = user;
    if (!w->is_linear)
        return true;
    assert(f->n < f->c->n);
    f->weights[f->n++] = w->matrix;
    return buffer_printf(&f->names, f->err, "%s.tokens", w->module)
        && buffer_append(&f->names, "", 1, f->err)
        && buffer_printf(&f->names, f->err, "%s.input_mean_square", w->module)
        && buffer_append(&f->names, "", 1, f->err);
}

static bool list_tensors(struct file *f, const struct checkpoint *ck, const struct weights *w)
{
    size_t n = f->c->n;
    f->weights = mem_array(n, sizeof *f->weights, "linear layers", f->err);
    f->entries = mem_array(n, 2 * sizeof *f->entries, "tensors", f->err);
    bool ok = f->weights && f->entries;
    for (size_t i = 0; ok && i < w->n_layers; i++)
        ok = weights_visit_layer(ck, w, i, list_linear, f);
    const char *name = f->names.data;
    for (size_t i = 0; ok && i < n; i++) {
        f->entries[i] = (struct safetensors_entry){ name, DTYPE_I64, 1, { 1 } };
        name += strlen(name) + 1;
        f->entries[n + i] = (struct safetensors_entry){ name, DTYPE_F32, 1,
                                                        { f->weights[i]->cols } };
        name += strlen(name) + 1;
    }
    return ok;
}

static bool write_linear(struct file *f, size_t i, float *mean)
{
    const struct calibrated *seen = calibration_of(f->c, f->weights[i]);
    int64_t tokens = (int64_t)seen->tokens;
    size_t cols = seen->weight->cols, n = f->c->n;
    for (size_t j = 0; j < cols; j++) {
        mean[j] = tokens ? (float)(seen->squares[j] / (double)tokens) : 0;
        if (!isfinite(mean[j]))
            return error_set(f->err, "'%s' is beyond F32 at channel %zu", f->entries[n + i].name,
                             j);
    }
    return safetensors_write(&f->writer, i, 0, &tokens, sizeof tokens, f->err)
        && safetensors_write(&f->writer, n + i, 0, mean, cols * sizeof *mean, f->err);
}

static bool write_all(struct file *f)
{
    size_t widest = 0;
    for (size_t i = 0; i < f->n; i++)
        widest = size_max(widest, f->weights[i]->cols);
    float *mean = mem_array(widest, sizeof *mean, "mean squares", f->err);
    bool ok = mean != NULL;
    for (size_t i = 0; ok && i < f->n; i++)
        ok = write_linear(f, i, mean);
    free(mean);
    if (ok)
        return safetensors_commit(&f->writer, f->err);
    safetensors_abandon(&f->writer);
    return false;
}

size_t calibration_file_bytes(const struct calibration *c)
{
    size_t bytes = 0;
    for (size_t i = 0; i < c->n; i++)
        bytes += c->linears[i].weight->cols * sizeof(float) + sizeof(int64_t) + HEADER_BYTES;
    return bytes;
}

bool calibration_file_write(const char *path, const struct calibration *c,
                            const struct checkpoint *ck, const struct weights *w,
                            const struct safetensors_note *notes, size_t n_notes, struct error *err)
{
    struct file f = { .c = c, .err = err };
    bool ok = list_tensors(&f, ck, w)
           && safetensors_create_noted(&f.writer, path, notes, n_notes, f.entries, 2 * c->n, err)
           && write_all(&f);
    buffer_free(&f.names);
    free(f.weights);
    free(f.entries);
    return ok;
}
