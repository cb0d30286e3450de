#include "eval/run/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/format.h"
#include "eval/protocol/protocol.h"
#include "eval/run/left_out.h"
#include "eval/run/run_folder.h"
#include "eval/run/summary.h"

static bool folder_has(const char *folder, const char *name)
{
    char *path = file_join(folder, name, NULL);
    bool there = path && file_exists(path);
    free(path);
    return there;
}

bool record_is_folder(const char *folder)
{
    return folder_has(folder, RUN_SUMMARY) && folder_has(folder, RUN_TOKENS);
}

/* ---- the summary -------------------------------------------------------------- */

static bool read_summary(struct record *r, const char *path, struct error *err)
{
    struct buffer text;
    if (!file_read(&text, path, err))
        return false;
    if (summary_check_digest(text.data, text.size, path, err))
        r->summary = json_parse(text.data, text.size, path, err);
    buffer_free(&text);
    r->keeps_hidden = cJSON_IsString(json_get(r->summary, "hidden"));
    return r->summary && json_unique_keys(r->summary, path, err);
}

static bool read_protocol(struct record *r, const char *path, struct error *err)
{
    const char *name = cJSON_GetStringValue(json_get(r->summary, "protocol"));
    if (name && protocol_find(&r->protocol, name, strlen(name)))
        return protocol_check(r->protocol, r->context, r->stride, err)
            || error_prefix(err, "%s: ", path);
    return error_set(err, "%s: protocol is '%s', expected a known one", path, name ? name : "");
}

static bool read_sizes(struct record *r, const char *path, struct error *err)
{
    const struct {
        const char *key;
        size_t *to;
    } sizes[] = {
        { "scored", &r->scored }, { "windows", &r->windows }, { "tokens", &r->tokens },
        { "context", &r->context }, { "stride", &r->stride },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!json_to_size(json_get(r->summary, sizes[i].key), sizes[i].to) || *sizes[i].to == 0
            || *sizes[i].to > INT32_MAX)
            return error_set(err, "%s: '%s' is not a whole number from 1 to %d", path,
                             sizes[i].key, INT32_MAX);
    return true;
}

static bool read_part(struct record *r, const char *path, struct error *err)
{
    const cJSON *o = json_get_value(r->summary, "part");
    struct record_part *p = &r->part;
    p->windows_of_all = r->windows;
    if (!o)
        return true;
    return (json_to_size(json_get(o, "index"), &p->index) && json_to_size(json_get(o, "of"), &p->of)
            && json_to_size(json_get(o, "first_window"), &p->first_window)
            && json_to_size(json_get(o, "windows_of_all"), &p->windows_of_all)
            && p->index >= 1 && p->index <= p->of && p->windows_of_all <= INT32_MAX
            && p->first_window <= p->windows_of_all
            && r->windows <= p->windows_of_all - p->first_window)
        || error_set(err, "%s: 'part' is no part of a run: expected an index from 1 to that of all "
                     "parts, and %zu windows among those of all", path, r->windows);
}

static bool read_left_out(struct record *r, const char *path, struct error *err)
{
    size_t tokens;
    r->left_out = mem_array(r->windows, sizeof *r->left_out, "windows", err);
    if (!r->left_out || !left_out_read(r->left_out, r->part.first_window, r->windows, &tokens,
                                       r->summary, path, err))
        return false;
    for (size_t i = 0; i < r->windows; i++)
        r->n_left_out += r->left_out[i];
    if (!size_sum(&r->file_rows, r->scored, tokens) || r->file_rows > INT32_MAX)
        return error_set(err, "%s: %zu tokens are left out beside %zu that are scored", path,
                         tokens, r->scored);
    /* Only the last window of strided may score nothing. */
    return r->windows <= r->file_rows + 1
        || error_set(err, "%s: %zu windows for %zu scored tokens", path, r->windows, r->file_rows);
}

/* documents.windows is the number of windows of each document. */
static bool read_documents(struct record *r, const char *path, struct error *err)
{
    const cJSON *counts = json_get_value(json_get_value(r->summary, "documents"), "windows"), *item;
    if (!json_get_value(r->summary, "documents"))
        return true;
    const size_t windows = r->part.windows_of_all;
    r->document = mem_array(windows, sizeof *r->document, "documents", err);
    if (!r->document)
        return false;
    size_t window = 0, n = 0;
    cJSON_ArrayForEach(item, counts) {
        if (!json_to_size(item, &n) || n == 0 || n > windows - window)
            break;
        for (size_t i = 0; i < n; i++)
            r->document[window++] = (int32_t)r->n_documents;
        r->n_documents++;
    }
    return (!item && window == windows)
        || error_set(err, "%s: the windows of the documents do not add up to %zu", path, windows);
}

