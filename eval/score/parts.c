#include "eval/score/parts.h"

#include <stdlib.h>
#include <string.h>

#include "eval/run/run_folder.h"
#include "eval/score/part_command.h"

/* ---- do they belong together? ---------------------------------------------------- */

/* Members of a summary that differ from part to part: its numbers, and how it went.  The
 * instruction set is looked at by itself. */
static const char *const own_members[] = {
    "part", "windows", "scored", "isa", "threads", "mean_nll", "perplexity", "nll_stderr",
    "perplexity_stderr", "word_perplexity", "byte_perplexity", "bits_per_byte", "seconds",
    "tokens_per_second", "peak_rss_bytes", "bytes_read", "passes", "prefix_source", "left_out",
    "warnings", "tokens_sha256", "hidden_sha256", "sha256",
};

/* within: NULL: the summary itself.  Files may lie elsewhere on another machine. */
static bool is_own(const char *within, const char *key)
{
    if (within)
        return strcmp(key, "path") == 0 || strcmp(key, "revision") == 0;
    for (size_t i = 0; i < sizeof own_members / sizeof *own_members; i++)
        if (strcmp(key, own_members[i]) == 0)
            return true;
    return false;
}

static bool refuse_value(const struct record *r, const char *within, const cJSON *item,
                         const cJSON *expected, const struct record *first, struct error *err)
{
    char *found = json_print_line(item), *other = expected ? json_print_line(expected) : NULL;
    error_set(err, "%s: is part of another run: %s%s%s is %.80s, but %.80s in %s", r->folder,
              within ? within : "", within ? "." : "", item->string, found ? found : "?",
              other ? other : "missing", first->folder);
    cJSON_free(found);
    cJSON_free(other);
    return false;
}

/* within: the member that the two objects are; NULL: the summaries. */
static bool check_alike(const struct record *r, const cJSON *object, const struct record *first,
                        const cJSON *expected, const char *within, struct error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        const cJSON *other = json_get(expected, item->string);
        if (is_own(within, item->string))
            continue;
        if (!within && cJSON_IsObject(item) && cJSON_IsObject(other)) {
            if (!check_alike(r, item, first, other, item->string, err))
                return false;
        } else if (!cJSON_Compare(item, other, true))
            return refuse_value(r, within, item, other, first, err);
    }
    return true;
}

static bool check_isa(const struct record *r, const struct record *first, struct error *err)
{
    const char *isa = cJSON_GetStringValue(json_get(r->summary, "isa"));
    const char *expected = cJSON_GetStringValue(json_get(first->summary, "isa"));
    return (isa && expected && strcmp(isa, expected) == 0)
        || error_set(err, "%s: was computed with %s, but %s with %s; --mixed merges them "
                     "nevertheless, and the summary says so", r->folder, isa ? isa : "?",
                     first->folder, expected ? expected : "?");
}

static bool check_pair(const struct record *r, const struct record *first, bool mixed,
                       struct error *err)
{
    if (r->part.of != first->part.of)
        return error_set(err, "%s: is one of %zu parts, but %s one of %zu", r->folder, r->part.of,
                         first->folder, first->part.of);
    return (mixed || check_isa(r, first, err))
        && check_alike(r, r->summary, first, first->summary, NULL, err)
        && check_alike(first, first->summary, r, r->summary, NULL, err);
}

/* ---- are they all? ------------------------------------------------------------------ */

/* list: sorted by their index. */
static bool check_twice(const struct parts *p, struct error *err)
{
    for (size_t i = 1; i < p->n; i++)
        if (p->list[i].part.index == p->list[i - 1].part.index)
            return error_set(err, "%s and %s are both part %zu of %zu", p->list[i - 1].folder,
                             p->list[i].folder, p->list[i].part.index, p->list[i].part.of);
    return true;
}

#define PARTS_NAMED 8

static bool check_missing(const struct parts *p, const char *const *plans, struct error *err)
{
    size_t of = p->list[0].part.of, missing = of - p->n, first = 0, named = 0;
    struct buffer text = { 0 };
    if (missing == 0)
        return true;
    bool ok = buffer_printf(&text, err, "%s", missing == 1 ? "part" : "parts");
    for (size_t index = 1, i = 0; ok && index <= of && named < PARTS_NAMED; index++) {
        if (i < p->n && p->list[i].part.index == index) {
            i++;
            continue;
        }
        first = first ? first : index;
        ok = buffer_printf(&text, err, "%s %zu", named++ ? "," : "", index);
    }
    if (ok && missing > named)
        ok = buffer_printf(&text, err, " and %zu more", missing - named);
    ok = ok && buffer_printf(&text, err, " of %zu %s missing; this makes part %zu: ", of,
                             missing == 1 ? "is" : "are", first)
      && part_command_append(&text, p->list[0].summary, plans, first, err);
    if (ok)
        error_set(err, "%s", text.data);
    buffer_free(&text);
    return false;
}

/* Each part begins where the one before it ends. */
static bool check_windows(struct parts *p, struct error *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct record *r = &p->list[i];
        if (r->part.first_window != p->windows)
            return error_set(err, "%s: begins with window %zu, expected %zu", r->folder,
                             r->part.first_window, p->windows);
        p->windows += r->windows;
        p->rows += r->file_rows;
    }
    return (p->windows == p->list[0].part.windows_of_all && p->rows <= INT32_MAX)
        || error_set(err, "%s: ends with window %zu of %zu", p->list[p->n - 1].folder, p->windows,
                     p->list[0].part.windows_of_all);
}

/* ---- opening --------------------------------------------------------------------------- */

static bool add_inputs(struct input_files *inputs, const struct record *r, struct error *err)
{
    return input_files_add_in(inputs, r->folder, RUN_SUMMARY, err)
        && input_files_add_mapped(inputs, &r->file.map, err);
}

static bool open_part(struct parts *p, const char *folder, struct input_files *inputs,
                      struct error *err)
{
    struct record *r = &p->list[p->n];
    if (!record_open(r, folder, err))
        return false;
    p->n++;
    return add_inputs(inputs, r, err)
        && (r->part.of
            || error_set(err, "%s: is a whole run, expected a part of one (eval --part)", folder))
        && (!r->keeps_hidden || record_view_hidden(r, err));
}

static int by_index(const void *a, const void *b)
{
    size_t x = ((const struct record *)a)->part.index, y = ((const struct record *)b)->part.index;
    return (x > y) - (x < y);
}

bool parts_open(struct parts *p, const char *const *folders, size_t n, bool mixed,
                const char *const *plans, struct input_files *inputs, struct error *err)
{
    *p = (struct parts){ .list = mem_array(n, sizeof *p->list, "parts", err) };
    for (size_t i = 0; p->list && i < n; i++)
        if (!open_part(p, folders[i], inputs, err)
            || !check_pair(&p->list[i], &p->list[0], mixed, err))
            return false;
    if (!p->list)
        return false;
    qsort(p->list, p->n, sizeof *p->list, by_index);
    return check_twice(p, err) && check_missing(p, plans, err) && check_windows(p, err);
}

void parts_close(struct parts *p)
{
    for (size_t i = 0; i < p->n; i++)
        record_close(&p->list[i]);
    free(p->list);
    *p = (struct parts){ 0 };
}
