#include "tokenizer/gguf_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

/* tokenizer.ggml.token_type (llama.h, enum llama_token_type). */
enum kind { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED };

struct writer {
    struct buffer *out;
    const struct gguf *g;
    const struct gguf_entry *tokens, *kinds, *merges;
    struct error *err;
};

static bool put(const struct writer *w, const char *text)
{
    return buffer_append(w->out, text, strlen(text), w->err);
}

static bool refuse(const struct writer *w, const char *key, const char *expected)
{
    return error_set(w->err, "%s: tokenizer.ggml.%s is %s: the model's own tokenizer.json can be"
                     " given instead", w->g->map.path, key, expected);
}

static bool put_text(const struct writer *w, struct gguf_text text, const char *key)
{
    size_t bad;
    if (!utf8_valid(text.bytes, text.n, &bad))
        return refuse(w, key, "not all UTF-8");
    return json_append_string(w->out, text.bytes, text.n, w->err);
}

/* ---- metadata --------------------------------------------------------------------- */

static bool has_word(const struct writer *w, const char *key, const char *word)
{
    const struct gguf_entry *e = gguf_find(w->g, key);
    struct gguf_text text;
    return e && gguf_text(&text, e) && gguf_text_is(text, word);
}

static bool find_lists(struct writer *w)
{
    if (!has_word(w, "tokenizer.ggml.model", "gpt2"))
        return refuse(w, "model", "not 'gpt2', the only one that is supported");
    if (!has_word(w, "tokenizer.ggml.pre", GGUF_TOKENIZER_PRE))
        return refuse(w, "pre", "not '" GGUF_TOKENIZER_PRE "', the only one that is known here");
    w->tokens = gguf_find(w->g, "tokenizer.ggml.tokens");
    w->kinds = gguf_find(w->g, "tokenizer.ggml.token_type");
    w->merges = gguf_find(w->g, "tokenizer.ggml.merges");
    if (!w->tokens || !w->tokens->is_array || w->tokens->type != GGUF_STRING || !w->tokens->n)
        return refuse(w, "tokens", "no list of texts");
    if (!w->kinds || !w->kinds->is_array || w->kinds->n != w->tokens->n)
        return refuse(w, "token_type", "no list of a number for each token");
    if (!w->merges || !w->merges->is_array || w->merges->type != GGUF_STRING)
        return refuse(w, "merges", "no list of texts");
    return true;
}

/* ---- lists ------------------------------------------------------------------------ */

static bool put_added(const struct writer *w, size_t id, struct gguf_text text, bool is_special,
                      bool is_first)
{
    return buffer_printf(w->out, w->err, "%s{\"id\":%zu,\"content\":", is_first ? "" : ",\n", id)
        && put_text(w, text, "tokens")
        && buffer_printf(w->out, w->err, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                         "\"normalized\":false,\"special\":%s}", is_special ? "true" : "false");
}

static bool put_normal(const struct writer *w, size_t id, struct gguf_text text, bool is_first)
{
    return put(w, is_first ? "" : ",\n") && put_text(w, text, "tokens")
        && buffer_printf(w->out, w->err, ":%zu", id);
}

/* Those that are added, or the others. */
static bool put_tokens(const struct writer *w, bool added)
{
    const uint8_t *at = w->tokens->data;
    bool is_first = true;
    for (size_t i = 0; i < w->tokens->n; i++) {
        struct gguf_text text = gguf_next_text(&at);
        size_t kind;
        if (!gguf_size(&kind, w->kinds, i) || kind < NORMAL || kind > UNUSED)
            return refuse(w, "token_type", "not 1 to 5 for all tokens");
        bool is_added = kind == CONTROL || kind == USER_DEFINED;
        if (kind == UNUSED || is_added != added)
            continue;
        if (!(added ? put_added(w, i, text, kind == CONTROL, is_first)
                    : put_normal(w, i, text, is_first)))
            return false;
        is_first = false;
    }
    return true;
}

static bool put_merges(const struct writer *w)
{
    const uint8_t *at = w->merges->data;
    for (size_t i = 0; i < w->merges->n; i++)
        if (!put(w, i ? ",\n" : "") || !put_text(w, gguf_next_text(&at), "merges"))
            return false;
    return true;
}

bool gguf_tokenizer_text(struct buffer *out, const struct gguf *g, struct error *err)
{
    struct writer w = { .out = out, .g = g, .err = err };
    return find_lists(&w) && put(&w, "{\"version\":\"1.0\",\"added_tokens\":[")
        && put_tokens(&w, true)
        && put(&w, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\","
                   "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":")
        && json_append_string(out, GGUF_TOKENIZER_PATTERN, strlen(GGUF_TOKENIZER_PATTERN), err)
        && put(&w, "},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
                   "\"add_prefix_space\":false,\"use_regex\":false}]},"
                   "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{")
        && put_tokens(&w, false) && put(&w, "},\"merges\":[") && put_merges(&w)
        && put(&w, "]}}\n");
}

/* ---- tokenizer_config.json -------------------------------------------------------- */

static bool put_member(const struct writer *w, const char *key, struct gguf_text text)
{
    return buffer_printf(w->out, w->err, "%s\"%s\":", w->out->size > 1 ? "," : "", key)
        && put_text(w, text, key);
}

/* The text of a token whose id is in the metadata. */
static bool put_special(const struct writer *w, const char *their_key, const char *key)
{
    const struct gguf_entry *e = gguf_find(w->g, their_key);
    const uint8_t *at = w->tokens->data;
    struct gguf_text text = { 0 };
    size_t id;
    if (!e)
        return true;
    if (e->is_array || !gguf_size(&id, e, 0) || id >= w->tokens->n)
        return refuse(w, their_key + strlen("tokenizer.ggml."), "no id of a token");
    for (size_t i = 0; i <= id; i++)
        text = gguf_next_text(&at);
    return put_member(w, key, text);
}

static bool put_config(struct writer *w)
{
    const struct gguf_entry *template = gguf_find(w->g, "tokenizer.chat_template");
    struct gguf_text text;
    w->tokens = gguf_find(w->g, "tokenizer.ggml.tokens");
    bool has_tokens = w->tokens && w->tokens->is_array && w->tokens->type == GGUF_STRING;
    if (template && !gguf_text(&text, template))
        return error_set(w->err, "%s: tokenizer.chat_template is no text", w->g->map.path);
    return put(w, "{") && (!template || put_member(w, "chat_template", text))
        && (!has_tokens
            || (put_special(w, "tokenizer.ggml.bos_token_id", "bos_token")
                && put_special(w, "tokenizer.ggml.eos_token_id", "eos_token")
                && put_special(w, "tokenizer.ggml.padding_token_id", "pad_token")))
        && put(w, "}");
}

bool gguf_tokenizer_config(struct buffer *out, const char *path, struct error *err)
{
    struct gguf g;
    struct writer w = { .out = out, .g = &g, .err = err };
    char *file = gguf_find_file(path, err);
    bool is_open = file && gguf_open(&g, file, err), ok = is_open && put_config(&w);
    if (is_open)
        gguf_close(&g);
    free(file);
    return ok;
}