/* ---- the columns -------------------------------------------------------------- */

/* Ends the stream; if ok, its digest must be the one in the summary. */
static bool check_digest(const struct record *r, const char *key, struct digest_stream *s,
                         bool ok, struct error *err)
{
    struct digest d;
    char hex[2 * DIGEST_BYTES + 1];
    if (!digest_end(s, ok ? &d : NULL, err) || !ok)
        return false;
    digest_hex(hex, &d);
    const char *stated = cJSON_GetStringValue(json_get(r->summary, key));
    return (stated && strcmp(stated, hex) == 0)
        || error_set(err, "%s: was edited, or belongs to another summary: %s is %s, expected %s",
                     r->file.map.path, key, hex, stated ? stated : "none");
}

static const struct tensor *find_column(const struct record *r, const char *name, enum dtype dtype,
                                        size_t ndim, struct error *err)
{
    const struct tensor *t = safetensors_find(&r->file, name);
    char shape[128];
    if (!t)
        error_set(err, "%s: has no column '%s'", r->file.map.path, name);
    else if (t->dtype != dtype || t->ndim != ndim || t->shape[0] != r->file_rows)
        error_set(err, "%s: '%s' is %s %s, expected %s [%zu%s]", t->file, name,
                  dtype_name(t->dtype), tensor_shape_text(t, shape, sizeof shape),
                  dtype_name(dtype), r->file_rows, ndim == 1 ? "" : ", hidden size");
    else
        return t;
    return NULL;
}

static bool copy_columns(struct record *r, struct error *err)
{
    void *copies[RUN_FOLDER_COLUMNS] = { NULL };
    struct digest_stream *s = digest_begin(err);
    bool ok = s != NULL;
    for (size_t i = 0; ok && i < RUN_FOLDER_COLUMNS; i++) {
        const struct run_folder_column *c = &run_folder_columns[i];
        const struct tensor *t = find_column(r, c->name, c->dtype, 1, err);
        ok = t && file_populate(&r->file.map, (size_t)(t->data - r->file.map.data), t->n_bytes, err)
          && (copies[i] = mem_array(t->n_bytes, 1, "a column", err));
        if (ok) {
            memcpy(copies[i], t->data, t->n_bytes);
            file_release(&r->file.map, (size_t)(t->data - r->file.map.data), t->n_bytes, false);
            ok = digest_update(s, copies[i], t->n_bytes, err);
        }
    }
    r->position = copies[0];
    r->window = copies[1];
    r->id = copies[2];
    r->nll = copies[3];
    r->top1 = copies[4];
    r->logsumexp = copies[5];
    return check_digest(r, "tokens_sha256", s, ok, err);
}

/* ---- rows ---------------------------------------------------------------------- */

/* The rows of the same window are [begin, end). */
static int64_t index_in_window(const struct record *r, size_t row, size_t begin, size_t end)
{
    size_t window = (size_t)r->window[row];
    const struct protocol_row place = {
        .position = (size_t)r->position[row], .window = window,
        .starts_document = window == 0
                        || (r->document && r->document[window] != r->document[window - 1]),
        .scored_before = row - begin, .scored_from = end - row,
    };
    return protocol_index_in_window(r->protocol, r->context, r->stride, &place);
}

/* The window of a row, among those of the record. */
static size_t own_window(const struct record *r, size_t row)
{
    return (size_t)r->window[row] - r->part.first_window;
}

static bool check_row(const struct record *r, size_t i, struct error *err)
{
    const char *path = r->file.map.path;
    if (r->window[i] < 0 || own_window(r, i) >= r->windows
        || (i && r->window[i] < r->window[i - 1]))
        return error_set(err, "%s: row %zu has window %d, out of order or not one of the %zu from "
                         "%zu", path, i, (int)r->window[i], r->windows, r->part.first_window);
    if (r->position[i] < 0 || (size_t)r->position[i] >= r->tokens
        || (i && r->position[i] <= r->position[i - 1]))
        return error_set(err, "%s: row %zu has position %d, out of order or not below %zu", path, i,
                         (int)r->position[i], r->tokens);
    if (r->left_out[own_window(r, i)])
        return (isnan(r->nll[i]) && r->top1[i] == -1 && r->id[i] >= 0)
            || error_set(err, "%s: row %zu has NLL %g, but the summary leaves window %d out", path,
                         i, r->nll[i], (int)r->window[i]);
    if (r->id[i] < 0 || r->top1[i] < 0)
        return error_set(err, "%s: row %zu has a negative token id", path, i);
    return (isfinite(r->nll[i]) && r->nll[i] >= 0)
        || error_set(err, "%s: row %zu has NLL %g, expected a number from 0", path, i, r->nll[i]);
}

