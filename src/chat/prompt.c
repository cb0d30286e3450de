#include "chat/prompt.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/gguf.h"
#include "chat/messages.h"
#include "chat/template.h"
#include "chat/value_json.h"
#include "tokenizer/gguf_tokenizer.h"

struct prompt_template {
    struct template *template;
    struct workspace w;                 /* of the variables */
    struct value variables;             /* special tokens: bos_token ... */
};

/* ---- templates --------------------------------------------------------------------- */

static bool set(struct value *mapping, const char *key, const struct value *v, struct workspace *w,
                struct error *err)
{
    const struct marked_text name = marked_text_plain(key, strlen(key));
    return value_mapping_set(mapping->of.mapping, &name, v, w, err);
}

/* A token as tokenizer_config.json has it: a string, or an object with its content. */
static bool keep_special_tokens(struct prompt_template *t, const struct value *config,
                                struct error *err)
{
    static const char *const names[] = { "bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct value *v = value_member(config, names[i]);
        if (v && v->kind == VALUE_MAPPING)
            v = value_member(v, "content");
        if (v && v->kind == VALUE_STRING && !set(&t->variables, names[i], v, &t->w, err))
            return false;
    }
    return true;
}

/* The template of tokenizer_config.json: a string, or a list of {name, template} with a default. */
static const struct value *config_template(const struct value *config)
{
    const struct value *v = value_member(config, "chat_template");
    for (size_t i = 0; v && v->kind == VALUE_LIST && i < v->of.list->n; i++) {
        const struct value *name = value_member(&v->of.list->items[i], "name");
        const struct value *text = value_member(&v->of.list->items[i], "template");
        if (name && value_is_string(name, "default") && text)
            v = text;
    }
    return v && v->kind == VALUE_STRING ? v : NULL;
}

bool prompt_config_read(struct value *config, const char *checkpoint, struct workspace *w,
                        struct error *err)
{
    struct buffer text = { 0 };
    bool is_gguf = gguf_recognises(checkpoint);
    char *path = is_gguf ? mem_string(checkpoint, err)
                         : file_join(checkpoint, "tokenizer_config.json", err);
    bool ok = path && value_mapping_make(config, VALUE_MAPPING, w, err);
    if (ok && (is_gguf || file_exists(path)))
        ok = (is_gguf ? gguf_tokenizer_config(&text, path, err) : file_read(&text, path, err))
          && value_json_read(config, text.data ? text.data : "", text.size, path, false, w, err);
    buffer_free(&text);
    free(path);
    return ok;
}

static bool read_template_file(struct prompt_template *t, const char *path, bool input,
                               struct error *err)
{
    struct buffer text = { 0 };
    if (input ? file_read_input(&text, path, err) : file_read(&text, path, err))
        t->template = template_read(text.data ? text.data : "", text.size, path, err);
    buffer_free(&text);
    return t->template != NULL;
}

static bool open_from_folder(struct prompt_template *t, const char *checkpoint, bool has_file,
                             struct error *err)
{
    char *config_path = file_join(checkpoint, "tokenizer_config.json", err);
    char *own_path = file_join(checkpoint, "chat_template.jinja", err);
    struct value config = value_none();
    bool is_gguf = gguf_recognises(checkpoint);
    bool ok = config_path && own_path
           && prompt_config_read(&config, checkpoint, &t->w, err)
           && keep_special_tokens(t, &config, err);
    const struct value *text = ok ? config_template(&config) : NULL;
    if (ok && !has_file && !is_gguf && file_exists(own_path))
        ok = read_template_file(t, own_path, false, err);
    else if (ok && !has_file && text)
        ok = (t->template = template_read(text->of.string.bytes, text->of.string.n, config_path,
                                          err));
    else if (ok && !has_file)
        ok = error_set(err,
                       "%s: no chat template (%s); --chat-template FILE gives one", checkpoint,
                       is_gguf ? "its metadata has no tokenizer.chat_template"
                               : "neither chat_template.jinja nor chat_template in "
                                 "tokenizer_config.json");
    free(config_path);
    free(own_path);
    return ok;
}

struct prompt_template *prompt_template_open(const char *checkpoint, const char *file,
                                             struct error *err)
{
    struct prompt_template *t = mem_array(1, sizeof *t, "a chat template", err);
    if (!t)
        return NULL;
    t->w.bytes_limit = WORKSPACE_BYTES;
    t->w.steps_limit = WORKSPACE_STEPS;
    bool ok = value_mapping_make(&t->variables, VALUE_MAPPING, &t->w, err);
    if (ok && !checkpoint && !file)
        ok =
            error_set(err, "no chat template: neither a checkpoint nor a template's file is given");
    if (ok && checkpoint && !file_is_directory(checkpoint) && !gguf_recognises(checkpoint))
        ok = error_set(err, "%s: not a folder", checkpoint);
    ok = ok && (!file || read_template_file(t, file, true, err))
      && (!checkpoint || open_from_folder(t, checkpoint, file != NULL, err));
    if (ok)
        return t;
    prompt_template_close(t);
    return NULL;
}

