#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/gguf_tokenizer.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"

struct tokenizer {
    char *path;
    char sha256[2 * DIGEST_BYTES + 1];
    struct bpe bpe;
    struct normalizer normalizer;
    struct pre_tokenizer pre_tokenizer;
    struct added_tokens added;
    bool byte_level_decoder;        /* false: tokens are joined by spaces */
    bool is_gguf;                   /* made of a GGUF's metadata */
};

/* ---- opening ----------------------------------------------------------- */

/* Refuses unknown versions, and settings that change the ids. */
static bool refuse_unsupported(const cJSON *root, const char *path, struct error *err)
{
    const cJSON *version = json_get(root, "version");
    if (version && !(cJSON_IsString(version) && strcmp(version->valuestring, "1.0") == 0))
        return error_set(err, "%s: version is not \"1.0\"", path);
    if (json_get_value(root, "truncation"))
        return error_set(err, "%s: truncation is not supported", path);
    if (json_get_value(root, "padding"))
        return error_set(err, "%s: padding is not supported", path);
    return true;
}

/* Post-processors add special tokens, but only on request, and adjust offsets; we do neither, so
 * only the name is checked. */
static bool check_post_processor(const cJSON *json, const char *path, struct error *err)
{
    static const char *const known[] = { "ByteLevel", "TemplateProcessing", "BertProcessing",
                                         "RobertaProcessing", "Sequence" };
    if (!json)
        return true;
    const cJSON *type = json_get(json, "type");
    if (!cJSON_IsString(type))
        return error_set(err, "%s: post_processor has no type", path);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(type->valuestring, known[i]) == 0)
            return true;
    return error_set(err, "%s: post_processor '%s' is not supported", path, type->valuestring);
}

static bool load_decoder(struct tokenizer *t, const cJSON *json, const char *path,
                         struct error *err)
{
    t->byte_level_decoder = json != NULL;
    if (!json)
        return true;
    const cJSON *type = json_get(json, "type"), *list = json_get(json, "decoders");
    if (cJSON_IsString(type) && strcmp(type->valuestring, "Sequence") == 0
        && cJSON_GetArraySize(list) == 1)
        type = json_get(list->child, "type");
    if (!cJSON_IsString(type))
        return error_set(err, "%s: decoder has no type", path);
    return strcmp(type->valuestring, "ByteLevel") == 0
        || error_set(err, "%s: decoder '%s' is not supported", path, type->valuestring);
}

static bool load(struct tokenizer *t, const cJSON *root, const char *path, struct error *err)
{
    if (!cJSON_IsObject(root))
        return error_set(err, "%s: not a JSON object", path);
    return json_unique_keys(root, path, err) && refuse_unsupported(root, path, err)
        && bpe_load(&t->bpe, json_get(root, "model"), path, err)
        && normalizer_load(&t->normalizer, json_get(root, "normalizer"), path, err)
        && pre_tokenizer_load(&t->pre_tokenizer, json_get(root, "pre_tokenizer"), path, err)
        && check_post_processor(json_get_value(root, "post_processor"), path, err)
        && load_decoder(t, json_get_value(root, "decoder"), path, err)
        && added_tokens_load(&t->added, json_get(root, "added_tokens"), &t->bpe.vocabulary,
                             &t->normalizer, path, err);
}

static char *find_path(const char *path, struct error *err)
{
    if (gguf_recognises(path))
        return gguf_find_file(path, err);
    return file_is_directory(path) ? file_join(path, "tokenizer.json", err) : mem_string(path, err);
}

static bool read_text(struct buffer *text, struct tokenizer *t, struct error *err)
{
    struct gguf g;
    t->is_gguf = gguf_recognises(t->path);
    if (!t->is_gguf)
        return file_read(text, t->path, err);
    bool is_open = gguf_open(&g, t->path, err), ok = is_open && gguf_tokenizer_text(text, &g, err);
    if (is_open)
        gguf_close(&g);
    return ok;
}

struct tokenizer *tokenizer_open(const char *path, struct error *err)
{
    struct tokenizer *t = mem_array(1, sizeof *t, "tokenizer", err);
    if (!t)
        return NULL;
    struct buffer text = { 0 };
    struct digest digest;
    cJSON *root = NULL;
    t->path = find_path(path, err);
    bool ok = t->path && read_text(&text, t, err)
           && digest_of(&digest, text.data, text.size, err)
           && (root = json_parse(text.data, text.size, t->path, err));
    buffer_free(&text);
    ok = ok && load(t, root, t->path, err);
    cJSON_Delete(root);
    if (!ok) {
        tokenizer_close(t);
        return NULL;
    }
    digest_hex(t->sha256, &digest);
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    added_tokens_free(&t->added);
    pre_tokenizer_free(&t->pre_tokenizer);
    normalizer_free(&t->normalizer);
    bpe_free(&t->bpe);
    free(t->path);
    free(t);
}

const char *tokenizer_path(const struct tokenizer *t)
{
    return t->path;
}

const char *tokenizer_sha256(const struct tokenizer *t)
{
    return t->sha256;
}

const char *tokenizer_note(const struct tokenizer *t)
{
    return t->is_gguf ? "texts are split as llama.cpp's '" GGUF_TOKENIZER_PRE "' does, by "
                        GGUF_TOKENIZER_PATTERN ", without NFC: a GGUF does not say what the model's"
                        " tokenizer.json does"
                      : NULL;
}