static bool check_rows(struct record *r, struct error *err)
{
    r->index_in_window = mem_array(r->file_rows, sizeof *r->index_in_window, "rows", err);
    if (!r->index_in_window)
        return false;
    for (size_t begin = 0, end; begin < r->file_rows; begin = end) {
        for (end = begin; end < r->file_rows && r->window[end] == r->window[begin]; end++)
            if (!check_row(r, end, err))
                return false;
        for (size_t i = begin; i < end; i++) {
            int64_t index = index_in_window(r, i, begin, end);
            if (index < 1 || index > (int64_t)r->context)
                return error_set(err, "%s: row %zu has position %d, which is not in window %d",
                                 r->file.map.path, i, (int)r->position[i], (int)r->window[i]);
            r->index_in_window[i] = (int32_t)index;
        }
    }
    return true;
}

static bool equal_figure(const struct record *r, const char *key, double found, struct error *err)
{
    const cJSON *item = json_get(r->summary, key);
    if (!cJSON_IsNumber(item))
        return !isfinite(found)
            || error_set(err, "%s: %s is %.17g by the rows, but the summary has none", r->folder,
                         key, found);
    return fabs(found - item->valuedouble) <= RECORD_TOLERANCE * fabs(found)
        || error_set(err, "%s: %s is %.17g by the rows, but %.17g by the summary", r->folder, key,
                     found, item->valuedouble);
}

static bool compute_figures(struct record *r, struct error *err)
{
    struct window_score *windows = mem_array(r->windows, sizeof *windows, "windows", err);
    if (!windows)
        return false;
    for (size_t i = 0; i < r->scored; i++) {
        compensated_add(&windows[own_window(r, i)].nll, r->nll[i]);
        windows[own_window(r, i)].scored++;
    }
    r->figures = statistics_figures(windows, r->windows);
    free(windows);
    return true;
}

static bool check_figures(struct record *r, struct error *err)
{
    return compute_figures(r, err) && equal_figure(r, "mean_nll", r->figures.mean, err)
        && equal_figure(r, "nll_stderr", r->figures.mean_se, err)
        && equal_figure(r, "perplexity", r->figures.perplexity, err);
}

/* ---- windows that are left out ---------------------------------------------------- */

/* Drops the rows of windows that are left out from the `rows` that the columns have. */
static bool drop_rows(struct record *r, size_t rows, struct error *err)
{
    size_t n = 0;
    if (!r->file_row && !(r->file_row = mem_array(rows, sizeof *r->file_row, "rows", err)))
        return false;
    for (size_t i = 0; rows == r->file_rows && i < rows; i++)
        r->file_row[i] = (int32_t)i;
    for (size_t i = 0; i < rows; i++) {
        if (r->left_out[own_window(r, i)])
            continue;
        r->position[n] = r->position[i];
        r->window[n] = r->window[i];
        r->id[n] = r->id[i];
        r->nll[n] = r->nll[i];
        r->top1[n] = r->top1[i];
        r->logsumexp[n] = r->logsumexp[i];
        r->index_in_window[n] = r->index_in_window[i];
        r->file_row[n++] = r->file_row[i];
    }
    if (n == 0)
        return error_set(err, "%s: no window is left to compare: those that it scored are left out "
                         "of another run", r->folder);
    r->scored = n;
    return true;
}

/* Those that the file has, and that its summary leaves out. */
static bool drop_own(struct record *r, struct error *err)
{
    size_t scored = r->scored;
    return r->n_left_out == 0
        || (drop_rows(r, r->file_rows, err)
            && (r->scored == scored
                || error_set(err, "%s: has %zu scored tokens, but %zu by the summary", r->folder,
                             r->scored, scored)));
}

bool record_replace(cJSON *summary, const char *key, cJSON *item, struct error *err)
{
    if (item && json_get(summary, key)
        && cJSON_ReplaceItemInObjectCaseSensitive(summary, key, item))
        return true;
    cJSON_Delete(item);
    return (item && !json_get(summary, key)) || error_set(err, "out of memory: a summary");
}

bool record_replace_number(cJSON *summary, const char *key, double value, struct error *err)
{
    return record_replace(summary, key, json_double(value), err);
}

