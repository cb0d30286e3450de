#include "tokenizer/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/unicode.h"

/* ---- loading ---------------------------------------------------------- */

/* \w of Rust's regex crate (Unicode 16, UTS 18 annex C). */
static const char word_regex[] =
    "\\A[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}]\\z";

static bool read_flag(bool *out, const cJSON *json, const char *key, const char *path,
                      struct error *err)
{
    const cJSON *item = json_get(json, key);
    if (!cJSON_IsBool(item))
        return error_set(err, "%s: added_tokens: '%s' of '%s' is neither true nor false", path,
                         key, json_get(json, "content")->valuestring);
    *out = cJSON_IsTrue(item);
    return true;
}

static bool read_token(struct added_token *t, const cJSON *json, const struct normalizer *z,
                       struct normalizer_scratch *scratch, const char *path, struct error *err)
{
    const cJSON *content = json_get(json, "content");
    size_t id;
    if (!cJSON_IsString(content) || content->valuestring[0] == '\0')
        return error_set(err, "%s: added_tokens: a token without content", path);
    if (!json_to_size(json_get(json, "id"), &id) || id > INT32_MAX)
        return error_set(err, "%s: added_tokens: '%s' has no id from 0 to 2147483647", path,
                         content->valuestring);
    t->id = (int32_t)id;
    if (!read_flag(&t->single_word, json, "single_word", path, err)
        || !read_flag(&t->lstrip, json, "lstrip", path, err)
        || !read_flag(&t->rstrip, json, "rstrip", path, err)
        || !read_flag(&t->normalized, json, "normalized", path, err)
        || !read_flag(&t->special, json, "special", path, err))
        return false;
    const char *searched = content->valuestring;
    t->length = strlen(searched);
    if (t->normalized && !normalizer_run(z, scratch, &searched, &t->length, err))
        return false;
    t->content = mem_string(content->valuestring, err);
    t->searched = mem_array(t->length + 1, 1, "added token", err);
    if (!t->content || !t->searched)
        return false;
    memcpy(t->searched, searched, t->length);
    return true;
}

static int compare_contents(const void *a, const void *b)
{
    const struct added_token *const *x = a, *const *y = b;
    return strcmp((*x)->content, (*y)->content);
}

static int compare_searched(const void *a, const void *b)
{
    const struct added_token *const *x = a, *const *y = b;
    return strcmp((*x)->searched, (*y)->searched);
}

static int compare_ids(const void *a, const void *b)
{
    const struct added_token *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Each token must have the id that the vocabulary gives its content.  The others are numbered in
 * the order of the file, from the number of tokens in the vocabulary. */
static bool check_ids(const struct added_tokens *a, const struct vocabulary *v, const char *path,
                      struct error *err)
{
    size_t next = v->n, length;
    for (size_t i = 0; i < a->n; i++) {
        const struct added_token *t = &a->tokens[i];
        int32_t known = vocabulary_find(v, t->content, strlen(t->content));
        size_t expected = known >= 0 ? (size_t)known : next++;
        if ((size_t)t->id != expected)
            return error_set(err, "%s: added_tokens: '%s' has id %d, expected %zu", path,
                             t->content, t->id, expected);
        if (known < 0 && vocabulary_content(v, t->id, &length))
            return error_set(err, "%s: added_tokens: id %d of '%s' belongs to another token",
                             path, t->id, t->content);
    }
    return true;
}

/* Refuses a content that occurs twice: the two could ask for different treatments. */
static bool check_contents(const struct added_tokens *a, const char *path, struct error *err)
{
    const struct added_token **order = mem_array(a->n, sizeof *order, "added tokens", err);
    if (!order)
        return false;
    for (size_t i = 0; i < a->n; i++)
        order[i] = &a->tokens[i];
    qsort(order, a->n, sizeof *order, compare_contents);
    bool ok = true;
    for (size_t i = 1; ok && i < a->n; i++)
        if (strcmp(order[i - 1]->content, order[i]->content) == 0)
            ok = error_set(err, "%s: added_tokens: '%s' occurs twice", path, order[i]->content);
    free(order);
    return ok;
}

static bool make_set(struct added_token_set *set, const struct added_tokens *a, bool normalized,
                     const char *path, struct error *err)
{
    set->tokens = mem_array(a->n, sizeof *set->tokens, "added tokens", err);
    if (!set->tokens)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->tokens[i].normalized == normalized) {
            set->tokens[set->n++] = &a->tokens[i];
            set->starts[(unsigned char)a->tokens[i].searched[0]] = true;
        }
    qsort(set->tokens, set->n, sizeof *set->tokens, compare_searched);
    for (size_t i = 1; i < set->n; i++)
        if (strcmp(set->tokens[i - 1]->searched, set->tokens[i]->searched) == 0)
            return error_set(err, "%s: added_tokens: '%s' and '%s' are the same when normalized",
                             path, set->tokens[i - 1]->content, set->tokens[i]->content);
    return true;
}

bool added_tokens_load(struct added_tokens *a, const cJSON *json, const struct vocabulary *v,
                       const struct normalizer *z, const char *path, struct error *err)
{
    *a = (struct added_tokens){ 0 };
    if (json && !cJSON_IsArray(json))
        return error_set(err, "%s: added_tokens is not an array", path);
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
        n++;
    a->tokens = mem_array(n, sizeof *a->tokens, "added tokens", err);
    if (!a->tokens)
        return false;
    struct normalizer_scratch scratch = { 0 };
    bool ok = true, words = false;
    cJSON_ArrayForEach(item, json) {
        ok = read_token(&a->tokens[a->n++], item, z, &scratch, path, err);
        if (!ok)
            break;
        words = words || a->tokens[a->n - 1].single_word;
    }
    normalizer_scratch_free(&scratch);
    if (!ok || !check_contents(a, path, err) || !check_ids(a, v, path, err))
        return false;
    qsort(a->tokens, a->n, sizeof *a->tokens, compare_ids);
    if (words && !(a->word = pattern_compile_pcre2(word_regex, path, err)))
        return false;
    return make_set(&a->raw, a, false, path, err) && make_set(&a->normalized, a, true, path, err);
}