size_t tokenizer_vocab_size(const struct tokenizer *t)
{
    const struct vocabulary *v = &t->bpe.vocabulary;
    int32_t largest = v->tokens[v->n - 1].id;
    if (t->added.n && t->added.tokens[t->added.n - 1].id > largest)
        largest = t->added.tokens[t->added.n - 1].id;
    return (size_t)largest + 1;
}

int32_t tokenizer_token_id(const struct tokenizer *t, const char *content)
{
    const struct added_token *added = added_tokens_by_content(&t->added, content);
    return added ? added->id : vocabulary_find(&t->bpe.vocabulary, content, strlen(content));
}

/* ---- encoding ---------------------------------------------------------- */

struct encoding {
    const struct tokenizer *tokenizer;
    struct normalizer_scratch normalizing;
    struct pre_tokenizer_run splitting;
    struct bpe_scratch merging;
    struct id_list ids;
};

static bool consume_word(void *user, const char *word, size_t n, struct error *err)
{
    struct encoding *e = user;
    return bpe_encode_word(&e->tokenizer->bpe, &e->merging, word, n, &e->ids, err);
}

static bool consume_token(void *user, int32_t id, struct error *err)
{
    struct encoding *e = user;
    return bpe_append_ids(&e->ids, &id, 1, err);
}

static bool consume_normalized_text(void *user, const char *text, size_t n, struct error *err)
{
    struct encoding *e = user;
    return pre_tokenizer_split(&e->splitting, text, n, err);
}

static bool consume_raw_text(void *user, const char *text, size_t n, struct error *err)
{
    struct encoding *e = user;
    const struct tokenizer *t = e->tokenizer;
    const struct added_tokens_sink sink = { consume_normalized_text, consume_token, e,
                                            e->splitting.matching, NULL };
    return normalizer_run(&t->normalizer, &e->normalizing, &text, &n, err)
        && added_tokens_split(&t->added, &t->added.normalized, text, n, &sink, err);
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, int32_t **ids,
                      size_t *n_ids, struct error *err)
{
    return tokenizer_encode_plain(t, text, NULL, n, ids, n_ids, err);
}

bool tokenizer_encode_plain(const struct tokenizer *t, const char *text, const uint8_t *plain,
                            size_t n, int32_t **ids, size_t *n_ids, struct error *err)
{
    size_t bad;
    if (plain && t->added.normalized.n)
        return error_set(err, "%s: added token '%s' is sought in normalized text, where text that "
                         "must stay plain cannot be told apart", t->path,
                         t->added.normalized.tokens[0]->content);
    if (!utf8_valid(text, n, &bad))
        return error_set(err, "invalid UTF-8 at byte %zu", bad);
    struct encoding e = { .tokenizer = t };
    bool ok = pre_tokenizer_run_init(&e.splitting, &t->pre_tokenizer, err)
           && bpe_scratch_init(&e.merging, n, err);
    e.splitting.word = consume_word;
    e.splitting.user = &e;
    const struct added_tokens_sink sink = { consume_raw_text, consume_token, &e,
                                            e.splitting.matching, plain };
    ok = ok && added_tokens_split(&t->added, &t->added.raw, text, n, &sink, err);
    normalizer_scratch_free(&e.normalizing);
    pre_tokenizer_run_free(&e.splitting);
    bpe_scratch_free(&e.merging);
    if (!ok) {
        free(e.ids.ids);
        return false;
    }
    *ids = e.ids.ids;
    *n_ids = e.ids.n;
    return true;
}

/* ---- decoding ---------------------------------------------------------- */

/* The content of an id as decoders see it, NULL if none. */
static const char *content_of(const struct tokenizer *t, int32_t id, size_t *n)
{
    const struct added_token *added = added_tokens_by_id(&t->added, id);
    if (!added)
        return vocabulary_content(&t->bpe.vocabulary, id, n);
    *n = added->length;
    return added->searched;
}

bool tokenizer_token_bytes(const struct tokenizer *t, int32_t id, bool is_first, struct buffer *b,
                           struct error *err)
{
    size_t n;
    const char *content = content_of(t, id, &n);
    if (!content)
        return error_set(err, "%s: no token has id %d", t->path, (int)id);
    if (t->byte_level_decoder)
        return byte_level_decode(b, content, n, err);
    return (is_first || buffer_append(b, " ", 1, err)) && buffer_append(b, content, n, err);
}

bool tokenizer_has_token(const struct tokenizer *t, int32_t id)
{
    size_t n;
    return content_of(t, id, &n) != NULL;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    const struct added_token *added = added_tokens_by_id(&t->added, id);
    return added && added->special;
}

bool tokenizer_is_added(const struct tokenizer *t, int32_t id)
{
    return added_tokens_by_id(&t->added, id) != NULL;
}

bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids,
                      struct buffer *b, struct error *err)
{
    struct buffer bytes = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < n_ids; i++)
        ok = tokenizer_token_bytes(t, ids[i], i == 0, &bytes, err);
    ok = ok && byte_level_append_lossy(b, bytes.data, bytes.size, err);
    buffer_free(&bytes);
    return ok;
}

bool tokenizer_append_bytes(const struct tokenizer *t, int32_t id, struct buffer *b,
                            struct error *err)
{
    size_t n;
    const char *content = content_of(t, id, &n);
    if (!content)
        return error_set(err, "%s: no token has id %d", t->path, id);
    return t->byte_level_decoder ? byte_level_decode(b, content, n, err)
                                 : buffer_append(b, content, n, err);
}