bool record_replace_figures(struct record *r, struct error *err)
{
    const cJSON *text = json_get(r->summary, "text");
    size_t words, bytes;
    if (json_to_size(json_get(text, "words"), &words)
        && json_to_size(json_get(text, "bytes"), &bytes) && words && bytes)
        statistics_by_text(&r->figures, r->tokens, words, bytes);
    const struct figures *f = &r->figures;
    const struct {
        const char *key;
        double value;
    } figures[] = {
        { "scored", (double)r->scored }, { "mean_nll", f->mean }, { "perplexity", f->perplexity },
        { "nll_stderr", f->mean_se }, { "perplexity_stderr", f->perplexity_se },
        { "word_perplexity", f->word_perplexity }, { "byte_perplexity", f->byte_perplexity },
        { "bits_per_byte", f->bits_per_byte },
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof figures / sizeof *figures; i++)
        ok = record_replace_number(r->summary, figures[i].key, figures[i].value, err);
    return ok;
}

bool record_leave_out(struct record *r, const bool *windows, struct error *err)
{
    size_t rows = r->scored;
    bool more = false;
    for (size_t i = 0; i < r->windows; i++)
        if (windows[i] && !r->left_out[i]) {
            more = r->left_out[i] = true;
            r->n_left_out++;
        }
    return !more
        || (drop_rows(r, rows, err) && compute_figures(r, err) && record_replace_figures(r, err));
}

/* ---- hidden states -------------------------------------------------------------- */

#define HASH_PIECE ((size_t)8 << 20)

/* Hashes in pieces and releases their pages: hidden states may be larger than the memory. */
bool record_view_hidden(struct record *r, struct error *err)
{
    const char *kept = cJSON_GetStringValue(json_get(r->summary, "hidden"));
    if (!r->keeps_hidden)
        return error_set(err, "%s: holds no final hidden states (eval --hidden keeps them)",
                         r->folder);
    bool bf16 = strcmp(kept, "bf16") == 0;
    if (!bf16 && strcmp(kept, "f32") != 0)
        return error_set(err, "%s: its hidden states are '%s', expected f32 or bf16", r->folder,
                         kept);
    enum dtype dtype = bf16 ? DTYPE_BF16 : DTYPE_F32;
    const struct tensor *t = find_column(r, "hidden", dtype, 2, err);
    if (!t)
        return false;
    struct digest_stream *s = digest_begin(err);
    bool ok = s != NULL;
    size_t begin = (size_t)(t->data - r->file.map.data);
    for (size_t at = 0, n; ok && at < t->n_bytes; at += n) {
        n = size_min(HASH_PIECE, t->n_bytes - at);
        ok = file_populate(&r->file.map, begin + at, n, err)
          && digest_update(s, t->data + at, n, err);
        file_release(&r->file.map, begin + at, n, false);
    }
    r->hidden = (struct matrix){ .dtype = dtype, .data = t->data, .rows = t->shape[0],
                                 .cols = t->shape[1] };
    return check_digest(r, "hidden_sha256", s, ok, err);
}

size_t record_bytes(size_t scored, size_t windows)
{
    size_t row = sizeof(int32_t);               /* index_in_window */
    for (size_t i = 0; i < RUN_FOLDER_COLUMNS; i++)
        row += dtype_bytes(run_folder_columns[i].dtype);
    return scored * row + windows * (sizeof(int32_t) + sizeof(struct window_score));
}

/* ---- the folder ---------------------------------------------------------------- */

bool record_open(struct record *r, const char *folder, struct error *err)
{
    *r = (struct record){ 0 };
    char *summary = file_join(folder, RUN_SUMMARY, err);
    char *tokens = file_join(folder, RUN_TOKENS, err);
    r->folder = mem_string(folder, err);
    bool ok = r->folder && summary && tokens && read_summary(r, summary, err)
           && read_sizes(r, summary, err) && read_part(r, summary, err)
           && read_left_out(r, summary, err)
           && read_protocol(r, summary, err)
           && safetensors_open(&r->file, tokens, err) && copy_columns(r, err)
           && read_documents(r, summary, err) && check_rows(r, err) && drop_own(r, err)
           && check_figures(r, err);
    free(summary);
    free(tokens);
    if (!ok)
        record_close(r);
    return ok;
}

bool record_refuse_part(const struct record *r, struct error *err)
{
    return r->part.of == 0
        || error_set(err, "%s: is part %zu of %zu of a run, expected a whole one: `surprisal"
                     " merge` makes it of its parts", r->folder, r->part.index, r->part.of);
}

void record_close(struct record *r)
{
    void *const owned[] = { r->folder, r->position, r->window, r->id, r->top1, r->index_in_window,
                            r->nll, r->logsumexp, r->document, r->left_out, r->file_row };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    cJSON_Delete(r->summary);
    safetensors_close(&r->file);
    *r = (struct record){ 0 };
}
