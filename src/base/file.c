#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_stamp file_stamp_of(const struct stat *st)
{
    return (struct file_stamp){ st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim };
}

/* Opens a regular file for reading and gives its stamp; -1 on error. */
static int open_regular(const char *path, struct file_stamp *stamp, struct error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        bool lacks = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
        (lacks ? error_lack : error_set)(err, "%s: %s", path, error_reason(errno));
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) != 0)
        error_set(err, "%s: %s", path, error_reason(errno));
    else if (S_ISDIR(st.st_mode))
        error_set(err, "%s: is a directory, expected a file", path);
    else if (!S_ISREG(st.st_mode))
        error_set(err, "%s: is not a regular file", path);
    else {
        *stamp = file_stamp_of(&st);
        return fd;
    }
    close(fd);
    return -1;
}

bool file_map(struct mapped_file *f, const char *path, struct error *err)
{
    *f = (struct mapped_file){ .fd = -1 };
    f->fd = open_regular(path, &f->stamp, err);
    if (f->fd < 0)
        return false;
    f->size = (size_t)f->stamp.size;
    void *data = NULL;
    if (f->size)
        data = mmap(NULL, f->size, PROT_READ, MAP_SHARED, f->fd, 0);
    if (data == MAP_FAILED)
        (errno == ENOMEM ? error_lack : error_set)(err, "%s: cannot map %zu bytes: %s", path,
                                                   f->size, error_reason(errno));
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
                             f->path, offset, offset + n, error_reason(errno));
        /* Linux before 5.14: touch each page, if the file still has all of them. */
        struct stat st;
        if (fstat(f->fd, &st) != 0 || (size_t)st.st_size < offset + n)
            return error_set(err, "%s: was cut short", f->path);
        for (size_t at = first; at < offset + n; at += page)
            (void)*(const volatile uint8_t *)(f->data + at);
        break;
    }
    return true;
}

double file_cached_share(const struct mapped_file *f, size_t offset, size_t n)
{
    enum { LOOKS = 16 };
    size_t page = page_bytes(), cached = 0;
    for (size_t i = 0; i < LOOKS; i++) {
        unsigned char is_cached = 1;            /* also where the system does not tell */
        size_t at = (offset + n / LOOKS * i) / page * page;
        mincore((void *)(uintptr_t)(f->data + at), 1, &is_cached);
        cached += is_cached & 1;
    }
    return (double)cached / LOOKS;
}

void file_read_ahead(const struct mapped_file *f, size_t offset, size_t n)
{
    posix_fadvise(f->fd, (off_t)offset, (off_t)n, POSIX_FADV_WILLNEED);
}

void file_release(const struct mapped_file *f, size_t offset, size_t n, bool evict)
{
    size_t page = page_bytes(), first = offset / page * page;
    size_t end = (offset + n) / page * page;
    if (offset + n == f->size)                          /* nobody else uses the last page */
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
        if (n < 0 && errno == EBADF)            /* also from main.c's stand-in for a closed one */
            return error_set(err, "%s: standard input is closed", path);
        if (n < 0)
            return error_set(err, "%s: %s", path, error_reason(errno));
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
    struct file_stamp stamp = { .size = 0 };
    int fd = is_stdin ? STDIN_FILENO : open_regular(path, &stamp, err);
    if (fd < 0)
        return false;
    size_t size = (size_t)stamp.size;
    /* Room for the whole file at once; read_all copes if the file grows while it is read. */
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

/* A pipe or a terminal: read once, without a size. */
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
        return error_set(err, "%s: %s", path, errno == EINTR ? "interrupted" : error_reason(errno));
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

bool file_link_target(char **target, const char *path, struct error *err)
{
    char text[4096];
    ssize_t n = readlink(path, text, sizeof text - 1);
    *target = NULL;
    if (n < 0)
        return true;
    text[n] = '\0';
    return (*target = mem_string(text, err));
}

bool file_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *file_last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
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
        return error_set(err, "%s: %s", folder, error_reason(errno));
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

static bool visit(struct walk *w, const char *path, bool hidden)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return error_set(w->err, "%s: %s", path, error_reason(errno));
    if (S_ISDIR(st.st_mode) && (hidden || access(path, R_OK | X_OK) == 0))
        return hidden || walk(w, path);
    return mem_grow(&w->names, &w->capacity, w->n + 1, sizeof *w->names, "file names", w->err)
        && (w->names[w->n] = mem_string(path + w->n_folder, w->err)) && ++w->n;
}

static bool walk(struct walk *w, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return error_set(w->err, "%s: %s", folder, error_reason(errno));
    bool ok = true;
    for (const struct dirent *entry; ok && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        char *path = file_join(folder, name, w->err);
        ok = path && visit(w, path, name[0] == '.');
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
