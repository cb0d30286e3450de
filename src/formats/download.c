#include "formats/download.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/file_digest.h"

#define METADATA_FOLDER ".cache/huggingface/download"
#define METADATA        ".metadata"
#define UNFINISHED      ".incomplete"
#define METADATA_MOST   ((size_t)4096)  /* bytes; they have about 130 */
#define GIT_DIGITS      40

/* why is what the process lacks. */
static bool give(struct error *err, const struct error *why)
{
    if (err)
        *err = *why;
    return false;
}

/* ---- names and digits ------------------------------------------------------------------- */

/* The hexadecimal digits that the text begins with, if a line or the text ends there. */
static size_t digits_of(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return text[n] == '\0' || text[n] == '\n' || text[n] == '\r' ? n : 0;
}

static bool is_digest(size_t digits)
{
    return digits == GIT_DIGITS || digits == DOWNLOAD_DIGITS;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return n > n_end && strcmp(name + n - n_end, end) == 0;
}

static bool add_file(struct download *d, const char *name, size_t n_name, const char *digest,
                     struct error *err)
{
    if (!mem_grow(&d->files, &d->capacity, d->n + 1, sizeof *d->files, "downloaded files", err))
        return false;
    struct download_file *f = &d->files[d->n];
    *f = (struct download_file){ .name = strndup(name, n_name) };
    memcpy(f->digest, digest, digits_of(digest));
    d->n += f->name != NULL;
    return f->name || error_set(err, "out of memory: downloaded files");
}

static void add_revision(struct download *d, const char *text)
{
    if (digits_of(text) != DOWNLOAD_REVISION_DIGITS)
        return;
    d->has_several |= *d->revision && strncmp(d->revision, text, DOWNLOAD_REVISION_DIGITS) != 0;
    memcpy(d->revision, text, DOWNLOAD_REVISION_DIGITS);
}

/* ---- a folder of its own ------------------------------------------------------------------- */

/* text: of NAME.metadata. */
static bool take_metadata(struct download *d, const char *name, const char *text, struct error *err)
{
    const char *etag = strchr(text, '\n');
    add_revision(d, text);
    return !etag || !is_digest(digits_of(etag + 1))
        || add_file(d, name, strlen(name) - strlen(METADATA), etag + 1, err);
}

static bool read_metadata(struct download *d, const char *folder, const char *name,
                          struct error *err)
{
    struct error why = { 0 };
    struct mapped_file map;
    char text[METADATA_MOST + 1] = "";
    char *path = file_join(folder, name, err);
    bool ok = path;
    if (ok && file_map(&map, path, &why)) {
        if (map.size <= METADATA_MOST && file_populate(&map, 0, map.size, &why) && map.size)
            memcpy(text, map.data, map.size);
        file_unmap(&map);
        ok = take_metadata(d, name, text, err);
    } else if (ok && why.lacking)
        ok = give(err, &why);
    free(path);
    return ok;
}

static bool read_folder(struct download *d, const char *folder, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    struct error why = { 0 };
    char *where = file_join(folder, METADATA_FOLDER, err);
    bool ok = where;
    if (ok && file_is_directory(where) && !file_list_below(&names, &n, where, &why) && why.lacking)
        ok = give(err, &why);
    for (size_t i = 0; ok && i < n; i++) {
        d->n_unfinished += ends_with(names[i], UNFINISHED);
        if (ends_with(names[i], METADATA))
            ok = read_metadata(d, where, names[i], err);
    }
    file_list_free(names, n);
    free(where);
    return ok;
}

/* ---- the client's cache ---------------------------------------------------------------------- */

/* The part of a path after its last slash, and the one before it. */
static const char *last_parts(const char *path, const char **folder, size_t *n_folder)
{
    const char *slash = strrchr(path, '/'), *before = slash;
    while (before && before > path && before[-1] != '/')
        before--;
    *folder = before;
    *n_folder = slash ? (size_t)(slash - before) : 0;
    return slash ? slash + 1 : path;
}

static bool is_in(const char *folder, size_t n, const char *name)
{
    return folder && n == strlen(name) && memcmp(folder, name, n) == 0;
}

static bool take_link(struct download *d, const char *folder, const char *name, struct error *err)
{
    char *path = file_join(folder, name, err), *target = NULL;
    bool ok = path && file_link_target(&target, path, err);
    if (ok && target) {
        const char *in;
        size_t n_in;
        const char *last = last_parts(target, &in, &n_in);
        if (is_in(in, n_in, "blobs") && is_digest(digits_of(last)))
            ok = add_file(d, name, strlen(name), last, err);
    }
    free(target);
    free(path);
    return ok;
}

static bool read_cache(struct download *d, const char *folder, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    struct error why = { 0 };
    bool ok = true;
    if (!file_list_below(&names, &n, folder, &why) && why.lacking)
        ok = give(err, &why);
    for (size_t i = 0; ok && i < n; i++)
        ok = take_link(d, folder, names[i], err);
    file_list_free(names, n);
    return ok;
}

static void take_snapshot(struct download *d, const char *folder)
{
    char *real = realpath(folder, NULL);
    const char *in;
    size_t n_in;
    const char *last = real ? last_parts(real, &in, &n_in) : NULL;
    if (real && is_in(in, n_in, "snapshots"))
        add_revision(d, last);
    free(real);
}

/* ---- both ---------------------------------------------------------------------------------- */

bool download_read(struct download *d, const char *folder, struct error *err)
{
    *d = (struct download){ 0 };
    bool ok = read_folder(d, folder, err) && read_cache(d, folder, err);
    take_snapshot(d, folder);
    if (d->has_several)
        d->revision[0] = '\0';
    if (!ok)
        download_free(d);
    return ok;
}

bool download_revision(char out[DOWNLOAD_REVISION_DIGITS + 1], const char *folder,
                       struct error *err)
{
    struct download d = { 0 };
    bool ok = read_folder(&d, folder, err);
    take_snapshot(&d, folder);
    memcpy(out, d.revision, sizeof d.revision);
    if (!ok || d.has_several)
        out[0] = '\0';
    download_free(&d);
    return ok;
}

void download_free(struct download *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->files[i].name);
    free(d->files);
    *d = (struct download){ 0 };
}

bool download_check(bool *same, const struct download_file *f, const char *path, struct error *err)
{
    struct digest digest = { 0 };
    char hex[2 * DIGEST_BYTES + 1];
    size_t digits = strlen(f->digest);
    if (!(digits == GIT_DIGITS ? file_digest_git(&digest, path, err)
                               : file_digest(&digest, path, err)))
        return false;
    digest_hex(hex, &digest);
    *same = memcmp(hex, f->digest, digits) == 0;
    return true;
}