void prompt_template_close(struct prompt_template *t)
{
    if (!t)
        return;
    template_free(t->template);
    workspace_free(&t->w);
    free(t);
}

/* ---- variables -------------------------------------------------------------------- */

/* One rendering. */
struct rendering {
    const struct prompt_template *t;
    const struct prompt_request *request;
    struct value body;                  /* what was sent: an object with `messages` */
    struct value messages;              /* as the template gets them */
    struct value variables;
    bool continues, generates;
    struct workspace *w;
    struct error *err;
};

static bool set_variable(struct rendering *r, const char *name, const struct value *v)
{
    return set(&r->variables, name, v, r->w, r->err);
}

/* The messages that follow those of the body. */
static bool add_messages(struct rendering *r)
{
    const struct prompt_request *q = r->request;
    const struct value *given = value_member(&r->body, "messages");
    struct value added, all;
    if (!q->added)
        return true;
    if (!value_json_read(&added, q->added, q->added_bytes, "messages", true, r->w, r->err))
        return false;
    if (given->kind != VALUE_LIST || added.kind != VALUE_LIST)
        return error_set(r->err, "messages: %s, expected a list of messages",
                         value_type(given->kind == VALUE_LIST ? &added : given));
    size_t n_given = given->of.list->n, n_added = added.of.list->n;
    if (!value_list_make(&all, VALUE_LIST, n_given + n_added, r->w, r->err))
        return false;
    for (size_t i = 0; i < n_given; i++)
        all.of.list->items[i] = given->of.list->items[i];
    for (size_t i = 0; i < n_added; i++)
        all.of.list->items[n_given + i] = added.of.list->items[i];
    return set(&r->body, "messages", &all, r->w, r->err);
}

/* A list becomes an object with the list as its messages. */
static bool read_messages(struct rendering *r)
{
    const struct prompt_request *q = r->request;
    struct value read;
    if (!value_json_read(&read, q->messages, q->messages_bytes, "messages", true, r->w, r->err))
        return false;
    r->body = read;
    if (read.kind == VALUE_MAPPING && value_member(&read, "messages"))
        return true;
    if (read.kind != VALUE_LIST)
        return error_set(r->err, "messages: %s, expected a list of messages or an object with them",
                         value_type(&read));
    return value_mapping_make(&r->body, VALUE_MAPPING, r->w, r->err)
        && set(&r->body, "messages", &read, r->w, r->err);
}

static bool read_body(struct rendering *r)
{
    return read_messages(r) && add_messages(r);
}

/* A member of the body that must be true or false; `otherwise` if it is not there or null. */
static bool read_flag(struct rendering *r, bool *flag, const char *name, bool otherwise)
{
    const struct value *v = value_member(&r->body, name);
    *flag = otherwise;
    if (!v || v->kind == VALUE_NONE)
        return true;
    if (v->kind != VALUE_BOOLEAN)
        return error_set(r->err, "%s is %s, expected true or false", name, value_type(v));
    *flag = v->of.boolean;
    return true;
}

static bool read_flags(struct rendering *r)
{
    bool continues, generates;
    if (!read_flag(r, &continues, "continue_final_message", false)
        || !read_flag(r, &generates, "add_generation_prompt", !continues))
        return false;
    r->continues = continues || r->request->continue_final_message;
    r->generates = generates && !r->request->no_generation_prompt
                && !r->request->continue_final_message;
    return !(r->continues && r->generates)
        || error_set(r->err, "continue_final_message and add_generation_prompt exclude each other");
}

/* Names in `from` become variables; those that the request itself sets are refused. */
static bool add_kwargs(struct rendering *r, const struct value *from)
{
    static const char *const own[] = { "messages", "tools", "add_generation_prompt" };
    if (from->kind == VALUE_NONE)
        return true;
    if (from->kind != VALUE_MAPPING)
        return error_set(r->err, "chat_template_kwargs: %s, expected an object", value_type(from));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (value_member(from, own[i]))
            return error_set(r->err, "chat_template_kwargs: '%s' is set by the request itself",
                             own[i]);
    for (size_t i = 0; i < from->of.mapping->n; i++) {
        const struct value_entry *e = &from->of.mapping->entries[i];
        if (!value_mapping_set(r->variables.of.mapping, &e->key, &e->value, r->w, r->err))
            return false;
    }
    return true;
}

static bool add_thinking(struct rendering *r)
{
    const struct value *effort = value_member(&r->body, "reasoning_effort");
    struct value thinks;
    if (effort && effort->kind == VALUE_STRING) {
        thinks = value_boolean(!value_is_string(effort, "none"));
        if (!set_variable(r, "reasoning_effort", effort)
            || !set_variable(r, "enable_thinking", &thinks))
            return false;
    }
    return true;
}

