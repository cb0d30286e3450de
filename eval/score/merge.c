#include "eval/score/merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/format.h"
#include "base/output_folder.h"
#include "eval/run/left_out.h"
#include "eval/run/plan_folders.h"
#include "eval/run/run_folder.h"
#include "eval/run/summary.h"
#include "eval/run/unfinished_run.h"
#include "eval/score/finished.h"
#include "eval/score/parts.h"

struct job {
    const struct surprisal_merge_options *options;
    struct progress progress;
    struct input_files inputs;
    const char *folder;                 /* that becomes the run */
    struct plan_pairs plans;            /* of the parts; none: they are single runs */
    const char **names;                 /* owned [plans.n, NULL] */
};

/* ---- rows ---------------------------------------------------------------------------- */

#define PIECE ((size_t)1024)            /* rows that are copied at a time */

/* The run folder under construction, and the sums of its windows. */
struct merging {
    struct run_folder out;
    struct window_score *windows;       /* owned, of the run */
    float *hidden;                      /* owned [PIECE, hidden_size] */
    size_t row;                         /* the next one */
};

/* An element of a column; columns need not be aligned in the file. */
static void read_element(void *out, size_t size, const struct record *r, size_t i, size_t row)
{
    const struct tensor *t = safetensors_find(&r->file, run_folder_columns[i].name);
    memcpy(out, t->data + row * size, size);
}

/* Rows [from, from + n) of a part, as its file has them. */
static void read_rows(const struct record *r, size_t from, size_t n, struct token_place *places,
                      struct engine_score *scores)
{
    for (size_t i = 0; i < n; i++) {
        struct token_place *place = &places[i];
        struct engine_score *score = &scores[i];
        read_element(&place->position, sizeof place->position, r, 0, from + i);
        read_element(&place->window, sizeof place->window, r, 1, from + i);
        read_element(&place->id, sizeof place->id, r, 2, from + i);
        read_element(&score->nll, sizeof score->nll, r, 3, from + i);
        read_element(&score->top1, sizeof score->top1, r, 4, from + i);
        read_element(&score->logsumexp, sizeof score->logsumexp, r, 5, from + i);
    }
}

static void read_hidden(const struct record *r, size_t from, size_t n, float *out)
{
    size_t values = n * r->hidden.cols, size = dtype_bytes(r->hidden.dtype);
    const uint8_t *bytes = r->hidden.data + from * r->hidden.cols * size;
    if (r->hidden.dtype == DTYPE_F32) {
        memcpy(out, bytes, values * sizeof *out);
        return;
    }
    for (size_t i = 0; i < values; i++) {
        uint16_t half;
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        out[i] = bf16_value(half);
    }
}

static bool add_part(struct merging *m, const struct record *r, struct error *err)
{
    struct token_place places[PIECE];
    struct engine_score scores[PIECE];
    for (size_t from = 0, n; from < r->file_rows; from += n, m->row += n) {
        n = size_min(PIECE, r->file_rows - from);
        read_rows(r, from, n, places, scores);
        for (size_t i = 0; i < n; i++) {
            if (isnan(scores[i].nll))
                continue;               /* its window is left out */
            compensated_add(&m->windows[places[i].window].nll, scores[i].nll);
            m->windows[places[i].window].scored++;
        }
        if (r->keeps_hidden)
            read_hidden(r, from, n, m->hidden);
        if (!run_folder_add(&m->out, m->row, n, places, scores, m->hidden, err))
            return false;
    }
    return true;
}

