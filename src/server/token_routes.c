#include "server/token_routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/gguf.h"
#include "chat/value_json.h"
#include "server/request_body.h"

/* ---- /tokenize -------------------------------------------------------------------------- */

/* The prompt, or the conversation, as ids: given. */
static bool read_ids(struct exchange *x, const struct value *body, struct workspace *w,
                     int32_t **ids, size_t *n)
{
    struct server *s = x->server;
    struct problem *p = &x->problem;
    const struct fields f = { body, w, p };
    const struct value *prompt = fields_get(&f, "prompt");
    const struct chat_body chat = { body, x->body.data, x->body.size };
    bool ignored;
    if (!fields_flag(&f, "add_special_tokens", &ignored))
        return false;
    if (!prompt && fields_get(&f, "messages"))
        return chat_prompt(ids, n, NULL, &chat, &s->chat, s->rules.tokenizer, p);
    if (!prompt || prompt->kind != VALUE_STRING)
        return problem_set(p, 400, "prompt", "prompt is %s, expected a string, or messages",
                           prompt ? value_type(prompt) : "missing");
    return tokenizer_encode(s->rules.tokenizer, prompt->of.string.bytes, prompt->of.string.n, ids,
                            n, &p->err)
        || problem_say(p, 400, "prompt");
}

static bool tokenize(struct exchange *x, struct workspace *w)
{
    struct value body;
    const char *model;
    const struct fields f = { &body, w, &x->problem };
    const struct logprobs_names names = { x->server->rules.tokenizer, false, 0 };
    struct writer out = { &x->answer, true, &x->problem.err };
    int32_t *ids = NULL;
    size_t n = 0;
    bool texts = false;
    if (!request_body_read(x, &body, &model, w)
        || !fields_flag(&f, "return_token_strs", &texts) || !read_ids(x, &body, w, &ids, &n))
        return false;
    writer_print(&out, "{\"count\":%zu,\"max_model_len\":%zu,\"tokens\":", n, x->server->context);
    writer_ids(&out, ids, n);
    writer_print(&out, ",\"token_strs\":%s", texts ? "[" : "null");
    for (size_t i = 0; texts && i < n; i++) {
        writer_print(&out, i ? "," : "");
        logprobs_write_token(&out, &names, ids[i]);
    }
    writer_print(&out, texts ? "]}" : "}");
    free(ids);
    return out.ok || problem_say(&x->problem, 500, NULL);
}

static bool detokenize(struct exchange *x, struct workspace *w)
{
    struct value body;
    const char *model;
    const struct fields f = { &body, w, &x->problem };
    struct writer out = { &x->answer, true, &x->problem.err };
    struct buffer text = { 0 };
    const int32_t *ids = NULL;
    size_t n;
    if (!request_body_read(x, &body, &model, w)
        || !fields_ids(&f, "tokens", x->server->host.vocab_size, &ids, &n))
        return false;
    if (!ids)
        return problem_set(&x->problem, 400, "tokens", "tokens is missing");
    bool ok = tokenizer_decode(x->server->rules.tokenizer, ids, n, &text, &x->problem.err);
    writer_print(&out, "{\"prompt\":");
    if (ok)
        writer_buffer(&out, &text);
    writer_print(&out, "}");
    buffer_free(&text);
    return (ok && out.ok) || problem_say(&x->problem, 400, "tokens");
}

static void with_workspace(struct exchange *x, bool (*run)(struct exchange *, struct workspace *))
{
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    run(x, &w);
    workspace_free(&w);
}

void token_routes_tokenize(struct exchange *x)
{
    with_workspace(x, tokenize);
}

void token_routes_detokenize(struct exchange *x)
{
    with_workspace(x, detokenize);
}

/* ---- /tokenizer_info ----------------------------------------------------------------------- */

void token_routes_info(struct exchange *x)
{
    const struct buffer *info = &x->server->tokenizer_info;
    if (!buffer_append(&x->answer, info->data, info->size, &x->problem.err))
        problem_say(&x->problem, 500, NULL);
}

static bool set_text(struct value *mapping, const char *key, const char *text, size_t n,
                     struct workspace *w, struct error *err)
{
    const struct marked_text name = marked_text_plain(key, strlen(key));
    const char *copy = workspace_copy(w, text, n, err);
    const struct value v = value_string(marked_text_plain(copy, n));
    return copy && value_mapping_set(mapping->of.mapping, &name, &v, w, err);
}

static bool read_config(struct value *config, const char *checkpoint, struct workspace *w,
                        struct error *err)
{
    return prompt_config_read(config, checkpoint, w, err)
        && (config->kind == VALUE_MAPPING
            || error_set(err, "tokenizer_config.json: %s, expected an object",
                         value_type(config)));
}

static int32_t find_end(const struct value *config, const struct tokenizer *t)
{
    const struct value *v = value_member(config, "eos_token");
    char text[256];
    if (v && v->kind == VALUE_MAPPING)
        v = value_member(v, "content");
    if (!v || v->kind != VALUE_STRING || v->of.string.n >= sizeof text)
        return -1;
    memcpy(text, v->of.string.bytes, v->of.string.n);
    text[v->of.string.n] = '\0';
    return tokenizer_token_id(t, text);
}

/* The file that goes before the template that the config has: a GGUF has none of its own. */
static bool add_template(struct value *config, const struct server *s, const char *checkpoint,
                         struct workspace *w, struct error *err)
{
    struct buffer text = { 0 };
    const char *chosen = s->o->chat_template;
    if (!chosen && gguf_recognises(checkpoint))
        return true;
    char *path = chosen ? mem_string(chosen, err)
                        : file_join(checkpoint, "chat_template.jinja", err);
    bool ok = path && (!file_exists(path) || file_read(&text, path, err));
    if (ok && text.size)
        ok = set_text(config, "chat_template", text.data, text.size, w, err);
    buffer_free(&text);
    free(path);
    return ok;
}

bool token_routes_make_info(struct buffer *json, int32_t *end_id, const struct server *s,
                            struct error *err)
{
    static const char usual[] = "PreTrainedTokenizerFast";
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct marked_text_builder b = { .limit = WORKSPACE_BYTES };
    struct value config;
    const char *folder = s->g.model.checkpoint->folder;
    bool ok = read_config(&config, folder, &w, err)
           && (value_member(&config, "tokenizer_class")
               || set_text(&config, "tokenizer_class", usual, strlen(usual), &w, err))
           && add_template(&config, s, folder, &w, err)
           && value_json_write(&b, &config, -1, &w, err)
           && buffer_append(json, b.bytes.data, b.bytes.size, err);
    if (ok)
        *end_id = find_end(&config, s->rules.tokenizer);
    marked_text_builder_free(&b);
    workspace_free(&w);
    return ok;
}
