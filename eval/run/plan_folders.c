#include "eval/run/plan_folders.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "eval/run/run_folder.h"

/* Does folder/name/summary.json exist? */
static bool holds_run(const char *folder, const char *name)
{
    char *run = file_join(folder, name, NULL);
    char *summary = run ? file_join(run, RUN_SUMMARY, NULL) : NULL;
    bool holds = summary && file_exists(summary);
    free(summary);
    free(run);
    return holds;
}

static bool add(struct plan_pairs *p, const char *name, bool is_b, struct error *err)
{
    struct plan_pair *pair = p->list;
    while (pair < p->list + p->n && strcmp(pair->name, name) != 0)
        pair++;
    if (pair == p->list + p->n) {
        char *copy = mem_string(name, err);
        if (!copy || !mem_grow(&p->list, &p->capacity, p->n + 1, sizeof *p->list, "plans", err)) {
            free(copy);
            return false;
        }
        pair = &p->list[p->n++];
        *pair = (struct plan_pair){ .name = copy };
    }
    *(is_b ? &pair->in_b : &pair->in_a) = true;
    return true;
}

static bool add_folder(struct plan_pairs *p, const char *folder, bool is_b, struct error *err)
{
    DIR *d = opendir(folder);
    if (!d)
        return error_set(err, "%s: cannot open: %s", folder, error_reason(errno));
    bool ok = true, found = false;
    for (const struct dirent *e; ok && (e = readdir(d));)
        if (e->d_name[0] != '.' && holds_run(folder, e->d_name)) {
            ok = add(p, e->d_name, is_b, err);
            found = true;
        }
    closedir(d);
    return ok && (found || error_set(err, "%s: holds no run folders", folder));
}

static int by_name(const void *a, const void *b)
{
    return strverscmp(((const struct plan_pair *)a)->name, ((const struct plan_pair *)b)->name);
}

bool plan_folders_pair(struct plan_pairs *p, const char *a, const char *b, struct error *err)
{
    *p = (struct plan_pairs){ 0 };
    if (!add_folder(p, a, false, err) || (b && !add_folder(p, b, true, err))) {
        plan_folders_free(p);
        return false;
    }
    qsort(p->list, p->n, sizeof *p->list, by_name);
    return true;
}

bool plan_folders_in(const char *folder)
{
    struct plan_pairs p;
    bool found = !holds_run(folder, ".") && plan_folders_pair(&p, folder, NULL, NULL);
    if (found)
        plan_folders_free(&p);
    return found;
}

void plan_folders_free(struct plan_pairs *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->list[i].name);
    free(p->list);
    *p = (struct plan_pairs){ 0 };
}
