#include "eval/score/division.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/output_folder.h"
#include "base/temporary.h"
#include "eval/run/unfinished_run.h"
#include "eval/score/evaluate.h"
#include "eval/score/merge.h"

struct surprisal_division {
    const struct surprisal_eval_options *options;
    struct output_folder folder;
    size_t parts;
    bool mixed;
};

static const char prefix[] = "part-", unfinished[] = ".partial";

/* ---- what is in the folder --------------------------------------------------------------- */

/* What follows "part-3" in a name; NULL: it is no part. */
static const char *after_part(const char *name)
{
    if (strncmp(name, prefix, strlen(prefix)) != 0)
        return NULL;
    const char *digits = name + strlen(prefix), *rest = digits;
    while (ascii_digit(*rest))
        rest++;
    return rest > digits ? rest : NULL;
}

static bool is_of_part(void *unused, const char *name)
{
    const char *rest = after_part(name);
    if (!rest)
        return false;
    bool whole = strncmp(rest, unfinished, strlen(unfinished)) != 0;
    rest += whole ? 0 : strlen(unfinished);
    return rest[0] == '/'
        && (!rest[1] || unfinished_run_is_ours(unused, rest + 1)
            || (!whole && strcmp(rest + 1, OUTPUT_MARK) == 0));
}

static bool is_of_run(void *unused, const char *name)
{
    return !after_part(name) && unfinished_run_is_ours(unused, name);
}

static bool is_ours(void *unused, const char *name)
{
    return is_of_run(unused, name) || is_of_part(unused, name);
}

/* Gives OUT.partial/part-3, or with an end of the name that of an unfinished one. */
static char *part_path(const char *out, size_t part, const char *end, struct error *err)
{
    struct buffer path = { 0 };
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/')
        n--;
    if (buffer_append(&path, out, n, err)
        && buffer_printf(&path, err, "%s/%s%zu%s", unfinished, prefix, part, end))
        return path.data;
    buffer_free(&path);
    return NULL;
}

static bool part_exists(const struct surprisal_division *d, size_t part, const char *end)
{
    char *path = part_path(d->folder.path, part, end, NULL);
    bool exists = path && file_is_directory(path);
    free(path);
    return exists;
}

static bool is_worth_keeping(const struct surprisal_division *d)
{
    for (size_t i = 1; i <= d->parts; i++)
        if (part_exists(d, i, "") || part_exists(d, i, unfinished))
            return true;
    return false;
}

/* ---- what is known beforehand ------------------------------------------------------------ */

bool division_facts(struct surprisal_division_facts *out, const struct surprisal_eval_options *o,
                    struct error *err)
{
    struct evaluate_prepared p;
    struct buffer settings = { 0 };
    const char *input = o->text ? o->text : o->ids;
    *out = (struct surprisal_division_facts){ 0 };
    if (!o->out)
        return error_set(err, "processes that share a run keep their parts in its folder, and none "
                         "is given");
    if (o->mtp)
        return error_set(err, "drafts of the MTP layer are scored by one process");
    if (o->part.of)
        return error_set(err, "a part of a run is not divided among processes");
    if (!evaluate_check(o, err))
        return false;
    if (file_is_read_once(input))
        return error_set(err, "%s: is read once, and each process reads it; expected a file",
                         strcmp(input, "-") == 0 ? "standard input" : input);
    bool ok = evaluate_prepare(o, &p, err)
           && buffer_printf(&settings, err, "%shidden states: %d\nskip-nonfinite: %d\n",
                            p.settings.data, (int)o->hidden, o->skip_nonfinite);
    if (ok) {
        format_text(out->isa, sizeof out->isa, "%s", p.isa);
        out->settings = settings.data;
        out->model_tokens = p.plan.model_tokens;
        out->most_parts = p.most_parts;
    }
    evaluate_prepared_free(&p);
    return ok;
}

bool division_is_at(const char *out)
{
    char *path = part_path(out, 0, "", NULL);       /* any name in OUT.partial */
    char *slash = path ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = '\0';
    char *mark = path ? file_join(path, OUTPUT_MARK, NULL) : NULL;
    cJSON *json = mark ? json_read(mark, NULL) : NULL;
    bool is = json_get_value(json, "parts") != NULL;
    cJSON_Delete(json);
    free(mark);
    free(path);
    return is;
}

/* ---- beginning --------------------------------------------------------------------------- */

/* Every part reads all weights, so one a process is best; of long texts there are more, so that a
 * process which is slower scores fewer, and less is lost with one that dies.  With so many tokens
 * in each, reading takes a few hundredths of the time. */
#define TOKENS_OF_PART 262144
#define MOST_OF_PROCESS 4

static size_t parts_for(const struct surprisal_division_facts *f, size_t processes)
{
    size_t each = f->model_tokens / processes / TOKENS_OF_PART;
    size_t parts = processes * size_max(1, size_min(each, MOST_OF_PROCESS));
    return size_min(parts, f->most_parts);
}

static bool mark(struct surprisal_division *d, const struct surprisal_division_facts *f,
                 struct error *err)
{
    char parts[24];
    format_text(parts, sizeof parts, "%zu", d->parts);
    cJSON *content = cJSON_CreateObject();
    if (!cJSON_AddStringToObject(content, "settings", f->settings)
        || !cJSON_AddStringToObject(content, "isa", f->isa)
        || !cJSON_AddStringToObject(content, "parts", parts)) {
        cJSON_Delete(content);
        content = NULL;
    }
    return output_folder_mark(&d->folder, content, err);
}

