#include "eval/compare/comparable.h"

#include <stdio.h>
#include <string.h>

#include "base/format.h"

#define VALUE_BYTES 96
#define DIGEST_SHOWN 12                 /* hexadecimal digits */

void comparable_value(char *out, size_t n, const cJSON *summary, const char *path)
{
    const cJSON *item = summary;
    for (const char *key = path; key;) {
        char name[64];
        size_t length = strcspn(key, ".");
        snprintf(name, sizeof name, "%.*s", (int)length, key);
        item = json_get_value(item, name);
        key = key[length] ? key + length + 1 : NULL;
    }
    if (cJSON_IsString(item))
        format_text(out, n, "%s", item->valuestring);
    else if (cJSON_IsNumber(item))
        format_text(out, n, "%.15g", item->valuedouble);
    else
        format_text(out, n, "none");
    error_printable(out);
}

/* Appends "; what a against b" when they differ. */
static bool note(struct buffer *found, const char *what, const char *a, const char *b, int shown,
                 struct error *err)
{
    return strcmp(a, b) == 0
        || buffer_printf(found, err, "%s%s %.*s against %.*s", found->size ? "; " : "", what, shown,
                         a, shown, b);
}

static bool note_settings(struct buffer *found, const struct record *a, const struct record *b,
                          struct error *err)
{
    static const struct {
        const char *path, *what;
        int shown;
    } settings[] = {
        { "text.sha256", "text sha256", DIGEST_SHOWN }, { "text.join", "join", VALUE_BYTES },
        { "tokenizer.sha256", "tokenizer sha256", DIGEST_SHOWN },
        { "protocol", "protocol", VALUE_BYTES }, { "context", "context", VALUE_BYTES },
        { "stride", "stride", VALUE_BYTES }, { "prefix_id", "prefix id", VALUE_BYTES },
        { "max_windows", "window limit", VALUE_BYTES },
        { "documents.split", "documents", VALUE_BYTES },
        { "documents.count", "number of documents", VALUE_BYTES },
        { "windows", "windows", VALUE_BYTES }, { "tokens", "tokens", VALUE_BYTES },
        { "scored", "scored tokens", VALUE_BYTES },
    };
    char x[VALUE_BYTES], y[VALUE_BYTES];
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        comparable_value(x, sizeof x, a->summary, settings[i].path);
        comparable_value(y, sizeof y, b->summary, settings[i].path);
        if (!note(found, settings[i].what, x, y, settings[i].shown, err))
            return false;
    }
    return true;
}

/* The first row that differs, by column. */
static bool note_rows(struct buffer *found, const struct record *a, const struct record *b,
                      struct error *err)
{
    const struct {
        const char *what;
        const int32_t *a, *b;
    } columns[] = {
        { "position", a->position, b->position }, { "window", a->window, b->window },
        { "token id", a->id, b->id },
        { "index in its window", a->index_in_window, b->index_in_window },
    };
    bool ok = true;
    for (size_t c = 0; ok && a->scored == b->scored && c < sizeof columns / sizeof *columns; c++) {
        size_t row = 0;
        while (row < a->scored && columns[c].a[row] == columns[c].b[row])
            row++;
        char what[64], x[16], y[16];
        if (row == a->scored)
            continue;
        snprintf(what, sizeof what, "%s of scored token %zu:", columns[c].what, row);
        snprintf(x, sizeof x, "%d", (int)columns[c].a[row]);
        snprintf(y, sizeof y, "%d", (int)columns[c].b[row]);
        ok = note(found, what, x, y, VALUE_BYTES, err);
    }
    return ok;
}

bool comparable_check(const struct record *a, const struct record *b, struct error *err)
{
    struct buffer found = { 0 };
    bool ok = note_settings(&found, a, b, err) && note_rows(&found, a, b, err);
    if (ok && found.size)
        ok = error_set(err, "%s and %s did not score the same tokens in the same way: %s",
                       a->folder, b->folder, found.data);
    buffer_free(&found);
    return ok;
}