static bool add_tools(struct rendering *r)
{
    const struct prompt_request *q = r->request;
    const struct value *sent = value_member(&r->body, "tools");
    struct value given = sent ? *sent : value_none(), tools;
    if (sent && q->tools)
        return error_set(r->err, "tools are given twice: with the messages and by themselves");
    if (q->tools && !value_json_read(&given, q->tools, q->tools_bytes, "tools", true, r->w, r->err))
        return false;
    return messages_normalize_tools(&tools, &given, r->w, r->err)
        && set_variable(r, "tools", &tools);
}

/* Variables in the order of who wins: those of the checkpoint first, the caller's last. */
static bool collect_variables(struct rendering *r)
{
    const struct prompt_request *q = r->request;
    const struct messages_rules rules = { q->merge_system_messages,
                                          template_reads_parts(r->t->template) };
    const struct value_mapping *special = r->t->variables.of.mapping;
    const struct value none = value_none();
    const struct value *documents = value_member(&r->body, "documents");
    const struct value *kwargs = value_member(&r->body, "chat_template_kwargs");
    struct value given = none, defaults = none;
    if (!value_mapping_make(&r->variables, VALUE_MAPPING, r->w, r->err))
        return false;
    for (size_t i = 0; i < special->n; i++)
        if (!value_mapping_set(r->variables.of.mapping, &special->entries[i].key,
                               &special->entries[i].value, r->w, r->err))
            return false;
    if (q->kwargs
        && !value_json_read(&given, q->kwargs, q->kwargs_bytes, "chat_template_kwargs", true, r->w,
                            r->err))
        return false;
    if (q->defaults
        && !value_json_read(&defaults, q->defaults, q->defaults_bytes, "chat_template_kwargs", true,
                            r->w, r->err))
        return false;
    const struct value generates = value_boolean(r->generates);
    const struct value thinks = value_boolean(q->thinking == PROMPT_THINKING_ON);
    return add_kwargs(r, &defaults)
        && set_variable(r, "documents", documents ? documents : &none) && add_thinking(r)
        && add_kwargs(r, kwargs ? kwargs : &none) && add_kwargs(r, &given)
        && (q->thinking == PROMPT_THINKING_DEFAULT || set_variable(r, "enable_thinking", &thinks))
        && add_tools(r)
        && messages_normalize(&r->messages, value_member(&r->body, "messages"), &rules, r->w,
                              r->err)
        && set_variable(r, "messages", &r->messages)
        && set_variable(r, "add_generation_prompt", &generates);
}

/* ---- the prompt ------------------------------------------------------------------- */

/* The last message's text, which the prompt is to end with. */
static const struct marked_text *final_text(const struct rendering *r)
{
    const struct value_list *list = r->messages.of.list;
    const struct value *content = value_member(&list->items[list->n - 1], "content");
    if (content && content->kind == VALUE_LIST && content->of.list->n)
        content = value_member(&content->of.list->items[content->of.list->n - 1], "text");
    return content && content->kind == VALUE_STRING ? &content->of.string : NULL;
}

/* Cuts the prompt behind the last message's text, with the white space that the template left
 * (transformers, utils/chat_template_utils.py). */
static bool cut_behind_final(struct marked_text_builder *out, size_t begin, struct rendering *r)
{
    const struct marked_text *text = final_text(r);
    const struct marked_text prompt = marked_text_plain(out->bytes.data, out->bytes.size);
    if (!text)
        return error_set(r->err, "continue_final_message: the last message has no text");
    const struct marked_text bare = marked_text_strip(text, NULL, true, true);
    const struct marked_text tail = marked_text_strip(text, NULL, true, false);
    if (bare.n == 0)
        return error_set(r->err, "continue_final_message: the last message's text is empty");
    size_t found = prompt.n + 1;
    for (size_t at = begin; (at = marked_text_find(&prompt, &bare, at)) <= prompt.n; at++)
        found = at;
    if (found > prompt.n)
        return error_set(r->err, "continue_final_message: the template changes the last message's "
                         "text");
    bool whole = prompt.n - found >= tail.n
              && memcmp(prompt.bytes + found, tail.bytes, tail.n) == 0;
    out->bytes.size = out->marks.size = found + (whole ? tail.n : bare.n);
    out->bytes.data[out->bytes.size] = '\0';
    return true;
}

bool prompt_make(struct marked_text_builder *out, const struct prompt_template *t,
                 const struct prompt_request *request, struct error *err)
{
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct rendering r = { .t = t, .request = request, .w = &w, .err = err };
    size_t begin = out->bytes.size;
    bool ok = read_body(&r) && read_flags(&r) && collect_variables(&r)
           && template_render(out, t->template, r.variables.of.mapping, time(NULL), &w, err)
           && (!r.continues || cut_behind_final(out, begin, &r));
    workspace_free(&w);
    return ok;
}

bool prompt_encode(int32_t **ids, size_t *n_ids, const struct marked_text_builder *prompt,
                   bool plain, const struct tokenizer *t, struct error *err)
{
    const char *text = prompt->bytes.data ? prompt->bytes.data : "";
    const uint8_t *marks = plain ? (const uint8_t *)prompt->marks.data : NULL;
    return tokenizer_encode_plain(t, text, marks, prompt->bytes.size, ids, n_ids, err);
}
