#include "tokenizer/pre_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenizer/unicode.h"

/* Stages call one another, so their number is limited; real tokenizers have two or three. */
#define MAX_STAGES 64

/* ---- loading ---------------------------------------------------------- */

/* The pattern of ByteLevel with use_regex (GPT-2, src/encoder.py). */
static const char gpt2_regex[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static bool read_flag(bool *out, const cJSON *json, const char *key, const char *path,
                      struct error *err)
{
    const cJSON *item = json_get(json, key);
    if (!cJSON_IsBool(item))
        return error_set(err, "%s: pre_tokenizer: '%s' is neither true nor false", path, key);
    *out = cJSON_IsTrue(item);
    return true;
}

static bool load_byte_level(struct pre_tokenizer_stage *stage, const cJSON *json,
                            const char *path, struct error *err)
{
    bool use_regex = true;
    if (!read_flag(&stage->prefix_space, json, "add_prefix_space", path, err)
        || (json_get(json, "use_regex") && !read_flag(&use_regex, json, "use_regex", path, err)))
        return false;
    if (use_regex)
        stage->pattern = pattern_compile(gpt2_regex, path, err);
    return !use_regex || stage->pattern;
}

static bool load_split(struct pre_tokenizer_stage *stage, const cJSON *json, const char *path,
                       struct error *err)
{
    static const char *const behaviors[] = {
        [SPLIT_ISOLATED] = "Isolated", [SPLIT_REMOVED] = "Removed",
        [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext", [SPLIT_CONTIGUOUS] = "Contiguous"
    };
    const cJSON *behavior = json_get(json, "behavior"), *pattern = json_get(json, "pattern");
    const cJSON *regex = json_get(pattern, "Regex"), *string = json_get(pattern, "String");
    if (!cJSON_IsString(behavior))
        return error_set(err, "%s: pre_tokenizer: Split has no behavior", path);
    size_t i = 0;
    while (i < 5 && strcmp(behaviors[i], behavior->valuestring) != 0)
        i++;
    if (i == 5)
        return error_set(err, "%s: pre_tokenizer: Split behavior '%s' is not supported", path,
                         behavior->valuestring);
    stage->behavior = (enum split_behavior)i;
    if (!read_flag(&stage->invert, json, "invert", path, err))
        return false;
    if (cJSON_IsString(regex) == cJSON_IsString(string))
        return error_set(err, "%s: pre_tokenizer: Split has no pattern (Regex or String)", path);
    struct buffer what = { 0 };
    if (buffer_printf(&what, err, "%s: pre_tokenizer: Split", path))
        stage->pattern = regex ? pattern_compile(regex->valuestring, what.data, err)
                               : pattern_compile_literal(string->valuestring, what.data, err);
    buffer_free(&what);
    return stage->pattern != NULL;
}

/* Loads one that is not a Sequence.  *byte_level: has ByteLevel been seen? */
static bool load_stage(struct pre_tokenizer *z, bool *byte_level, const cJSON *json,
                       const char *path, struct error *err)
{
    const cJSON *type = json_get(json, "type");
    if (!cJSON_IsString(type))
        return error_set(err, "%s: pre_tokenizer has no type", path);
    if (*byte_level)
        return error_set(err, "%s: pre_tokenizer '%s' after ByteLevel is not supported", path,
                         type->valuestring);
    if (z->n == MAX_STAGES)
        return error_set(err, "%s: more than %d pre_tokenizers are not supported", path,
                         MAX_STAGES);
    if (!mem_grow(&z->stages, &z->capacity, z->n + 1, sizeof *z->stages, "pre_tokenizer", err))
        return false;
    struct pre_tokenizer_stage *stage = &z->stages[z->n++];
    *stage = (struct pre_tokenizer_stage){ 0 };
    *byte_level = strcmp(type->valuestring, "ByteLevel") == 0;
    if (*byte_level)
        return load_byte_level(stage, json, path, err);
    if (strcmp(type->valuestring, "Split") == 0)
        return load_split(stage, json, path, err);
    return error_set(err, "%s: pre_tokenizer '%s' is not supported", path, type->valuestring);
}

bool pre_tokenizer_load(struct pre_tokenizer *z, const cJSON *json, const char *path,
                        struct error *err)
{
    *z = (struct pre_tokenizer){ 0 };
    bool byte_level = false;
    const cJSON *type = json_get(json, "type"), *list = json_get(json, "pretokenizers"), *item;
    if (cJSON_IsString(type) && strcmp(type->valuestring, "Sequence") == 0) {
        if (!cJSON_IsArray(list))
            return error_set(err, "%s: pre_tokenizer.pretokenizers is not an array", path);
        cJSON_ArrayForEach(item, list)
            if (!load_stage(z, &byte_level, item, path, err))
                return false;
    } else if (json && !cJSON_IsNull(json) && !load_stage(z, &byte_level, json, path, err))
        return false;
    return byte_level || error_set(err, "%s: a pre_tokenizer without ByteLevel is not supported",
                                   path);
}

void pre_tokenizer_free(struct pre_tokenizer *z)
{
    for (size_t i = 0; i < z->n; i++)
        pattern_free(z->stages[i].pattern);
    free(z->stages);
    *z = (struct pre_tokenizer){ 0 };
}

/* ---- splitting --------------------------------------------------------- */

bool pre_tokenizer_run_init(struct pre_tokenizer_run *r, const struct pre_tokenizer *z,
                            struct error *err)
{
    *r = (struct pre_tokenizer_run){ .pre_tokenizer = z };
    r->matching = pattern_scratch_new(err);
    return r->matching != NULL;
}

void pre_tokenizer_run_free(struct pre_tokenizer_run *r)
{
    pattern_scratch_free(r->matching);
    buffer_free(&r->subject);
    buffer_free(&r->prefixed_text);
    buffer_free(&r->prefixed_subject);
    *r = (struct pre_tokenizer_run){ 0 };
}

/* A stretch of text, and the text that PCRE2 matches instead (unicode_subject). */
struct span {
    const char *text, *subject;
    size_t n;
};

static bool run_stage(struct pre_tokenizer_run *r, size_t k, struct span span,
                      struct error *err);

/* Passes pieces from one stage to the next; keeps the last one back, since it may still grow. */
struct splitter {
    struct pre_tokenizer_run *run;
    size_t next_stage;
    struct span span;
    enum split_behavior behavior;
    bool kept, last_was_match;
    size_t start, end;              /* of the piece kept back */
};

static bool pass_on(struct splitter *s, struct error *err)
{
    if (!s->kept || s->start == s->end)
        return true;
    return run_stage(s->run, s->next_stage,
                     (struct span){ s->span.text + s->start, s->span.subject + s->start,
                                    s->end - s->start }, err);
}

/* Adds the next stretch: a match, or the text between two. */
static bool add(struct splitter *s, size_t start, size_t end, bool is_match, struct error *err)
{
    bool joins = false;             /* extends the piece kept back */
    switch (s->behavior) {
    case SPLIT_ISOLATED:
        break;
    case SPLIT_REMOVED:
        if (is_match)
            return true;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        joins = is_match && !s->last_was_match;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        joins = !is_match && s->last_was_match;
        break;
    case SPLIT_CONTIGUOUS:
        joins = is_match == s->last_was_match;
        break;
    }
    s->last_was_match = is_match;
    if (joins && s->kept) {
        s->end = end;
        return true;
    }
    if (!pass_on(s, err))
        return false;
    s->kept = true;
    s->start = start;
    s->end = end;
    return true;
}

static bool split(struct pre_tokenizer_run *r, size_t k, struct span span, struct error *err)
{
    const struct pre_tokenizer_stage *stage = &r->pre_tokenizer->stages[k];
    struct splitter s = { .run = r, .next_stage = k + 1, .span = span,
                          .behavior = stage->behavior };
    struct pattern_walk walk = { 0 };
    size_t done = 0;
    while (pattern_next(stage->pattern, r->matching, span.subject, span.n, &walk, err)) {
        if (done != walk.start && !add(&s, done, walk.start, stage->invert, err))
            return false;
        if (!add(&s, walk.start, walk.end, !stage->invert, err))
            return false;
        done = walk.end;
    }
    return walk.finished && (done == span.n || add(&s, done, span.n, stage->invert, err))
        && pass_on(&s, err);
}

static bool run_stage(struct pre_tokenizer_run *r, size_t k, struct span span, struct error *err)
{
    if (k == r->pre_tokenizer->n)
        return r->word(r->user, span.text, span.n, err);
    const struct pre_tokenizer_stage *stage = &r->pre_tokenizer->stages[k];
    if (stage->prefix_space && span.text[0] != ' ') {
        /* Only the last stage adds a space, so nobody else uses these buffers. */
        r->prefixed_text.size = r->prefixed_subject.size = 0;
        if (!buffer_append(&r->prefixed_text, " ", 1, err)
            || !buffer_append(&r->prefixed_text, span.text, span.n, err)
            || !buffer_append(&r->prefixed_subject, " ", 1, err)
            || !buffer_append(&r->prefixed_subject, span.subject, span.n, err))
            return false;
        span = (struct span){ r->prefixed_text.data, r->prefixed_subject.data, span.n + 1 };
    }
    return stage->pattern ? split(r, k, span, err) : run_stage(r, k + 1, span, err);
}

bool pre_tokenizer_split(struct pre_tokenizer_run *r, const char *text, size_t n,
                         struct error *err)
{
    const char *subject;
    return n == 0 || (unicode_subject(&subject, text, n, &r->subject, err)
                      && run_stage(r, 0, (struct span){ text, subject, n }, err));
}
