#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "base/file.h"
#include "base/format.h"
#include "base/stand_in.h"
#include "base/utf8.h"

#define LARGEST_EXACT_INTEGER 9007199254740992.0    /* 2^53 */

/* Offset of an escaped NUL, n when there is none.  "\\u0000" (an escaped backslash) is not one. */
static size_t find_escaped_nul(const char *text, size_t n)
{
    for (const char *p = text; (p = memchr(p, '\\', n - (size_t)(p - text))); p += 2) {
        if (n - (size_t)(p - text) < 6)
            break;
        if (memcmp(p, "\\u0000", 6) == 0)
            return (size_t)(p - text);
    }
    return n;
}

static cJSON *parse(const char *text, size_t n, const char *path, struct error *err)
{
    size_t bad;
    if (!encoding_check(text, n, path, err))
        return NULL;
    const char *nul = n ? memchr(text, '\0', n) : NULL;
    bad = nul ? (size_t)(nul - text) : find_escaped_nul(text, n);
    if (bad < n) {
        error_set(err, "%s: NUL character in JSON at byte %zu", path, bad);
        return NULL;
    }
    const char *end = NULL;
    struct format_locale locale;
    format_locale_enter(&locale);
    cJSON *root = cJSON_ParseWithLengthOpts(text, n, &end, false);
    format_locale_leave(&locale);
    if (!root) {
        error_set(err, "%s: not valid JSON (or nested too deeply) at byte %zu of %zu", path,
                  end ? (size_t)(end - text) : (size_t)0, n);
        return NULL;
    }
    while (end < text + n && strchr(" \t\r\n", *end))
        end++;
    if (end != text + n) {
        error_set(err, "%s: text after the JSON value at byte %zu", path, (size_t)(end - text));
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

cJSON *json_parse(const char *text, size_t n, const char *path, struct error *err)
{
    cJSON *root = parse(text, n, path, err);
    if (!root)
        stand_in_check(path, text, n, err);     /* says it better, if it is one */
    return root;
}

static char *print(char *cjson_print(const cJSON *), const cJSON *item)
{
    struct format_locale locale;
    format_locale_enter(&locale);
    char *text = cjson_print(item);
    format_locale_leave(&locale);
    return text;
}

char *json_print(const cJSON *item)
{
    return print(cJSON_Print, item);
}

char *json_print_line(const cJSON *item)
{
    return print(cJSON_PrintUnformatted, item);
}

cJSON *json_read(const char *path, struct error *err)
{
    struct buffer text;
    if (!file_read(&text, path, err))
        return NULL;
    cJSON *root = json_parse(text.data, text.size, path, err);
    buffer_free(&text);
    return root;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool json_unique_keys(const cJSON *object, const char *path, struct error *err)
{
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
        n++;
    const char **keys = mem_array(n, sizeof *keys, "JSON keys", err);
    if (!keys)
        return false;
    n = 0;
    cJSON_ArrayForEach(item, object)
        keys[n++] = item->string ? item->string : "";
    qsort(keys, n, sizeof *keys, compare_keys);
    bool ok = true;
    for (size_t i = 1; ok && i < n; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            ok = error_set(err, "%s: duplicate name '%s'", path, keys[i]);
    free(keys);
    return ok;
}

const cJSON *json_get(const cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

const cJSON *json_get_value(const cJSON *object, const char *key)
{
    const cJSON *item = json_get(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

bool json_to_size(const cJSON *item, size_t *out)
{
    if (!cJSON_IsNumber(item))
        return false;
    double x = item->valuedouble;
    if (!(x >= 0 && x <= LARGEST_EXACT_INTEGER) || x != floor(x))
        return false;
    *out = (size_t)x;
    return true;
}

cJSON *json_add_size(cJSON *object, const char *key, size_t value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%zu", value);
    return cJSON_AddRawToObject(object, key, digits);
}

cJSON *json_double(double value)
{
    char digits[40];
    format_text(digits, sizeof digits, "%.17g", value);
    return isfinite(value) ? cJSON_CreateRaw(digits) : cJSON_CreateNull();
}

cJSON *json_add_double(cJSON *object, const char *key, double value)
{
    cJSON *item = json_double(value);
    if (cJSON_AddItemToObject(object, key, item))
        return item;
    cJSON_Delete(item);
    return NULL;
}

/* NULL when memory is out. */
static cJSON *exact(cJSON *item)
{
    char digits[40];
    if (cJSON_IsNumber(item)) {
        format_text(digits, sizeof digits, "%.17g", item->valuedouble);
        item->valuestring = cJSON_malloc(strlen(digits) + 1);
        if (!item->valuestring)
            return NULL;
        strcpy(item->valuestring, digits);
        item->type = (item->type & ~0xFF) | cJSON_Raw;
    }
    cJSON *child;
    cJSON_ArrayForEach(child, item)
        if (!exact(child))
            return NULL;
    return item;
}

cJSON *json_exact_copy(const cJSON *item)
{
    cJSON *copy = cJSON_Duplicate(item, true);
    if (copy && exact(copy))
        return copy;
    cJSON_Delete(copy);
    return NULL;
}

cJSON *json_add_bytes(cJSON *object, const char *key, const char *bytes)
{
    bool valid = utf8_valid(bytes, strlen(bytes), NULL);
    cJSON *item = cJSON_AddStringToObject(object, key, bytes);
    for (char *c = item ? item->valuestring : NULL; !valid && c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return item;
}

bool json_append_escaped(struct buffer *b, const char *s, size_t n, struct error *err)
{
    bool ok = true;
    size_t plain = 0;                           /* start of the run that needs no escape */
    for (size_t i = 0; ok && i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        ok = buffer_append(b, s + plain, i - plain, err);
        plain = i + 1;
        if (!ok)
            break;
        if (c == '"' || c == '\\')
            ok = buffer_printf(b, err, "\\%c", c);
        else if (c == '\n')
            ok = buffer_append(b, "\\n", 2, err);
        else
            ok = buffer_printf(b, err, "\\u%04x", c);
    }
    return ok && buffer_append(b, s + plain, n - plain, err);
}

bool json_append_string(struct buffer *b, const char *s, size_t n, struct error *err)
{
    return buffer_append(b, "\"", 1, err) && json_append_escaped(b, s, n, err)
        && buffer_append(b, "\"", 1, err);
}
