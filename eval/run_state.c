#include "eval/run_state.h"

#include <string.h>

/* x comes first: there it is aligned. */
enum { X, NUMBERS, SECONDS, TENSORS, SETTINGS, N_PARTS };
static const char *const names[N_PARTS] = { "x", "numbers", "seconds", "tensors", "settings" };

enum { FIRST_WINDOW, N_WINDOWS, ROW, LAYER, MIXER_DONE, ROWS_DONE, PASSES, BYTES_READ, MODEL_TOKENS,
       N_NUMBERS };

#define PIECE_BYTES ((size_t)1 << 20)

/* A stream that stands in a file is read a piece at a time: it may be larger than the memory. */
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

bool run_state_save(const char *path, const char *settings, const struct engine_state *state,
                    double seconds, const uint8_t *known, size_t n_tensors, size_t hidden_size,
                    struct error *err)
{
    const struct engine_statistics *st = &state->statistics;
    const int64_t numbers[N_NUMBERS] = {
        [FIRST_WINDOW] = (int64_t)state->first_window, [N_WINDOWS] = (int64_t)state->n_windows,
        [ROW] = (int64_t)state->row, [LAYER] = (int64_t)state->layer,
        [MIXER_DONE] = state->mixer_done, [ROWS_DONE] = (int64_t)state->rows_done,
        [PASSES] = (int64_t)st->passes, [BYTES_READ] = (int64_t)st->bytes_read,
        [MODEL_TOKENS] = (int64_t)st->model_tokens,
    };
    const struct safetensors_entry entries[N_PARTS] = {
        [SETTINGS] = { names[SETTINGS], DTYPE_U8, 1, { strlen(settings) } },
        [NUMBERS] = { names[NUMBERS], DTYPE_I64, 1, { N_NUMBERS } },
        [SECONDS] = { names[SECONDS], DTYPE_F64, 1, { 1 } },
        [TENSORS] = { names[TENSORS], DTYPE_U8, 2, { n_tensors, WEIGHTS_KNOWN_BYTES } },
        [X] = { names[X], DTYPE_F32, 2, { state->n_rows, hidden_size } },
    };
    const void *const bytes[N_PARTS] = { state->x, numbers, &seconds, known, settings };
    struct safetensors_writer w;
    if (!safetensors_create(&w, path, entries, N_PARTS, err))
        return false;
    for (size_t i = 0; i < N_PARTS; i++)
        if (!(i == X ? write_x(&w, state, err)
                     : safetensors_write(&w, i, 0, bytes[i], w.n_bytes[i], err))) {
            safetensors_abandon(&w);
            return false;
        }
    return safetensors_commit(&w, err);
}

void run_state_close(struct run_state *s)
{
    safetensors_close(&s->file);
    *s = (struct run_state){ 0 };
}

/* Names the first line in which two texts differ. */
static bool settings_differ(const char *path, const char *now, const char *then, size_t n_then,
                            struct error *err)
{
    const char *end = then + n_then;
    for (;;) {
        size_t a = strcspn(now, "\n"), b = 0;
        while (then + b < end && then[b] != '\n')
            b++;
        if (a != b || memcmp(now, then, a) != 0)
            return error_set(err, "%s: the interrupted run had '%.*s', this one has '%.*s'; expected "
                             "the same", path, (int)b, then, (int)a, now);
        if (!now[a] || then + b >= end)
            return error_set(err, "%s: belongs to a run with other settings", path);
        now += a + 1;
        then += b + 1;
    }
}

static bool take_numbers(struct run_state *s, const struct tensor *t, const char *path,
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

bool run_state_load(struct run_state *s, const char *path, const char *settings, size_t n_tensors,
                    size_t hidden_size, struct error *err)
{
    *s = (struct run_state){ 0 };
    if (!safetensors_open(&s->file, path, err))
        return false;
    static const enum dtype dtypes[N_PARTS] = { DTYPE_F32, DTYPE_I64, DTYPE_F64, DTYPE_U8, DTYPE_U8 };
    const struct tensor *t[N_PARTS];
    for (size_t i = 0; i < N_PARTS; i++) {
        t[i] = safetensors_find(&s->file, names[i]);
        if (!t[i] || t[i]->dtype != dtypes[i]) {
            error_set(err, "%s: '%s' is missing or has another type: not a state of this version",
                      path, names[i]);
            goto fail;
        }
    }
    size_t n_settings = t[SETTINGS]->n_bytes;
    if (n_settings != strlen(settings) || memcmp(t[SETTINGS]->data, settings, n_settings) != 0) {
        settings_differ(path, settings, (const char *)t[SETTINGS]->data, n_settings, err);
        goto fail;
    }
    if (t[NUMBERS]->n_bytes != N_NUMBERS * sizeof(int64_t) || t[SECONDS]->n_bytes != sizeof(double)
        || t[TENSORS]->n_bytes != n_tensors * WEIGHTS_KNOWN_BYTES || t[X]->ndim != 2
        || t[X]->shape[1] != hidden_size) {
        error_set(err, "%s: its tensors have not the shapes of this checkpoint's state", path);
        goto fail;
    }
    if (!take_numbers(s, t[NUMBERS], path, err))
        goto fail;
    memcpy(&s->seconds, t[SECONDS]->data, sizeof s->seconds);
    s->known = t[TENSORS]->data;
    s->engine.n_rows = t[X]->shape[0];
    s->engine.file = &s->file.map;
    s->engine.x = (const float *)(const void *)t[X]->data;
    if ((uintptr_t)s->engine.x % sizeof(float) == 0)
        return true;
    error_set(err, "%s: 'x' is not aligned", path);
fail:
    run_state_close(s);
    return false;
}