static bool add_parts(const struct job *j, struct merging *m, const struct parts *p,
                      const char *path, struct error *err)
{
    const struct record *first = &p->list[0];
    enum surprisal_hidden hidden = !first->keeps_hidden ? SURPRISAL_HIDDEN_NONE
                                 : first->hidden.dtype == DTYPE_BF16 ? SURPRISAL_HIDDEN_BF16
                                                                     : SURPRISAL_HIDDEN_F32;
    size_t columns = first->hidden.cols;
    bool ok = (m->windows = mem_array(p->windows, sizeof *m->windows, "windows", err))
           && (!columns
               || (m->hidden = mem_array(PIECE * columns, sizeof *m->hidden, "rows", err)))
           && run_folder_begin(&m->out, path, p->rows, hidden, columns, false, err);
    for (size_t i = 0; ok && i < p->n; i++)
        ok = progress_report(&j->progress, "merging parts", (double)i, (double)p->n, "parts", err)
          && (p->list[i].hidden.cols == columns
              || error_set(err, "%s: has hidden states of %zu columns, expected %zu",
                           p->list[i].folder, p->list[i].hidden.cols, columns))
          && add_part(m, &p->list[i], err);
    return ok;
}

/* ---- the summary ------------------------------------------------------------------------ */

static double number_of(const struct record *r, const char *key)
{
    const cJSON *item = json_get(r->summary, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

/* How the run went: sums, and of the peak the largest; none where a part has none. */
static bool replace_work(cJSON *summary, const struct parts *p, struct error *err)
{
    double seconds = 0, tokens = 0, bytes = 0, passes = 0, peak = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct record *r = &p->list[i];
        double own = number_of(r, "peak_rss_bytes");
        seconds += number_of(r, "seconds");
        tokens += number_of(r, "tokens_per_second") * number_of(r, "seconds");
        bytes += number_of(r, "bytes_read");
        passes += number_of(r, "passes");
        peak = isnan(peak) || own <= peak ? peak : own;         /* NaN stays */
    }
    return record_replace_number(summary, "seconds", seconds, err)
        && record_replace_number(summary, "tokens_per_second", tokens / seconds, err)
        && record_replace_number(summary, "bytes_read", bytes, err)
        && record_replace_number(summary, "passes", passes, err)
        && record_replace_number(summary, "peak_rss_bytes", peak, err);
}

/* "avx2", or with --mixed "avx2+avx512". */
static bool replace_isa(cJSON *summary, const struct parts *p, struct error *err)
{
    struct buffer text = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < p->n; i++) {
        const char *isa = cJSON_GetStringValue(json_get(p->list[i].summary, "isa"));
        bool known = false;
        for (size_t k = 0; k < i; k++)
            known = known || cJSON_Compare(json_get(p->list[k].summary, "isa"),
                                           json_get(p->list[i].summary, "isa"), true);
        if (!known)
            ok = buffer_printf(&text, err, "%s%s", text.size ? "+" : "", isa ? isa : "");
    }
    ok = ok && record_replace(summary, "isa", cJSON_CreateString(text.data), err);
    buffer_free(&text);
    return ok;
}

/* Gives the windows that are left out of any part; null: none. */
static cJSON *left_out_of(const struct parts *p)
{
    size_t tokens = 0, n;
    cJSON *list = cJSON_CreateArray();
    const cJSON *item;
    for (size_t i = 0; i < p->n; i++) {
        const cJSON *own = json_get_value(p->list[i].summary, "left_out");
        cJSON_ArrayForEach(item, json_get(own, "list"))
            cJSON_AddItemToArray(list, cJSON_Duplicate(item, true));
        tokens += json_to_size(json_get(own, "tokens"), &n) ? n : 0;
    }
    return left_out_member(list, tokens);
}

static bool has_line(const cJSON *lines, const cJSON *line)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, lines) {
        if (cJSON_Compare(item, line, true))
            return true;
    }
    return false;
}

