#include "tokenizer/normalizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/unicode.h"

static const struct {
    const char *name;
    utf8proc_option_t options;
    /* A character whose first UTF-8 byte is below this neither changes nor combines with the one
     * before it: below U+0300 for NFC, U+00C0 for NFD, U+0080 for the compatibility forms. */
    unsigned char first_active_byte;
} form_table[] = {
    [NORMAL_FORM_NFC]  = { "NFC",  UTF8PROC_STABLE | UTF8PROC_COMPOSE, 0xCC },
    [NORMAL_FORM_NFD]  = { "NFD",  UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, 0xC3 },
    [NORMAL_FORM_NFKC] = { "NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, 0x80 },
    [NORMAL_FORM_NFKD] = { "NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, 0x80 },
};
#define N_FORMS (sizeof form_table / sizeof form_table[0])

/* ---- loading ---------------------------------------------------------- */

static bool load_one(struct normalizer *z, const cJSON *json, const char *path,
                     struct error *err)
{
    const cJSON *type = json_get(json, "type");
    if (!cJSON_IsString(type))
        return error_set(err, "%s: normalizer has no type", path);
    for (size_t i = 0; i < N_FORMS; i++)
        if (strcmp(type->valuestring, form_table[i].name) == 0) {
            if (!mem_grow(&z->forms, &z->capacity, z->n + 1, sizeof *z->forms, "normalizer", err))
                return false;
            z->forms[z->n++] = (enum normal_form)i;
            return true;
        }
    return error_set(err, "%s: normalizer '%s' is not supported", path, type->valuestring);
}

bool normalizer_load(struct normalizer *z, const cJSON *json, const char *path,
                     struct error *err)
{
    *z = (struct normalizer){ 0 };
    if (!json || cJSON_IsNull(json))
        return true;
    const cJSON *type = json_get(json, "type");
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "Sequence") != 0)
        return load_one(z, json, path, err);
    const cJSON *list = json_get(json, "normalizers"), *item;
    if (!cJSON_IsArray(list))
        return error_set(err, "%s: normalizer.normalizers is not an array", path);
    cJSON_ArrayForEach(item, list)
        if (!load_one(z, item, path, err))
            return false;
    return true;
}

void normalizer_free(struct normalizer *z)
{
    free(z->forms);
    *z = (struct normalizer){ 0 };
}

/* ---- running ---------------------------------------------------------- */

void normalizer_scratch_free(struct normalizer_scratch *s)
{
    buffer_free(&s->text[0]);
    buffer_free(&s->text[1]);
    free(s->points);
    free(s->sorted);
    *s = (struct normalizer_scratch){ 0 };
}

static utf8proc_propval_t combining_class(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Sorts points [first, last) by combining class, keeping the order within a class. */
static bool reorder_marks(struct normalizer_scratch *s, size_t first, size_t last,
                          struct error *err)
{
    bool sorted = true;
    for (size_t i = first + 1; sorted && i < last; i++)
        sorted = combining_class(s->points[i - 1]) <= combining_class(s->points[i]);
    if (sorted)
        return true;
    if (!mem_grow(&s->sorted, &s->sorted_capacity, last - first, sizeof *s->sorted,
                  "combining marks", err))
        return false;
    size_t place[257] = { 0 };          /* place[k]: where the next mark of class k goes */
    for (size_t i = first; i < last; i++)
        place[combining_class(s->points[i]) + 1]++;
    for (size_t k = 1; k < 257; k++)
        place[k] += place[k - 1];
    for (size_t i = first; i < last; i++)
        s->sorted[place[combining_class(s->points[i])]++] = s->points[i];
    memcpy(s->points + first, s->sorted, (last - first) * sizeof *s->points);
    return true;
}

/* Reorders, composes and appends the decomposed run in s->points, and empties it. */
static bool finish_run(struct normalizer_scratch *s, utf8proc_option_t options,
                       struct buffer *out, struct error *err)
{
    for (size_t i = 0; i < s->n_points; ) {
        size_t first = i;
        while (i < s->n_points && combining_class(s->points[i]) != 0)
            i++;
        if (!reorder_marks(s, first, i, err))
            return false;
        i += i == first;
    }
    utf8proc_ssize_t n = utf8proc_normalize_utf32(s->points, (utf8proc_ssize_t)s->n_points,
                                                  options);
    s->n_points = 0;
    if (n < 0)
        return error_set(err, "normalizing text: %s", utf8proc_errmsg(n));
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char bytes[4];
        if (!buffer_append(out, bytes, utf8_put(bytes, (uint32_t)s->points[i]), err))
            return false;
    }
    return true;
}

static bool add_decomposed(struct normalizer_scratch *s, uint32_t c, utf8proc_option_t options,
                           struct error *err)
{
    enum { LONGEST = 32 };      /* U+FDFA decomposes into 18 */
    if (!mem_grow(&s->points, &s->points_capacity, s->n_points + LONGEST, sizeof *s->points,
                  "code points", err))
        return false;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, s->points + s->n_points,
                                                 LONGEST, options, NULL);
    if (n < 0 || n > LONGEST)
        return error_set(err, "normalizing U+%04X: %s", (unsigned)c,
                         n < 0 ? utf8proc_errmsg(n) : "too long a decomposition");
    s->n_points += (size_t)n;
    return true;
}

/* The first offset at or after i whose character can change; n when there is none. */
static size_t find_active(const char *text, size_t i, size_t n, unsigned char first_active_byte)
{
    while (i < n && (unsigned char)text[i] < 0x80)
        i++;
    while (i < n && ((unsigned char)text[i] < first_active_byte
                     || ((unsigned char)text[i] & 0xC0) == 0x80))
        i++;
    return i;
}

/* Copies stretches that cannot change.  utf8proc normalizes the runs between them, each together
 * with the character before it, which may combine with a mark. */
static bool normalize(struct normalizer_scratch *s, enum normal_form form, const char *text,
                      size_t n, struct buffer *out, struct error *err)
{
    utf8proc_option_t options = form_table[form].options;
    unsigned char first_active_byte = form_table[form].first_active_byte;
    size_t i = 0;
    s->n_points = 0;
    while (i < n) {
        size_t active = find_active(text, i, n, first_active_byte), run = active;
        if (active < n && active > i)
            do
                run--;
            while (((unsigned char)text[run] & 0xC0) == 0x80);
        if (!buffer_append(out, text + i, run - i, err))
            return false;
        size_t length;
        for (i = run; i < n && (i <= active || (unsigned char)text[i] >= first_active_byte);
             i += length) {
            uint32_t c = utf8_get(text + i, &length);
            bool ok = unicode_inert(c) ? finish_run(s, options, out, err)
                                         && buffer_append(out, text + i, length, err)
                                       : add_decomposed(s, c, options, err);
            if (!ok)
                return false;
        }
        if (!finish_run(s, options, out, err))
            return false;
    }
    return true;
}

bool normalizer_run(const struct normalizer *z, struct normalizer_scratch *s, const char **text,
                    size_t *n, struct error *err)
{
    size_t turn = 0;
    for (size_t k = 0; k < z->n; k++) {
        if (find_active(*text, 0, *n, form_table[z->forms[k]].first_active_byte) == *n)
            continue;
        struct buffer *out = &s->text[turn];
        turn = !turn;
        out->size = 0;
        if (!normalize(s, z->forms[k], *text, *n, out, err))
            return false;
        *text = out->data;
        *n = out->size;
    }
    return true;
}
