#include "verify/verify_files.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/format.h"
#include "formats/safetensors_folder.h"

#define PIECE_BYTES ((size_t)1 << 20)

/* ---- config.json -------------------------------------------------------------- */

/* Settings that a quantizer may change. */
static bool may_differ(const char *key)
{
    static const char *const keys[] = { "quantization_config", "quantization",
                                        "transformers_version",
                                        "_name_or_path", "dtype", "torch_dtype" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

struct settings {
    struct findings *found;
    struct error *err;
};

static bool compare_objects(const struct settings *s, const cJSON *here, const cJSON *there,
                            const char *in);

/* Both are objects. */
static bool compare_inside(const struct settings *s, const cJSON *here, const cJSON *there,
                           const char *in)
{
    struct buffer path = { 0 };
    bool ok = buffer_printf(&path, s->err, "%s%s.", in, here->string)
           && compare_objects(s, here, there, path.data);
    buffer_free(&path);
    return ok;
}

/* One of the two may be NULL: not there. */
static bool compare_setting(const struct settings *s, const cJSON *here, const cJSON *there,
                            const char *in)
{
    if (cJSON_IsObject(here) && cJSON_IsObject(there))
        return compare_inside(s, here, there, in);
    char *a = here ? json_print_line(here) : NULL;
    char *b = there ? json_print_line(there) : NULL;
    bool ok = a && b && strcmp(a, b) == 0;
    if (!ok)
        ok =
            findings_add(s->found, FOUND_CONFIG_DIFFERS, "config.json", NULL, s->err,
                         "%s%s is %.80s, %.80s in the original", in,
                         here ? here->string : there->string, a ? a : "missing", b ? b : "missing");
    cJSON_free(a);
    cJSON_free(b);
    return ok;
}

/* in: where both stand, "" or "text_config." */
static bool compare_objects(const struct settings *s, const cJSON *here, const cJSON *there,
                            const char *in)
{
    const cJSON *item;
    bool ok = true;
    cJSON_ArrayForEach(item, here)
        if (ok && !may_differ(item->string))
            ok = compare_setting(s, item, json_get(there, item->string), in);
    cJSON_ArrayForEach(item, there)
        if (ok && !may_differ(item->string) && !json_get(here, item->string))
            ok = compare_setting(s, NULL, item, in);
    return ok;
}

/* ---- files ------------------------------------------------------------------------ */

/* Files in folders are not a loader's, but for these of transformers. */
#define TEMPLATES "additional_chat_templates/"
/* Others may have gigabytes: above this their size must do. */
#define COMPARED_BYTES ((size_t)16 << 20)

/* What people write, and what loaders do not read: hidden files, and those in most folders. */
static bool is_note(const char *name)
{
    static const char *const ends[] = { ".md", ".txt", ".png", ".jpg", ".svg", ".pdf", "LICENSE",
                                        "NOTICE" };
    if (name[0] == '.' || (strchr(name, '/') && strncmp(name, TEMPLATES, strlen(TEMPLATES)) != 0))
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t n = strlen(name), n_end = strlen(ends[i]);
        if (n >= n_end && strcmp(name + n - n_end, ends[i]) == 0)
            return strcmp(name, "merges.txt") != 0;     /* of a tokenizer */
    }
    return false;
}

static bool is_weights(const char *name)
{
    size_t n = strlen(name), n_suffix = strlen(CHECKPOINT_SUFFIX);
    return strcmp(name, "config.json") == 0 || strcmp(name, CHECKPOINT_INDEX) == 0
        || (n > n_suffix && strcmp(name + n - n_suffix, CHECKPOINT_SUFFIX) == 0);
}

static bool same_bytes(bool *same, const struct mapped_file *a, const struct mapped_file *b,
                       struct error *err)
{
    *same = a->size == b->size;
    for (size_t at = 0; *same && at < a->size; at += PIECE_BYTES) {
        size_t n = size_min(PIECE_BYTES, a->size - at);
        if (!file_populate(a, at, n, err) || !file_populate(b, at, n, err))
            return false;
        *same = memcmp(a->data + at, b->data + at, n) == 0;
        file_release(a, at, n, false);
        file_release(b, at, n, false);
    }
    return true;
}

/* About a file of the folder, or below it: a finding keeps the last part of the name. */
__attribute__((format(printf, 5, 6)))
static bool add(struct findings *found, enum finding_code code, const char *name, struct error *err,
                const char *format, ...)
{
    const char *slash = strrchr(name, '/');
    struct error text = { 0 };
    va_list args;
    va_start(args, format);
    error_vset(&text, format, args);
    va_end(args);
    return findings_add(found, is_note(name) ? NOTE_FILE : code, name, NULL, err, "%s%.*s%s%s",
                        slash ? "in " : "", slash ? (int)(slash - name) : 0, name,
                        slash ? ": " : "", text.message);
}

static bool say_differs(const char *name, size_t here, size_t there, struct findings *found,
                        struct error *err)
{
    return add(found, FOUND_FILE_DIFFERS, name, err,
               "has %zu bytes that are not the original's %zu", here, there);
}

/* `size`: of the original's. */
static bool compare_paths(const char *here, const char *there, const char *name, size_t size,
                          struct findings *found, struct error *err)
{
    struct mapped_file a, b;
    struct error why = { 0 };
    struct stat st;
    bool same = false;
    if (!file_exists(here))
        return add(found, FOUND_MISSING_FILE, name, err, "is not here, but in the original");
    if (is_note(name) && size > COMPARED_BYTES && stat(here, &st) == 0)
        return (size_t)st.st_size == size
            || say_differs(name, (size_t)st.st_size, size, found, err);
    if (!file_map(&a, here, &why) && !why.lacking)
        return add(found, FOUND_UNREADABLE, name, err, "%s", why.message);
    if (why.lacking || !file_map(&b, there, &why)) {
        file_unmap(&a);
        if (is_note(name) && !why.lacking)
            return add(found, NOTE_FILE, name, err, "cannot be compared: %s", why.message);
        *err = why;
        return false;
    }
    bool ok = same_bytes(&same, &a, &b, err)
           && (same || say_differs(name, a.size, b.size, found, err));
    file_unmap(&a);
    file_unmap(&b);
    return ok;
}

static bool compare_file(const struct verify_folder *f, const struct verify_folder *original,
                         const char *name, struct findings *found, struct error *err)
{
    char *here = file_join(f->ck.folder, name, err),
         *there = file_join(original->ck.folder, name, err);
    struct stat st;
    bool ok = here && there;
    if (ok && stat(there, &st) == 0
        && S_ISREG(st.st_mode)) /* links to folders are others' business */
        ok = compare_paths(here, there, name, (size_t)st.st_size, found, err);
    free(here);
    free(there);
    return ok;
}

bool verify_files(const struct verify_folder *f, const struct verify_folder *original,
                  struct findings *found, struct error *err)
{
    char **names = NULL;
    size_t n_names = 0;
    const struct settings settings = { found, err };
    bool ok = !f->ck.config_json || !original->ck.config_json
           || compare_objects(&settings, f->ck.config_json, original->ck.config_json, "");
    ok = ok && file_list_below(&names, &n_names, original->ck.folder, err);
    for (size_t i = 0; ok && i < n_names; i++)
        if (!is_weights(names[i]))
            ok = compare_file(f, original, names[i], found, err);
    file_list_free(names, n_names);
    return ok;
}