/* The warnings of all parts, each once; what each said of its own windows is said of all. */
static bool replace_warnings(cJSON *summary, const struct parts *p, struct error *err)
{
    cJSON *lines = cJSON_CreateArray();
    const cJSON *item;
    for (size_t i = 0; i < p->n; i++)
        cJSON_ArrayForEach(item, json_get(p->list[i].summary, "warnings")) {
            const char *line = cJSON_GetStringValue(item);
            if (line && !left_out_is_text(line) && !has_line(lines, item))
                cJSON_AddItemToArray(lines, cJSON_Duplicate(item, false));
        }
    const cJSON *left_out = json_get_value(summary, "left_out");
    struct buffer text = { 0 };
    bool ok = !left_out || left_out_text(&text, left_out, p->windows, err);
    if (ok && left_out)
        cJSON_AddItemToArray(lines, cJSON_CreateString(text.data));
    buffer_free(&text);
    return record_replace(summary, "warnings", lines, err) && ok;
}

static cJSON *digest_text(const struct digest *d)
{
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(hex, d);
    return cJSON_CreateString(hex);
}

static bool replace_record(cJSON *summary, const struct merging *m, struct error *err)
{
    struct run_digests d;
    return run_folder_digests(&m->out, &d, err)
        && record_replace(summary, "tokens_sha256", digest_text(&d.tokens), err)
        && (!d.has_hidden
            || record_replace(summary, "hidden_sha256", digest_text(&d.hidden), err));
}

static size_t scored_of(const struct parts *p)
{
    size_t scored = 0;
    for (size_t i = 0; i < p->n; i++)
        scored += p->list[i].scored;
    return scored;
}

/* Gives the text of the run's summary: that of a part, with the figures of all. */
static char *make_summary(const struct parts *p, const struct merging *m, struct error *err)
{
    struct record whole = {
        .summary = cJSON_Duplicate(p->list[0].summary, true), .tokens = p->list[0].tokens,
        .scored = scored_of(p), .figures = statistics_figures(m->windows, p->windows),
    };
    cJSON *s = whole.summary;
    cJSON_DeleteItemFromObjectCaseSensitive(s, "part");
    cJSON_DeleteItemFromObjectCaseSensitive(s, "sha256");
    bool ok = record_replace_number(s, "windows", (double)p->windows, err)
           && record_replace_figures(&whole, err) && replace_work(s, p, err)
           && replace_isa(s, p, err) && record_replace(s, "left_out", left_out_of(p), err)
           && replace_warnings(s, p, err) && replace_record(s, m, err);
    char *text = ok ? summary_sealed(s, err) : NULL;
    cJSON_Delete(s);
    return text;
}

/* ---- a run ------------------------------------------------------------------------------- */

static bool merge_parts(const struct job *j, const struct parts *p, const char *path,
                        struct error *err)
{
    struct merging m = { 0 };
    char *text = add_parts(j, &m, p, path, err) ? make_summary(p, &m, err) : NULL;
    bool ok = text && run_folder_commit(&m.out, text, err);
    run_folder_abandon(&m.out);
    free(text);
    free(m.windows);
    free(m.hidden);
    return ok;
}

/* The folders of a plan, or with NULL of the parts themselves. */
static bool merge_plan(struct job *j, const char *plan, struct surprisal_result *result,
                       struct error *err)
{
    const struct surprisal_merge_options *o = j->options;
    struct parts p = { 0 };
    char **folders = mem_array(o->n_parts, sizeof *folders, "parts", err);
    bool ok = folders != NULL;
    for (size_t i = 0; ok && i < o->n_parts; i++)
        ok = (folders[i] = plan ? file_join(o->parts[i], plan, err)
                                : mem_string(o->parts[i], err)) != NULL;
    char *path = plan ? file_join(j->folder, plan, err) : mem_string(j->folder, err);
    ok = ok && path
      && parts_open(&p, (const char *const *)folders, o->n_parts, o->mixed,
                    j->plans.n ? j->names : NULL, &j->inputs, err)
      && merge_parts(j, &p, path, err) && finished_read(result, path, NULL, err);
    parts_close(&p);
    for (size_t i = 0; folders && i < o->n_parts; i++)
        free(folders[i]);
    free(folders);
    free(path);
    return ok;
}

/* ---- the job ------------------------------------------------------------------------------ */

