#include "eval/run/run_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/file_digest.h"
#include "eval/run/unfinished_run.h"

/* x comes first, so that it is aligned. */
enum { X, NUMBERS, SECONDS, TENSORS, ROWS, LEFT_OUT, SETTINGS, SHA256, N_PARTS };
static const struct { const char *name; enum dtype dtype; } parts[N_PARTS] = {
    [X] = { "x", DTYPE_F32 }, [NUMBERS] = { "numbers", DTYPE_I64 },
    [SECONDS] = { "seconds", DTYPE_F64 }, [TENSORS] = { "tensors", DTYPE_U8 },
    [ROWS] = { "rows", DTYPE_U8 }, [LEFT_OUT] = { "left_out", DTYPE_I64 },
    [SETTINGS] = { "settings", DTYPE_U8 }, [SHA256] = { "sha256", DTYPE_U8 },
};

enum { FIRST_WINDOW, N_WINDOWS, ROW, LAYER, MIXER_DONE, ROWS_DONE, PASSES, BYTES_READ, MODEL_TOKENS,
       N_NUMBERS };

/* The digest of all parts but itself.  x_file, file: the files that hold x and the others; NULL: in
 * memory. */
static bool digest_parts(struct digest *out, const void *const bytes[], const size_t n_bytes[],
                         const struct mapped_file *x_file, const struct mapped_file *file,
                         int n_threads, struct error *err)
{
    struct digest of_part[SHA256];
    for (size_t i = 0; i < SHA256; i++)
        if (!file_digest_pieces(&of_part[i], bytes[i], n_bytes[i], i == X ? x_file : file,
                                n_threads, err))
            return false;
    return digest_of(out, of_part, sizeof of_part, err);
}

#define PIECE_BYTES ((size_t)1 << 20)

/* A stream in a file is read a piece at a time: it may be larger than the memory. */
static bool write_x(struct safetensors_writer *w, const struct engine_state *s, struct error *err)
{
    const uint8_t *x = (const uint8_t *)s->x;
    size_t all = w->n_bytes[X], n = 0;
    for (size_t at = 0; at < all; at += n) {
        n = s->file ? size_min(PIECE_BYTES, all - at) : all;
        if (!safetensors_write(w, X, at, x + at, n, err))
            return false;
        if (s->file)
            file_release(s->file, (size_t)(x + at - s->file->data), n, false);
    }
    return true;
}

/* Gives [*n] windows as left_out_pack has them. */
static int64_t *pack_left_out(size_t *n, const struct run_state_of *of, const struct run_state *s,
                              struct error *err)
{
    size_t windows = s->nonfinite ? of->n_windows : 0;
    *n = 0;
    for (size_t i = 0; i < windows; i++)
        *n += s->nonfinite[i].step != NONFINITE_NONE;
    int64_t *list = mem_array(*n, LEFT_OUT_NUMBERS * sizeof *list, "the windows left out", err);
    int64_t *to = list;
    for (size_t i = 0; list && i < windows; i++)
        if (s->nonfinite[i].step != NONFINITE_NONE) {
            left_out_pack(to, i, &s->nonfinite[i]);
            to += LEFT_OUT_NUMBERS;
        }
    return list;
}

