#include "eval/run/unfinished_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/temporary.h"
#include "eval/protocol/plans.h"
#include "eval/run/plan_folders.h"
#include "eval/run/run_folder.h"

static const char state_name[] = "state.safetensors";

/* ---- what is in it --------------------------------------------------------------- */

static bool is_file_of_run(const char *name)
{
    return strcmp(name, RUN_TOKENS) == 0 || strcmp(name, RUN_SUMMARY) == 0;
}

bool unfinished_run_is_ours(void *unused, const char *name)
{
    (void)unused;
    const char *slash = strchr(name, '/');
    if (!slash)
        return is_file_of_run(name) || strcmp(name, state_name) == 0;
    return plan_is_name(name, (size_t)(slash - name)) && (!slash[1] || is_file_of_run(slash + 1));
}

bool unfinished_run_is_below(const char *name, bool (*is_run)(const char *run, size_t n))
{
    static const char partial[] = ".partial";
    const char *slash = strchr(name, '/'), *last = slash ? strrchr(name, '/') + 1 : "";
    size_t n = slash ? (size_t)(slash - name) : 0, n_partial = strlen(partial);
    if (n > n_partial && strncmp(slash - n_partial, partial, n_partial) == 0)
        n -= n_partial;
    return n && is_run(name, n)
        && (!*last || strcmp(last, OUTPUT_MARK) == 0 || unfinished_run_is_ours(NULL, last));
}

/* Keeps every file and folder of a run. */
static bool is_kept(void *unused, const char *name)
{
    return unfinished_run_is_ours(unused, name);
}

bool unfinished_run_has_state(const struct unfinished_run *p)
{
    return p->state && file_exists(p->state);
}

static bool has_summary(const struct unfinished_run *p)
{
    char *summary = p->folder ? file_join(p->folder, RUN_SUMMARY, NULL) : NULL;
    bool there = summary && file_exists(summary);
    free(summary);
    return there || (p->folder && plan_folders_in(p->folder));
}

/* ---- its life ---------------------------------------------------------------------- */

static bool clear(struct unfinished_run *p, bool keep, struct error *err)
{
    const struct output_names names = { unfinished_run_is_ours, keep ? is_kept : NULL, NULL };
    return output_folder_clear(&p->building, &names, err);
}

static bool take_over(struct unfinished_run *p, bool resume, struct error *err)
{
    bool state = unfinished_run_has_state(p), summary = has_summary(p);
    if ((state || summary) && !resume)
        return error_set(err, "%s: holds an interrupted run; --resume %s, or remove it", p->folder,
                         summary && !state ? "gives what is complete its name" : "goes on with it");
    return clear(p, state || summary, err);
}

bool unfinished_run_begin(struct unfinished_run *p, const struct output_request *request,
                          struct error *err)
{
    *p = (struct unfinished_run){ 0 };
    if (!output_folder_begin(&p->building, request, err))
        return false;
    p->folder = p->building.building;
    p->state = file_join(p->folder, state_name, err);
    p->keep = true;                     /* until its owner is known */
    if (p->state && (!p->building.taken_over || take_over(p, request->resume, err))) {
        p->keep = false;
        return true;
    }
    unfinished_run_abandon(p);
    return false;
}

bool unfinished_run_differs(const char *path, const char *now, const char *then, size_t n_then,
                            struct error *err)
{
    const char *end = then + n_then;
    for (;;) {
        size_t a = strcspn(now, "\n"), b = 0;
        while (then + b < end && then[b] != '\n')
            b++;
        if (a != b || memcmp(now, then, a) != 0)
            return error_set(err, "%s: the interrupted run had '%.*s', this one has '%.*s'; "
                             "expected the same", path, (int)b, then, (int)a, now);
        if (!now[a] || then + b >= end)
            return error_set(err, "%s: belongs to a run with other settings", path);
        now += a + 1;
        then += b + 1;
    }
}

bool unfinished_run_settle(struct unfinished_run *p, const char *settings, struct error *err)
{
    const char *then = output_folder_marked(&p->building, "settings");
    if (p->building.taken_over && (unfinished_run_has_state(p) || has_summary(p))) {
        if (then && strcmp(then, settings) == 0)
            return true;
        p->keep = true;
        return unfinished_run_differs(p->folder, settings, then ? then : "",
                                      then ? strlen(then) : 0, err);
    }
    cJSON *content = cJSON_CreateObject();
    if (content && !cJSON_AddStringToObject(content, "settings", settings)) {
        cJSON_Delete(content);
        content = NULL;
    }
    return output_folder_mark(&p->building, content, err);
}

bool unfinished_run_clear(struct unfinished_run *p, struct error *err)
{
    return clear(p, false, err);
}

bool unfinished_run_commit(struct unfinished_run *p, struct error *err)
{
    p->keep = true;                     /* results stay even if the rename fails */
    bool ok = output_folder_commit(&p->building, p->state, err);
    unfinished_run_abandon(p);
    return ok;
}

void unfinished_run_abandon(struct unfinished_run *p)
{
    const struct output_names names = { .is_ours = unfinished_run_is_ours };
    bool begun = p->building.building != NULL;
    if (begun && !p->keep && !unfinished_run_has_state(p) && !has_summary(p))
        output_folder_discard(&p->building, &names);
    else if (begun)
        output_folder_end(&p->building);
    free(p->state);
    *p = (struct unfinished_run){ 0 };
}
