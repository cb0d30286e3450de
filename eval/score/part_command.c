#include "eval/score/part_command.h"

#include <string.h>

/* Appends " WORD", quoted where a shell needs it. */
static bool append_word(struct buffer *out, const char *word, struct error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+./:,=@%";
    if (*word && strspn(word, plain) == strlen(word))
        return buffer_printf(out, err, " %s", word);
    bool ok = buffer_printf(out, err, " '");
    for (const char *s = word; ok && *s; s++)
        ok = *s == '\'' ? buffer_printf(out, err, "'\\''") : buffer_append(out, s, 1, err);
    return ok && buffer_printf(out, err, "'");
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(json_get(object, key));
    return text ? text : "";
}

static bool append_number(struct buffer *out, const char *option, const cJSON *item,
                          struct error *err)
{
    size_t n;
    return !json_to_size(item, &n) || buffer_printf(out, err, " --%s %zu", option, n);
}

/* "strided-2048-512" is the plan strided:2048:512. */
static bool append_plans(struct buffer *out, const char *const *plans, struct error *err)
{
    bool ok = true;
    for (; ok && *plans; plans++) {
        ok = buffer_printf(out, err, " --plan ");
        for (const char *s = *plans; ok && *s; s++)
            ok = buffer_printf(out, err, "%c", *s == '-' ? ':' : *s);
    }
    return ok;
}

static bool append_protocol(struct buffer *out, const cJSON *s, struct error *err)
{
    const cJSON *split = json_get(json_get_value(s, "documents"), "split");
    const char *protocol = text_of(s, "protocol");
    bool ok = split ? buffer_printf(out, err, " --task %s", split->valuestring)
                    : buffer_printf(out, err, " --protocol %s", protocol);
    return ok && append_number(out, "context", json_get(s, "context"), err)
        && (strcmp(protocol, "strided") != 0
            || append_number(out, "stride", json_get(s, "stride"), err));
}

static bool append_input(struct buffer *out, const cJSON *s, struct error *err)
{
    const cJSON *text = json_get(s, "text");
    bool is_text = json_get_value(text, "join") != NULL;
    return buffer_printf(out, err, " --%s", is_text ? "text" : "ids")
        && append_word(out, text_of(text, "path"), err)
        && (strcmp(text_of(text, "join"), "hf") != 0 || buffer_printf(out, err, " --join hf"))
        && append_number(out, "max-documents", json_get(json_get_value(s, "documents"), "count"),
                         err);
}

bool part_command_append(struct buffer *out, const cJSON *s, const char *const *plans,
                         size_t index, struct error *err)
{
    const char *hidden = text_of(s, "hidden");
    size_t of = 0;
    json_to_size(json_get(json_get(s, "part"), "of"), &of);
    return buffer_printf(out, err, "surprisal eval")
        && append_word(out, text_of(json_get(s, "checkpoint"), "path"), err)
        && append_input(out, s, err)
        && (plans ? append_plans(out, plans, err) : append_protocol(out, s, err))
        && append_number(out, "max-windows", json_get(s, "max_windows"), err)
        && (strcmp(text_of(s, "prefix_source"), "as given") != 0
            || append_number(out, "prefix-id", json_get(s, "prefix_id"), err))
        && (strcmp(text_of(s, "compute"), "bf16") != 0
            || buffer_printf(out, err, " --compute bf16"))
        && (!*hidden || buffer_printf(out, err, " --hidden=%s", hidden))
        && (!json_get_value(s, "left_out") || buffer_printf(out, err, " --skip-nonfinite"))
        && buffer_printf(out, err, " --isa %s --part %zu/%zu --out DIR", text_of(s, "isa"), index,
                         of);
}
