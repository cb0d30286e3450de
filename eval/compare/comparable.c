#include "eval/compare/comparable.h"

#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "eval/compare/warned.h"
#include "eval/score/model.h"

#define VALUE_BYTES 96
#define DIGEST_SHOWN 12                 /* hexadecimal digits */
#define TEXT_SHOWN 60                   /* bytes of a token's text */

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

void comparable_token(char out[COMPARABLE_TOKEN_BYTES], const char *path, int32_t id)
{
    struct tokenizer *t = path ? tokenizer_open(path, NULL) : NULL;
    struct buffer text = { 0 };
    if (t && tokenizer_decode(t, &id, 1, &text, NULL) && text.size)
        snprintf(out, COMPARABLE_TOKEN_BYTES, "%d '%.*s'", (int)id, TEXT_SHOWN, text.data);
    else
        snprintf(out, COMPARABLE_TOKEN_BYTES, "%d", (int)id);
    error_printable(out);
    buffer_free(&text);
    tokenizer_close(t);
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
        { "protocol", "protocol", VALUE_BYTES }, { "context", "context", VALUE_BYTES },
        { "stride", "stride", VALUE_BYTES }, { "prefix_id", "prefix id", VALUE_BYTES },
        { "max_windows", "window limit", VALUE_BYTES },
        { "documents.split", "documents", VALUE_BYTES },
        { "documents.count", "number of documents", VALUE_BYTES },
        { "windows", "windows", VALUE_BYTES }, { "tokens", "tokens", VALUE_BYTES },
    };
    char x[VALUE_BYTES], y[VALUE_BYTES];
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        comparable_value(x, sizeof x, a->summary, settings[i].path);
        comparable_value(y, sizeof y, b->summary, settings[i].path);
        if (!note(found, settings[i].what, x, y, settings[i].shown, err))
            return false;
    }
    snprintf(x, sizeof x, "%zu", a->file_rows);         /* windows left out may differ */
    snprintf(y, sizeof y, "%zu", b->file_rows);
    return note(found, "scored tokens", x, y, VALUE_BYTES, err);
}

/* Of ids: "17 'text'", by the tokenizer of the run if it is still there. */
static void value_of(char out[COMPARABLE_TOKEN_BYTES], const struct record *r, int32_t value,
                     bool is_id)
{
    const cJSON *tokenizer = json_get_value(r->summary, "tokenizer");
    comparable_token(out, is_id ? cJSON_GetStringValue(json_get(tokenizer, "path")) : NULL, value);
}

/* Does the summary's member differ? */
static bool differs(const struct record *a, const struct record *b, const char *path)
{
    char x[VALUE_BYTES], y[VALUE_BYTES];
    comparable_value(x, sizeof x, a->summary, path);
    comparable_value(y, sizeof y, b->summary, path);
    return strcmp(x, y) != 0;
}

/* The first row that differs, by column.  Of columns of different lengths only the ids are
 * compared, and if tokenizers differ: they say where. */
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
    bool ok = true, other_tokenizer = differs(a, b, "tokenizer.sha256");
    for (size_t c = 0; ok && c < sizeof columns / sizeof *columns; c++) {
        bool is_id = columns[c].a == a->id;
        size_t row = 0, n = size_min(a->scored, b->scored);
        if (a->scored != b->scored && !(is_id && other_tokenizer))
            continue;
        while (row < n && columns[c].a[row] == columns[c].b[row])
            row++;
        char what[64], x[COMPARABLE_TOKEN_BYTES], y[COMPARABLE_TOKEN_BYTES];
        if (row == n)
            continue;
        snprintf(what, sizeof what, "%s of scored token %zu:", columns[c].what, row);
        value_of(x, a, columns[c].a[row], is_id);
        value_of(y, b, columns[c].b[row], is_id);
        ok = note(found, what, x, y, COMPARABLE_TOKEN_BYTES, err);
    }
    return ok;
}

/* The same ids are the same input, whatever the bytes of tokenizer.json.  Records of older versions
 * have only the ids that are scored, which note_rows compares. */
static bool note_ids(struct buffer *found, const struct record *a, const struct record *b,
                     const struct surprisal_progress *progress, struct error *err)
{
    char file_a[VALUE_BYTES], file_b[VALUE_BYTES], ids_a[VALUE_BYTES], ids_b[VALUE_BYTES];
    comparable_value(file_a, sizeof file_a, a->summary, "tokenizer.sha256");
    comparable_value(file_b, sizeof file_b, b->summary, "tokenizer.sha256");
    comparable_value(ids_a, sizeof ids_a, a->summary, "text.ids_sha256");
    comparable_value(ids_b, sizeof ids_b, b->summary, "text.ids_sha256");
    bool known = strcmp(ids_a, "none") != 0 && strcmp(ids_b, "none") != 0;
    if (found->size || (known && strcmp(ids_a, ids_b) != 0))
        return note(found, "tokenizer sha256", file_a, file_b, DIGEST_SHOWN, err)
            && (!known || note(found, "sha256 of all token ids", ids_a, ids_b, DIGEST_SHOWN, err));
    if (strcmp(file_a, file_b) != 0)
        model_warn(progress, "the tokenizers of %s and %s differ (sha256 %.*s against %.*s), but "
                   "%s", warned_name(a, b), warned_name(b, a), DIGEST_SHOWN, file_a, DIGEST_SHOWN,
                   file_b, known ? "give the same ids for the text"
                                 : "the ids that the runs keep, the scored ones, are the same");
    return true;
}

bool comparable_check(const struct record *a, const struct record *b,
                      const struct surprisal_progress *progress, struct error *err)
{
    struct buffer found = { 0 };
    bool ok = note_settings(&found, a, b, err) && note_rows(&found, a, b, err)
           && note_ids(&found, a, b, progress, err);
    if (ok && found.size)
        ok = error_set(err, "%s and %s did not score the same tokens in the same way: %s",
                       a->folder, b->folder, found.data);
    buffer_free(&found);
    return ok;
}
