#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file for reading and gives its size; -1 on error. */
static int open_regular(const char *path, size_t *size, struct error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        bool lacks = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
        (lacks ? error_lack : error_set)(err, "%s: %s", path, strerror(errno));
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) != 0)
        error_set(err, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        error_set(err, "%s: is a directory, expected a file", path);
    else if (!S_ISREG(st.st_mode))
        error_set(err, "%s: is not a regular file", path);
    else {
        *size = (size_t)st.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

bool file_map(struct mapped_file *f, const char *path, struct error *err)
{
    *f = (struct mapped_file){ .fd = -1 };
    f->fd = open_regular(path, &f->size, err);
    if (f->fd < 0)
        return false;
    void *data = NULL;
    if (f->size)
        data = mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
    if (data == MAP_FAILED)
        (errno == ENOMEM ? error_lack : error_set)(err, "%s: cannot map %zu bytes: %s", path, f->size,
                                                   strerror(errno));
    else {
        f->data = data;
        f->path = mem_string(path, err);
        if (f->path)
            return true;
    }
    if (f->data)
        munmap(data, f->size);
    close(f->fd);
    *f = (struct mapped_file){ .fd = -1 };
    return false;
}

void file_unmap(struct mapped_file *f)
{
    if (f->data)
        munmap((void *)(uintptr_t)f->data, f->size);
    if (f->path)
        close(f->fd);
    free(f->path);
    *f = (struct mapped_file){ .fd = -1 };
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

bool file_populate(const struct mapped_file *f, size_t offset, size_t n, struct error *err)
{
    size_t page = page_bytes(), first = offset / page * page;
    void *start = (void *)(uintptr_t)(f->data + first);
    while (madvise(start, offset + n - first, MADV_POPULATE_READ) != 0) {
        if (errno == EINTR || errno == EAGAIN)
            continue;
        if (errno != EINVAL && errno != ENOSYS)         /* EFAULT: past the end, or a read failed */
            return error_set(err, "%s: cannot read bytes %zu to %zu: the file was cut short, or %s",
                             f->path, offset, offset + n, strerror(errno));
        /* Linux before 5.14: touch each page, when the file still has it. */
        struct stat st;
        if (fstat(f->fd, &st) != 0 || (size_t)st.st_size < offset + n)
            return error_set(err, "%s: was cut short", f->path);
        for (size_t at = first; at < offset + n; at += page)
            (void)*(const volatile uint8_t *)(f->data + at);
        break;
    }
    return true;
}

void file_read_ahead(const struct mapped_file *f, size_t offset, size_t n)
{
    posix_fadvise(f->fd, (off_t)offset, (off_t)n, POSIX_FADV_WILLNEED);
}

void file_release(const struct mapped_file *f, size_t offset, size_t n, bool evict)
{
    size_t page = page_bytes(), first = offset / page * page;
    size_t end = (offset + n) / page * page;
    if (offset + n == f->size)                          /* the last page is nobody else's */
        end = f->size;
    if (first >= end)
        return;
    madvise((void *)(uintptr_t)(f->data + first), end - first, MADV_DONTNEED);
    if (evict)
        posix_fadvise(f->fd, (off_t)first, (off_t)(end - first), POSIX_FADV_DONTNEED);
}

static bool read_all(struct buffer *b, int fd, const char *path, struct error *err)
{
    for (;;) {
        size_t needed;
        if (!size_sum(&needed, b->size, (size_t)1 << 16)
            || !mem_grow(&b->data, &b->capacity, needed, 1, path, err))
            return false;
        ssize_t n = read(fd, b->data + b->size, b->capacity - b->size - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EBADF)            /* as the program opens a closed one, too */
            return error_set(err, "%s: standard input is closed", path);
        if (n < 0)
            return error_set(err, "%s: %s", path, strerror(errno));
        b->size += (size_t)n;
        b->data[b->size] = '\0';
        if (n == 0)
            return true;
    }
}

bool file_read(struct buffer *b, const char *path, struct error *err)
{
    *b = (struct buffer){ 0 };
    bool is_stdin = strcmp(path, "-") == 0;
    size_t size = 0;
    int fd = is_stdin ? STDIN_FILENO : open_regular(path, &size, err);
    if (fd < 0)
        return false;
    /* Room for the whole file at once; read_all copes when it grows meanwhile. */
    bool ok = size > SIZE_MAX / 4
            ? error_set(err, "%s: %zu bytes do not fit into memory", path, size)
            : mem_grow(&b->data, &b->capacity, size + ((size_t)1 << 16) + 1, 1, path, err)
              && read_all(b, fd, path, err);
    if (!is_stdin)
        close(fd);
    if (!ok)
        buffer_free(b);
    return ok;
}

/* What is read once and has no size: a pipe, a terminal. */
static bool is_stream(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}

bool file_is_read_once(const char *path)
{
    return strcmp(path, "-") == 0 || is_stream(path);
}

bool file_read_input(struct buffer *b, const char *path, struct error *err)
{
    if (!is_stream(path))
        return file_read(b, path, err);
    *b = (struct buffer){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);          /* a FIFO waits for its writer */
    if (fd < 0 && errno == EINTR && err)
        err->interrupted = true;
    if (fd < 0)
        return error_set(err, "%s: %s", path, errno == EINTR ? "interrupted" : strerror(errno));
    bool ok = read_all(b, fd, path, err);
    close(fd);
    if (!ok)
        buffer_free(b);
    return ok;
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *file_join(const char *folder, const char *name, struct error *err)
{
    char *path;
    size_t n = strlen(folder);
    const char *slash = n && folder[n - 1] == '/' ? "" : "/";
    if (asprintf(&path, "%s%s%s", folder, slash, name) < 0) {
        error_set(err, "out of memory: a path");
        return NULL;
    }
    return path;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_listed(const char *name, const char *suffix)
{
    size_t n = strlen(name), n_suffix = strlen(suffix);
    return name[0] != '.' && n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}

bool file_list(char ***names, size_t *n_names, const char *folder, const char *suffix,
               struct error *err)
{
    *names = NULL;
    *n_names = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return error_set(err, "%s: %s", folder, strerror(errno));
    size_t capacity = 0;
    bool ok = true;
    for (const struct dirent *entry; ok && (entry = readdir(dir));) {
        if (!is_listed(entry->d_name, suffix))
            continue;
        ok = mem_grow(names, &capacity, *n_names + 1, sizeof **names, "file names", err)
          && ((*names)[*n_names] = mem_string(entry->d_name, err));
        *n_names += ok;
    }
    closedir(dir);
    if (ok && *n_names)
        qsort(*names, *n_names, sizeof **names, compare_strings);
    return ok;
}

struct walk {
    size_t n_folder;            /* bytes of each path that are not part of the name */
    char **names;
    size_t n, capacity;
    struct error *err;
};

static bool walk(struct walk *w, const char *folder);

static bool take(struct walk *w, const char *path, bool hidden)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return error_set(w->err, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode) && (hidden || access(path, R_OK | X_OK) == 0))
        return hidden || walk(w, path);
    return mem_grow(&w->names, &w->capacity, w->n + 1, sizeof *w->names, "file names", w->err)
        && (w->names[w->n] = mem_string(path + w->n_folder, w->err)) && ++w->n;
}

static bool walk(struct walk *w, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return error_set(w->err, "%s: %s", folder, strerror(errno));
    bool ok = true;
    for (const struct dirent *entry; ok && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        char *path = file_join(folder, name, w->err);
        ok = path && take(w, path, name[0] == '.');
        free(path);
    }
    closedir(dir);
    return ok;
}

bool file_list_below(char ***names, size_t *n_names, const char *folder, struct error *err)
{
    char *below = file_join(folder, "", err);
    struct walk w = { .n_folder = below ? strlen(below) : 0, .err = err };
    bool ok = below && walk(&w, below);
    if (ok && w.n)
        qsort(w.names, w.n, sizeof *w.names, compare_strings);
    free(below);
    *names = w.names;
    *n_names = w.n;
    return ok;
}

void file_list_free(char **names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        free(names[i]);
    free(names);
}

/* ---- writing ---------------------------------------------------------- */

bool file_create(struct output_file *f, const char *path, struct error *err)
{
    *f = (struct output_file){ .fd = -1 };
    if (file_is_directory(path))
        return error_set(err, "%s: is a directory, expected a file to write", path);
    f->path = mem_string(path, err);
    if (!f->path)
        return false;
    if (asprintf(&f->temporary, "%s.%ld.tmp", path, (long)getpid()) < 0) {
        f->temporary = NULL;
        error_set(err, "out of memory: a path");
        goto fail;
    }
    f->fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        error_set(err, "%s: cannot create: %s", f->temporary, strerror(errno));
        goto fail;
    }
    return true;
fail:
    file_abandon(f);
    return false;
}

bool file_open_in_place(struct output_file *f, const char *path, struct error *err)
{
    *f = (struct output_file){ .fd = -1 };
    f->path = mem_string(path, err);
    if (!f->path)
        return false;
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->fd >= 0)
        return true;
    error_set(err, "%s: cannot open: %s", path, strerror(errno));
    file_abandon(f);
    return false;
}

bool file_read_at(const struct output_file *f, size_t offset, void *bytes, size_t n,
                  struct error *err)
{
    char *p = bytes;
    while (n) {
        ssize_t got = pread(f->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(err, "%s: cannot read: %s", f->path,
                             got < 0 ? strerror(errno) : "it ends early");
        p += got;
        offset += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

bool file_sync(struct output_file *f, struct error *err)
{
    return fsync(f->fd) == 0 || error_set(err, "%s: cannot write: %s", f->path, strerror(errno));
}

#define MANY_BYTES ((size_t)1 << 18)

bool file_write_at(struct output_file *f, size_t offset, const void *bytes, size_t n,
                   struct error *err)
{
    const char *p = bytes;
    bool many = n >= MANY_BYTES;
    while (n) {
        ssize_t done = pwrite(f->fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return error_set(err, "%s: cannot write: %s", f->path,
                             done < 0 ? strerror(errno) : "no progress");
        p += done;
        offset += (size_t)done;
        n -= (size_t)done;
    }
    if (many)                                   /* a file system that cannot begin now does not */
        sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return true;
}

bool file_commit(struct output_file *f, struct error *err)
{
    bool ok = file_sync(f, err);
    int closed = close(f->fd);
    f->fd = -1;
    if (ok && closed != 0)
        ok = error_set(err, "%s: cannot write: %s", f->path, strerror(errno));
    if (ok && f->temporary && rename(f->temporary, f->path) != 0)
        ok = error_set(err, "%s: cannot rename: %s", f->path, strerror(errno));
    if (ok) {
        free(f->temporary);
        f->temporary = NULL;
    }
    file_abandon(f);
    return ok;
}

void file_abandon(struct output_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (struct output_file){ .fd = -1 };
}

bool file_write(const char *path, const void *bytes, size_t n, struct error *err)
{
    struct output_file f;
    if (!file_create(&f, path, err))
        return false;
    if (!file_write_at(&f, 0, bytes, n, err)) {
        file_abandon(&f);
        return false;
    }
    return file_commit(&f, err);
}
