#include "verify/verify_download.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

struct checked {
    char *path;                         /* owned */
    size_t bytes;
    bool is_there, is_equal;
    struct error why;                   /* when it cannot be read */
};

struct check {
    const struct download *d;
    struct checked *files;              /* owned [d->n] */
    size_t done_bytes, total_bytes;     /* done: guarded by the critical section */
    const struct progress *progress;
    bool failed;                        /* read and written atomically */
    struct error *err;                  /* written once, when failed */
};

static bool find_files(struct check *c, const char *folder, struct error *err)
{
    c->files = mem_array(c->d->n, sizeof *c->files, "downloaded files", err);
    bool ok = c->files;
    for (size_t i = 0; ok && i < c->d->n; i++) {
        struct checked *x = &c->files[i];
        struct stat st;
        x->path = file_join(folder, c->d->files[i].name, err);
        ok = x->path;
        x->is_there = ok && stat(x->path, &st) == 0;
        x->bytes = x->is_there ? (size_t)st.st_size : 0;
        c->total_bytes += x->bytes;
    }
    return ok;
}

/* ---- the threads ------------------------------------------------------------------------ */

static bool has_failed(struct check *c)
{
    bool failed;
    #pragma omp atomic read
    failed = c->failed;
    return failed;
}

/* The first failure stays. */
static void report(struct check *c, size_t bytes)
{
    #pragma omp critical(surprisal_download)
    {
        c->done_bytes += bytes;
        if (!c->failed && !progress_report(c->progress, "download", (double)c->done_bytes,
                                           (double)c->total_bytes, "bytes", c->err)) {
            #pragma omp atomic write
            c->failed = true;
        }
    }
}

static void check_all(struct check *c, int n_threads)
{
    #pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (size_t i = 0; i < c->d->n; i++) {
        struct checked *x = &c->files[i];
        if (!x->is_there || has_failed(c))
            continue;
        if (!download_check(&x->is_equal, &c->d->files[i], x->path, &x->why))
            x->is_equal = false;
        report(c, x->bytes);
    }
}

/* ---- findings ----------------------------------------------------------------------------- */

static bool say_file(const struct check *c, size_t i, struct findings *found, struct error *err)
{
    const struct checked *x = &c->files[i];
    const struct download_file *f = &c->d->files[i];
    if (x->is_equal)
        return true;
    if (!x->is_there)
        return findings_add(found, NOTE_DOWNLOAD, f->name, NULL, err,
                            "was downloaded from the hub, and is not here");
    if (*x->why.message)
        return findings_add_error(found, FOUND_UNREADABLE, x->path, NULL, &x->why, err);
    return findings_add(found, FOUND_DOWNLOAD, f->name, NULL, err,
                        "its %zu bytes do not have the digest that the hub's client recorded,"
                        " %.12s...: not whole, or changed since.  `hf download` with the option"
                        " --force-download fetches it again", x->bytes, f->digest);
}

static bool say_all(struct check *c, struct verify_download *out, struct findings *found,
                    struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < c->d->n; i++) {
        out->n_equal += c->files[i].is_equal;
        ok = say_file(c, i, found, err);
    }
    if (ok && c->d->has_several)
        ok = findings_add(found, NOTE_DOWNLOAD, NULL, NULL, err,
                          "the files were downloaded from more than one revision");
    if (ok && c->d->n_unfinished)
        ok = findings_add(found, NOTE_DOWNLOAD, NULL, NULL, err,
                          "%zu downloads were not finished (*.incomplete)", c->d->n_unfinished);
    return ok;
}

bool verify_download(struct verify_download *out, const struct verify_folder *f, int n_threads,
                     const struct progress *progress, struct findings *found, struct error *err)
{
    struct download d;
    struct check c = { .d = &d, .progress = progress, .err = err };
    if (!download_read(&d, f->ck.folder, err))
        return false;
    *out = (struct verify_download){ .n_files = d.n };
    memcpy(out->revision, d.revision, sizeof d.revision);
    bool ok = find_files(&c, f->ck.folder, err);
    if (ok) {
        check_all(&c, n_threads > 0 ? n_threads : 1);
        ok = !c.failed && say_all(&c, out, found, err);
    }
    for (size_t i = 0; c.files && i < d.n; i++)
        free(c.files[i].path);
    free(c.files);
    download_free(&d);
    return ok;
}