void added_tokens_free(struct added_tokens *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->tokens[i].content);
        free(a->tokens[i].searched);
    }
    free(a->tokens);
    free(a->raw.tokens);
    free(a->normalized.tokens);
    pattern_free(a->word);
    *a = (struct added_tokens){ 0 };
}

const struct added_token *added_tokens_by_id(const struct added_tokens *a, int32_t id)
{
    struct added_token key = { .id = id };
    return a->n ? bsearch(&key, a->tokens, a->n, sizeof key, compare_ids) : NULL;
}

const struct added_token *added_tokens_by_content(const struct added_tokens *a,
                                                  const char *content)
{
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->tokens[i].content, content) == 0)
            return &a->tokens[i];
    return NULL;
}

/* ---- searching --------------------------------------------------------- */

/* The longest token that the text starts with, NULL if none.  The tokens that agree with the first
 * k bytes are neighbours in `set`; each further byte narrows this range. */
static const struct added_token *longest_at(const struct added_token_set *set, const char *text,
                                            size_t n)
{
    const struct added_token *longest = NULL;
    size_t low = 0, high = set->n;
    for (size_t k = 0; k < n && low < high; k++) {
        unsigned char c = (unsigned char)text[k];
        size_t ends[2];                 /* first token with a byte k of at least c, above c */
        for (unsigned above = 0; above < 2; above++) {
            size_t from = low, to = high;
            while (from < to) {
                size_t middle = from + (to - from) / 2;
                if ((unsigned char)set->tokens[middle]->searched[k] < c + above)
                    from = middle + 1;
                else
                    to = middle;
            }
            ends[above] = from;
        }
        low = ends[0];
        high = ends[1];
        if (low < high && set->tokens[low]->length == k + 1)
            longest = set->tokens[low++];
    }
    return longest;
}

/* The next token in text[from, n), at *start; NULL when there is none. */
static const struct added_token *find_next(const struct added_token_set *set, const char *text,
                                           size_t n, size_t from, size_t *start)
{
    if (set->n == 0)
        return NULL;
    for (size_t i = from; i < n; i++) {
        if (!set->starts[(unsigned char)text[i]])
            continue;
        const struct added_token *t = longest_at(set, text + i, n - i);
        if (t) {
            *start = i;
            return t;
        }
    }
    return NULL;
}

static size_t character_before(const char *text, size_t i)
{
    do
        i--;
    while (((unsigned char)text[i] & 0xC0) == 0x80);
    return i;
}

/* White_Space, as Rust's \s. */
static bool is_space(const char *s, size_t *length)
{
    uint32_t c = utf8_get(s, length);
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680
        || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F
        || c == 0x205F || c == 0x3000;
}

/* *result: does a word character start at s?  False on an error. */
static bool is_word(bool *result, const struct added_tokens *a, const char *s,
                    struct pattern_scratch *matching, struct error *err)
{
    size_t length;
    char shown[4];
    length = utf8_put(shown, unicode_stand_in(utf8_get(s, &length)));
    struct pattern_walk walk = { 0 };
    *result = pattern_next(a->word, matching, shown, length, &walk, err);
    return *result || walk.finished;
}

/* *alone: are the characters around text[start, end) no word characters?  False on an error. */
static bool is_alone(bool *alone, const struct added_tokens *a, const char *text, size_t n,
                     size_t start, size_t end, struct pattern_scratch *matching,
                     struct error *err)
{
    bool before = false, after = false;
    if (start > 0
        && !is_word(&before, a, text + character_before(text, start), matching, err))
        return false;
    if (end < n && !is_word(&after, a, text + end, matching, err))
        return false;
    *alone = !before && !after;
    return true;
}

/* Is one of the n bytes not 0? */
static bool any_set(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return true;
    return false;
}

bool added_tokens_split(const struct added_tokens *a, const struct added_token_set *set,
                        const char *text, size_t n, const struct added_tokens_sink *sink,
                        struct error *err)
{
    const struct added_token *t;
    size_t done = 0;            /* everything before has been handed to the sink */
    size_t from = 0, start, length;
    while ((t = find_next(set, text, n, from, &start))) {
        size_t end = start + t->length;
        if (sink->plain && any_set(sink->plain + start, t->length)) {
            from = start + utf8_length(text + start, n - start);
            continue;
        }
        from = end;             /* stripping does not move the search (as in `tokenizers`) */
        bool alone = true;
        if (t->single_word
            && !is_alone(&alone, a, text, n, start, end, sink->matching, err))
            return false;
        if (!alone)
            continue;
        if (t->lstrip)
            for (size_t i; start > done; start = i) {
                i = character_before(text, start);
                if (!is_space(text + i, &length))
                    break;
            }
        if (t->rstrip)
            while (end < n && is_space(text + end, &length))
                end += length;
        if (done < start && !sink->text(sink->user, text + done, start - done, err))
            return false;
        if (!sink->token(sink->user, t->id, err))
            return false;
        done = end;
    }
    return done == n || sink->text(sink->user, text + done, n - done, err);
}