/* Goes on with a division that was interrupted.  Nothing is cleared: a temporary here may be the
 * mark of a part whose process was killed in its commit. */
static bool take_over(struct surprisal_division *d, const struct surprisal_division_facts *f,
                      struct error *err)
{
    const char *path = d->folder.building;
    const char *settings = output_folder_marked(&d->folder, "settings");
    const char *isa = output_folder_marked(&d->folder, "isa");
    if (!d->options->resume)
        return error_set(err, "%s: holds an interrupted run; --resume goes on with it, or remove "
                         "it", path);
    if (!settings || strcmp(settings, f->settings) != 0)
        return unfinished_run_differs(path, f->settings, settings ? settings : "",
                                      settings ? strlen(settings) : 0, err);
    if (!d->mixed && (!isa || strcmp(isa, f->isa) != 0))
        return error_set(err, "%s: the interrupted run was computed with %s, this machine computes "
                         "with %s; expected the same, or --mixed", path, isa ? isa : "?", f->isa);
    return true;
}

/* The number of parts of a division that is there, at most `most`; 0: none. */
static size_t marked_parts(const struct surprisal_division *d, size_t most)
{
    const char *text = output_folder_marked(&d->folder, "parts");
    double n = text ? format_parse(text, NULL) : 0;
    return n >= 1 && n <= (double)most ? (size_t)n : 0;
}

static bool settle(struct surprisal_division *d, const struct surprisal_division_facts *f,
                   size_t processes, struct error *err)
{
    d->parts = d->folder.taken_over ? marked_parts(d, f->most_parts) : 0;
    if (is_worth_keeping(d))
        return take_over(d, f, err);
    const struct output_names names = { .is_ours = is_ours };
    d->parts = parts_for(f, processes);
    return output_folder_clear(&d->folder, &names, err) && mark(d, f, err);
}

struct surprisal_division *division_begin(const struct surprisal_eval_options *o,
                                          const struct surprisal_division_facts *facts,
                                          size_t processes, bool mixed, struct error *err)
{
    struct surprisal_division *d = mem_array(1, sizeof *d, "the parts of a run", err);
    const struct progress progress = PROGRESS_OF(&o->machine.progress);
    struct input_files inputs = { 0 };
    if (!d)
        return NULL;
    *d = (struct surprisal_division){ .options = o, .folder.lock = -1, .mixed = mixed };
    const struct output_request request = { .path = o->out, .kind = "run of several processes",
                                            .inputs = &inputs, .progress = &progress,
                                            .resume = o->resume };
    bool ok = input_files_add_names(&inputs, o->checkpoint, err)
           && input_files_add_names(&inputs, o->text ? o->text : o->ids, err)
           && output_folder_begin(&d->folder, &request, err)
           && settle(d, facts, processes, err);
    input_files_free(&inputs);
    if (ok)
        return d;
    output_folder_end(&d->folder);
    free(d);
    return NULL;
}

size_t division_parts(const struct surprisal_division *d)
{
    return d->parts;
}

bool division_has(const struct surprisal_division *d, size_t part)
{
    return part_exists(d, part, "");
}

/* ---- the work ---------------------------------------------------------------------------- */

bool division_score(const struct surprisal_eval_options *o, struct surprisal_part part,
                    struct error *err)
{
    struct surprisal_eval_options own = *o;
    size_t n = size_max(o->n_plans, 1);
    struct surprisal_result *results = mem_array(n, sizeof *results, "results", err);
    char *path = part_path(o->out, part.index, "", err);
    own.out = path;
    own.part = part;
    own.resume = true;
    bool ok = results && path && evaluate_run(&own, results, err);
    for (size_t i = 0; ok && i < n; i++)
        evaluate_result_free(&results[i]);
    free(results);
    free(path);
    return ok;
}

/* Removes the parts and gives the folder its name. */
static bool finish(struct surprisal_division *d, struct error *err)
{
    const struct output_names names = { is_ours, is_of_run, NULL };
    return output_folder_clear(&d->folder, &names, err)
        && output_folder_commit(&d->folder, NULL, err);
}

bool division_join(struct surprisal_division *d, struct surprisal_merged *merged,
                   struct error *err)
{
    const char **parts = mem_array(d->parts, sizeof *parts, "parts", err);
    bool ok = parts != NULL;
    *merged = (struct surprisal_merged){ 0 };
    for (size_t i = 0; ok && i < d->parts; i++)
        ok = (parts[i] = part_path(d->folder.path, i + 1, "", err)) != NULL;
    const struct surprisal_merge_options o = {
        .parts = parts, .n_parts = d->parts, .mixed = d->mixed,
        .progress = d->options->machine.progress,
    };
    const struct output_names names = { is_ours, is_of_part, NULL };
    ok = ok && output_folder_clear(&d->folder, &names, err)     /* what a killed process joined */
      && merge_into(d->folder.building, &o, merged, err);
    if (ok && !finish(d, err)) {
        merge_free(merged);
        ok = false;
    }
    for (size_t i = 0; parts && i < d->parts; i++)
        free((char *)parts[i]);
    free(parts);
    return ok;
}

void division_close(struct surprisal_division *d)
{
    const struct output_names names = { .is_ours = is_ours };
    if (!d)
        return;
    if (d->folder.building && !is_worth_keeping(d))
        output_folder_discard(&d->folder, &names);
    else
        output_folder_end(&d->folder);
    free(d);
}
