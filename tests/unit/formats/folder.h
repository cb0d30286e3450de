/* folder.h - temporary folders and files for the tests of src/formats. */
#ifndef SURPRISAL_TESTS_FORMATS_FOLDER_H
#define SURPRISAL_TESTS_FORMATS_FOLDER_H

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/output_file.h"

#define FOLDER_TEMPLATE "/tmp/surprisal-formats-XXXXXX"

struct folder {
    char path[sizeof FOLDER_TEMPLATE];
};

__attribute__((unused))
static struct folder folder_make(void)
{
    struct folder f = { FOLDER_TEMPLATE };
    if (!mkdtemp(f.path)) {
        perror(f.path);
        exit(1);
    }
    return f;
}

__attribute__((unused))
static int folder_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

__attribute__((unused))
static void folder_remove(const struct folder *f)
{
    nftw(f->path, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of an entry; valid until the next call. */
__attribute__((unused))
static const char *folder_path(const struct folder *f, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return path;
}

__attribute__((unused))
static void folder_write(const struct folder *f, const char *name, const void *bytes, size_t n)
{
    struct error err;
    if (!output_file_write(folder_path(f, name), bytes, n, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

__attribute__((unused))
static void folder_write_text(const struct folder *f, const char *name, const char *text)
{
    folder_write(f, name, text, strlen(text));
}

/* A safetensors file of a header and n_data bytes 0, 1, 2, ... 250, 0, ... */
__attribute__((unused))
static void folder_write_safetensors(const struct folder *f, const char *name, const char *header,
                                     size_t n_data)
{
    size_t n_header = strlen(header), n = 8 + n_header + n_data;
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n_header >> (8 * i));
    memcpy(bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n_header + i] = (uint8_t)(i % 251);
    folder_write(f, name, bytes, n);
    free(bytes);
}

#endif