/* left_out: [n_left_out] as left_out_pack has them. */
static bool save_parts(const char *path, const struct run_state_of *of, const struct run_state *s,
                       const int64_t *left_out, size_t n_left_out, struct error *err)
{
    const struct engine_state *e = &s->engine;
    const int64_t numbers[N_NUMBERS] = {
        [FIRST_WINDOW] = (int64_t)e->first_window, [N_WINDOWS] = (int64_t)e->n_windows,
        [ROW] = (int64_t)e->row, [LAYER] = (int64_t)e->layer, [MIXER_DONE] = e->mixer_done,
        [ROWS_DONE] = (int64_t)e->rows_done, [PASSES] = (int64_t)e->statistics.passes,
        [BYTES_READ] = (int64_t)e->statistics.bytes_read,
        [MODEL_TOKENS] = (int64_t)e->statistics.model_tokens,
    };
    struct safetensors_entry entries[N_PARTS] = {
        [X] = { .ndim = 2, .shape = { e->n_rows, of->hidden_size } },
        [NUMBERS] = { .ndim = 1, .shape = { N_NUMBERS } },
        [SECONDS] = { .ndim = 1, .shape = { 1 } },
        [TENSORS] = { .ndim = 2, .shape = { of->n_tensors, WEIGHTS_KNOWN_BYTES } },
        [ROWS] = { .ndim = 2, .shape = { of->n_runs, DIGEST_BYTES } },
        [LEFT_OUT] = { .ndim = 2, .shape = { n_left_out, LEFT_OUT_NUMBERS } },
        [SETTINGS] = { .ndim = 1, .shape = { strlen(of->settings) } },
        [SHA256] = { .ndim = 1, .shape = { DIGEST_BYTES } },
    };
    struct digest digest;
    const void *const bytes[N_PARTS] = { e->x, numbers, &s->seconds, s->known, s->rows,
                                         left_out, of->settings, &digest };
    for (size_t i = 0; i < N_PARTS; i++) {
        entries[i].name = parts[i].name;
        entries[i].dtype = parts[i].dtype;
    }
    struct safetensors_writer w;
    if (!safetensors_create(&w, path, entries, N_PARTS, err))
        return false;
    bool ok = digest_parts(&digest, bytes, w.n_bytes, e->file, NULL, of->n_threads, err);
    for (size_t i = 0; ok && i < N_PARTS; i++)
        ok = i == X ? write_x(&w, e, err)
                    : safetensors_write(&w, i, 0, bytes[i], w.n_bytes[i], err);
    if (ok)
        return safetensors_commit(&w, err);
    safetensors_abandon(&w);
    return false;
}

bool run_state_save(const char *path, const struct run_state_of *of, const struct run_state *s,
                    struct error *err)
{
    size_t n;
    int64_t *left_out = pack_left_out(&n, of, s, err);
    bool ok = left_out && save_parts(path, of, s, left_out, n, err);
    free(left_out);
    return ok;
}

void run_state_close(struct run_state *s)
{
    safetensors_close(&s->file);
    free(s->nonfinite);
    *s = (struct run_state){ 0 };
}

static bool read_numbers(struct run_state *s, const struct tensor *t, const char *path,
                         struct error *err)
{
    int64_t n[N_NUMBERS];
    memcpy(n, t->data, sizeof n);
    for (size_t i = 0; i < N_NUMBERS; i++)
        if (n[i] < 0)
            return error_set(err, "%s: number %zu is %lld, expected none below 0", path, i,
                             (long long)n[i]);
    s->engine.first_window = (size_t)n[FIRST_WINDOW];
    s->engine.n_windows = (size_t)n[N_WINDOWS];
    s->engine.row = (size_t)n[ROW];
    s->engine.layer = (size_t)n[LAYER];
    s->engine.mixer_done = n[MIXER_DONE] != 0;
    s->engine.rows_done = (size_t)n[ROWS_DONE];
    s->engine.statistics = (struct engine_statistics){
        .passes = (size_t)n[PASSES], .bytes_read = (size_t)n[BYTES_READ],
        .model_tokens = (size_t)n[MODEL_TOKENS],
    };
    return true;
}

static bool read_left_out(struct run_state *s, const struct tensor *t,
                          const struct run_state_of *of, const char *path, struct error *err)
{
    const size_t row = LEFT_OUT_NUMBERS * sizeof(int64_t);
    if (t->n_bytes == 0)
        return true;
    s->nonfinite = mem_array(of->n_windows, sizeof *s->nonfinite, "the windows left out", err);
    for (size_t at = 0; s->nonfinite && at < t->n_bytes; at += row) {
        int64_t numbers[LEFT_OUT_NUMBERS];
        struct nonfinite found;
        size_t window;
        memcpy(numbers, t->data + at, sizeof numbers);
        if (!left_out_unpack(&window, &found, numbers) || window >= of->n_windows)
            return error_set(err, "%s: row %zu of 'left_out' is not one of %zu windows", path,
                             at / row, of->n_windows);
        s->nonfinite[window] = found;
    }
    return s->nonfinite != NULL;
}