/* Parts are all single runs, or all folders of the same plans. */
static bool find_plans(struct job *j, struct error *err)
{
    const struct surprisal_merge_options *o = j->options;
    bool plans = plan_folders_in(o->parts[0]);
    for (size_t i = 1; i < o->n_parts; i++)
        if (plan_folders_in(o->parts[i]) != plans)
            return error_set(err, "%s %s, but %s %s", o->parts[0],
                             plans ? "is a folder of plans" : "is one run", o->parts[i],
                             plans ? "is not" : "is a folder of plans");
    if (plans && !plan_folders_pair(&j->plans, o->parts[0], NULL, err))
        return false;
    j->names = mem_array(j->plans.n + 1, sizeof *j->names, "plans", err);
    for (size_t i = 0; j->names && i < j->plans.n; i++)
        j->names[i] = j->plans.list[i].name;
    return j->names != NULL;
}

/* inputs: the parts. */
static bool open_folder(struct output_folder *folder, const struct surprisal_merge_options *o,
                        struct input_files *inputs, struct error *err)
{
    const struct progress progress = PROGRESS_OF(&o->progress);
    const struct output_request request = { .path = o->out, .kind = "merged run",
                                            .inputs = inputs, .progress = &progress };
    const struct output_names names = { .is_ours = unfinished_run_is_ours };
    for (size_t i = 0; i < o->n_parts; i++)
        if (!input_files_add_names(inputs, o->parts[i], err))
            return false;
    return output_folder_begin(folder, &request, err)
        && output_folder_clear(folder, &names, err)
        && output_folder_mark(folder, cJSON_CreateObject(), err);
}

static bool merge_all(struct job *j, struct surprisal_merged *merged, struct error *err)
{
    size_t n = size_max(j->plans.n, 1);
    merged->results = mem_array(n, sizeof *merged->results, "results", err);
    for (; merged->results && merged->n < n; merged->n++) {
        struct surprisal_result *result = &merged->results[merged->n];
        const char *plan = j->plans.n ? j->names[merged->n] : NULL;
        if (!merge_plan(j, plan, result, err))
            return false;
        if (plan)
            format_text(result->plan, sizeof result->plan, "%s", plan);
    }
    return merged->results != NULL;
}

bool merge_check(const struct surprisal_merge_options *o, struct error *err)
{
    if (!o->out)
        return error_set(err, "no folder for the run is given");
    return o->n_parts > 0 || error_set(err, "no parts are given");
}

bool merge_into(const char *folder, const struct surprisal_merge_options *o,
                struct surprisal_merged *merged, struct error *err)
{
    struct job j = { .options = o, .progress = PROGRESS_OF(&o->progress), .folder = folder };
    *merged = (struct surprisal_merged){ 0 };
    bool ok = find_plans(&j, err) && merge_all(&j, merged, err)
           && input_files_check(&j.inputs, NULL, &j.progress, err);
    if (!ok)
        merge_free(merged);
    plan_folders_free(&j.plans);
    free(j.names);
    input_files_free(&j.inputs);
    return ok;
}

bool merge_run(const struct surprisal_merge_options *o, struct surprisal_merged *merged,
               struct error *err)
{
    struct output_folder folder = { .lock = -1 };
    struct input_files inputs = { 0 };
    const struct output_names names = { .is_ours = unfinished_run_is_ours };
    *merged = (struct surprisal_merged){ 0 };
    bool ok = merge_check(o, err) && open_folder(&folder, o, &inputs, err)
           && merge_into(folder.building, o, merged, err)
           && output_folder_commit(&folder, NULL, err);
    if (!ok) {
        if (folder.building)
            output_folder_discard(&folder, &names);
        merge_free(merged);
    } else
        output_folder_end(&folder);
    input_files_free(&inputs);
    return ok;
}

void merge_free(struct surprisal_merged *merged)
{
    for (size_t i = 0; i < merged->n; i++)
        free(merged->results[i].summary_json);
    free(merged->results);
    *merged = (struct surprisal_merged){ 0 };
}
