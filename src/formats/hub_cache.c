#include "formats/hub_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors_folder.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
#define COMMIT_DIGITS ((size_t)40)
#define COMMAND_BYTES 512

struct lookup {
    const char *name, *cache, *revision;
    char command[COMMAND_BYTES];        /* that downloads it */
    char *repository;                   /* owned */
    struct error *err;
};

/* ---- names ----------------------------------------------------------------------------- */

static bool is_word(const char *text, size_t n)
{
    return n > 0 && text[0] != '.' && text[0] != '-' && strspn(text, LETTERS) >= n;
}

static bool is_hub_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && is_word(name, (size_t)(slash - name)) && is_word(slash + 1, strlen(slash + 1));
}

/* Stays below its folder: a branch may have '/' in its name (refs/pr/1). */
static bool is_revision(const char *text)
{
    return *text && *text != '/' && !strstr(text, "..")
        && strspn(text, LETTERS "/") == strlen(text);
}

/* Gives models--OWNER--NAME in the cache. */
static char *repository_of(const struct lookup *l)
{
    const char *slash = strchr(l->name, '/');
    char *folder = NULL;
    if (asprintf(&folder, "%s/models--%.*s--%s", l->cache, (int)(slash - l->name), l->name,
                 slash + 1) >= 0)
        return folder;
    error_set(l->err, "out of memory: a path in the hub's cache");
    return NULL;
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static bool is_commit(const char *text, size_t n)
{
    return n == COMMIT_DIGITS && strspn(text, "0123456789abcdef") >= n;
}

/* *commit "": the cache knows no such branch or tag. */
static bool read_commit(char commit[COMMIT_DIGITS + 1], const struct lookup *l)
{
    struct buffer text;
    char *refs = file_join(l->repository, "refs", l->err);
    char *path = refs ? file_join(refs, l->revision, l->err) : NULL;
    bool ok = path != NULL;
    commit[0] = '\0';
    if (ok && is_commit(l->revision, strlen(l->revision)))
        memcpy(commit, l->revision, COMMIT_DIGITS + 1);
    else if (ok && file_exists(path) && (ok = file_read(&text, path, l->err))) {
        ok = text.size >= COMMIT_DIGITS
          && is_commit(text.data, strcspn(text.data, " \t\r\n"));
        if (ok)
            snprintf(commit, COMMIT_DIGITS + 1, "%.*s", (int)COMMIT_DIGITS, text.data);
        else
            error_set(l->err, "%s: holds no commit of %zu hexadecimal digits", path, COMMIT_DIGITS);
        buffer_free(&text);
    }
    free(path);
    free(refs);
    return ok;
}

/* ---- what is missing ------------------------------------------------------------------------ */

struct missing {
    size_t n;
    char first[256];
};

static bool look_for(struct missing *m, const char *folder, const char *name, struct error *err)
{
    char *path = file_join(folder, name, err);
    if (path && !file_exists(path) && m->n++ == 0)
        snprintf(m->first, sizeof m->first, "%s", name);
    free(path);
    return path;
}

/* An index that cannot be read is refused when the checkpoint is opened. */
static bool look_for_indexed(struct missing *m, const char *folder, const char *index,
                             struct error *err)
{
    cJSON *json = json_read(index, NULL);
    const cJSON *row;
    const char *last = "";
    bool ok = true;
    cJSON_ArrayForEach(row, json_get(json, "weight_map")) {
        const char *file = cJSON_GetStringValue(row);
        /* Rows of one file mostly follow each other: they count once. */
        if (ok && file && strcmp(file, last) != 0 && strcmp(file, m->first) != 0)
            ok = look_for(m, folder, file, err);
        last = file ? file : last;
    }
    cJSON_Delete(json);
    return ok;
}

static bool find_missing(struct missing *m, const char *folder, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    char *index = file_join(folder, CHECKPOINT_INDEX, err);
    bool ok = index && look_for(m, folder, "config.json", err);
    if (ok && file_exists(index))
        ok = look_for_indexed(m, folder, index, err);
    else if (ok && (ok = file_list(&names, &n, folder, CHECKPOINT_SUFFIX, err))) {
        for (size_t i = 0; ok && i < n; i++)
            ok = look_for(m, folder, names[i], err);    /* a link to nowhere */
        ok = ok && (n || look_for(m, folder, CHECKPOINT_SINGLE, err));
        file_list_free(names, n);
    }
    free(index);
    return ok;
}

static bool check_snapshot(const struct lookup *l, const char *folder)
{
    struct missing m = { .n = 0 };
    char more[48] = "";
    if (!find_missing(&m, folder, l->err))
        return false;
    if (m.n > 1)
        snprintf(more, sizeof more, " and %zu more files", m.n - 1);
    return m.n == 0
        || error_set(l->err, "%s: the snapshot in the hub's cache is incomplete: '%s'%s %s not in "
                     "%s; `%s` gets the rest", l->name, m.first, more, m.n > 1 ? "are" : "is",
                     folder, l->command);
}

static char *find_snapshot(const struct lookup *l)
{
    char commit[COMMIT_DIGITS + 1], *folder = NULL;
    if (!read_commit(commit, l))
        return NULL;
    if (asprintf(&folder, "%s/snapshots/%s", l->repository, commit) < 0) {
        error_set(l->err, "out of memory: a path in the hub's cache");
        return NULL;
    }
    bool ok = (*commit && file_is_directory(folder))
           || error_set(l->err, "%s: the hub's cache has no revision '%s' of it, in %s: `%s` gets "
                        "it", l->name, l->revision, l->repository, l->command);
    if (ok && check_snapshot(l, folder))
        return folder;
    free(folder);
    return NULL;
}

char *hub_cache_find(const char *name, const char *cache, const char *revision, struct error *err)
{
    struct lookup l = { .name = name, .cache = cache, .revision = revision ? revision : "main",
                        .err = err };
    char *found = NULL;
    bool is_path = file_exists(name) || errno != ENOENT || !is_hub_name(name);
    if (is_path && revision)
        error_set(err, "%s: is a path, and only a name OWNER/NAME of the hub has a revision", name);
    if (is_path)
        return revision ? NULL : mem_string(name, err);
    if (!is_revision(l.revision)) {
        error_set(err, "'%s' is not the name of a revision", l.revision);
        return NULL;
    }
    snprintf(l.command, sizeof l.command, "hf download %s%s%s", name,
             revision ? " --revision " : "", revision ? revision : "");
    l.repository = cache ? repository_of(&l) : NULL;
    if (cache && !l.repository)
        return NULL;
    if (l.repository && file_is_directory(l.repository))
        found = find_snapshot(&l);
    else
        error_set(err, "%s: No such file or directory, nor is it in the hub's cache (%s): `%s` "
                  "gets it", name, cache ? cache : "there is none", l.command);
    free(l.repository);
    return found;
}