static bool find_parts(const struct tensor *t[N_PARTS], const struct run_state *s, const char *path,
                       struct error *err)
{
    for (size_t i = 0; i < N_PARTS; i++) {
        t[i] = safetensors_find(&s->file, parts[i].name);
        if (!t[i] || t[i]->dtype != parts[i].dtype)
            return error_set(err, "%s: '%s' is missing or has another type: not a state of this "
                             "version", path, parts[i].name);
    }
    return true;
}

static bool check_shapes(const struct tensor *const t[N_PARTS], const struct run_state_of *of,
                         const char *path, struct error *err)
{
    bool ok = t[NUMBERS]->n_bytes == N_NUMBERS * sizeof(int64_t)
           && t[SECONDS]->n_bytes == sizeof(double) && t[SHA256]->n_bytes == DIGEST_BYTES
           && t[TENSORS]->n_bytes == of->n_tensors * WEIGHTS_KNOWN_BYTES
           && t[ROWS]->n_bytes == of->n_runs * DIGEST_BYTES
           && t[LEFT_OUT]->n_bytes % (LEFT_OUT_NUMBERS * sizeof(int64_t)) == 0 && t[X]->ndim == 2
           && t[X]->shape[1] == of->hidden_size;
    return ok
        || error_set(err, "%s: its tensors do not have the shapes of this checkpoint's state",
                     path);
}

static bool check_digest(const struct tensor *const t[N_PARTS], const struct run_state *s,
                         const struct run_state_of *of, const char *path, struct error *err)
{
    const void *bytes[N_PARTS];
    size_t n_bytes[N_PARTS];
    struct digest found;
    for (size_t i = 0; i < N_PARTS; i++) {
        bytes[i] = t[i]->data;
        n_bytes[i] = t[i]->n_bytes;
    }
    return digest_parts(&found, bytes, n_bytes, &s->file.map, &s->file.map, of->n_threads, err)
        && (memcmp(&found, t[SHA256]->data, DIGEST_BYTES) == 0
            || error_set(err, "%s: was damaged or edited: its sha256 is not that of its content",
                         path));
}

static bool read_parts(struct run_state *s, const char *path, const struct run_state_of *of,
                       struct error *err)
{
    const struct tensor *t[N_PARTS];
    if (!find_parts(t, s, path, err))
        return false;
    size_t n = t[SETTINGS]->n_bytes;
    if (n != strlen(of->settings) || memcmp(t[SETTINGS]->data, of->settings, n) != 0)
        return unfinished_run_differs(path, of->settings, (const char *)t[SETTINGS]->data, n, err);
    if (!check_shapes(t, of, path, err) || !check_digest(t, s, of, path, err)
        || !read_numbers(s, t[NUMBERS], path, err)
        || !read_left_out(s, t[LEFT_OUT], of, path, err))
        return false;
    memcpy(&s->seconds, t[SECONDS]->data, sizeof s->seconds);
    s->known = t[TENSORS]->data;
    s->rows = t[ROWS]->data;
    s->engine.n_rows = t[X]->shape[0];
    s->engine.file = &s->file.map;
    s->engine.x = (const float *)(const void *)t[X]->data;
    return (uintptr_t)s->engine.x % sizeof(float) == 0
        || error_set(err, "%s: 'x' is not aligned", path);
}

bool run_state_load(struct run_state *s, const char *path, const struct run_state_of *of,
                    struct error *err)
{
    *s = (struct run_state){ 0 };
    if (safetensors_open(&s->file, path, err) && read_parts(s, path, of, err))
        return true;
    run_state_close(s);
    return false;
}
