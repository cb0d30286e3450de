#include "eval/score/inspect.h"

#include <stdio.h>
#include <string.h>

#include "base/format.h"

#define NUMBER_BYTES 48

/* A member as text: exact digits of whole numbers, which the inspection holds as raw JSON. */
static const char *member_text(char text[NUMBER_BYTES], const cJSON *item)
{
    if (cJSON_IsRaw(item) || cJSON_IsString(item))
        return item->valuestring;
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item) ? "true" : "false";
    if (!cJSON_IsNumber(item))
        return "?";
    format_text(text, NUMBER_BYTES, "%.15g", item->valuedouble);
    return text;
}

/* A whole number with commas. */
static const char *grouped(char text[NUMBER_BYTES], const cJSON *object, const char *key)
{
    char buffer[NUMBER_BYTES];
    const char *digits = member_text(buffer, json_get(object, key));
    size_t n = strlen(digits), to = 0;
    for (size_t i = 0; i < n && to + 2 < NUMBER_BYTES; i++) {
        if (i && (n - i) % 3 == 0)
            text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

/* In units of 1024 bytes, or of 1000 operations. */
static const char *scaled(char text[NUMBER_BYTES], double value, bool is_bytes)
{
    static const char prefixes[] = "KMGTPE";
    double base = is_bytes ? 1024 : 1000;
    size_t i = 0;
    for (; value >= base && i < strlen(prefixes); i++)
        value /= base;
    if (i == 0)
        format_text(text, NUMBER_BYTES, "%.0f %s", value, is_bytes ? "B" : "FLOP");
    else
        format_text(text, NUMBER_BYTES, "%.2f %c%s", value, prefixes[i - 1],
                    is_bytes ? "iB" : "FLOP");
    return text;
}

static bool add_row(struct buffer *out, const char *label, const char *value, struct error *err)
{
    return buffer_printf(out, err, "%-34s %24s\n", label, value);
}

static bool add_count(struct buffer *out, const cJSON *object, const char *key, struct error *err)
{
    char text[NUMBER_BYTES];
    return add_row(out, key, grouped(text, object, key), err);
}

static bool add_cost(struct buffer *out, const cJSON *cost, struct error *err)
{
    bool ok = buffer_printf(out, err, "\ncost of an evaluation\n");
    const cJSON *item;
    cJSON_ArrayForEach(item, cost) {
        char text[NUMBER_BYTES], value[NUMBER_BYTES];
        bool is_bytes = strstr(item->string, "bytes") != NULL;
        scaled(value, format_parse(member_text(text, item), NULL), is_bytes);
        ok = ok && add_row(out, item->string, value, err);
    }
    return ok;
}

static bool add_architecture(struct buffer *out, const cJSON *inspection, struct error *err)
{
    const cJSON *item;
    char text[NUMBER_BYTES];
    const char *path = member_text(text, json_get(inspection, "path"));
    bool ok = buffer_printf(out, err, "%s\n\n", error_clean(&(struct error){ 0 }, path));
    const char *type = member_text(text, json_get(inspection, "model_type"));
    const char *revision = cJSON_GetStringValue(json_get(inspection, "revision"));
    ok = ok && (!revision || add_row(out, "revision", revision, err))
      && add_row(out, "model_type", type, err);
    cJSON_ArrayForEach(item, json_get(inspection, "architecture"))
        ok = ok && add_row(out, item->string, member_text(text, item), err);
    return ok;
}

static const char *use(const char *module, bool is_used)
{
    return is_used ? "" : strcmp(module, "mtp") == 0 ? " (for drafts alone)" : " (not used)";
}

static bool add_module(struct buffer *out, const cJSON *module, struct error *err)
{
    const cJSON *row;
    char name[64], text[NUMBER_BYTES], tensors[NUMBER_BYTES], parameters[NUMBER_BYTES];
    char bytes[NUMBER_BYTES];
    bool ok = true;
    const char *kind = member_text(text, json_get(module, "module"));
    snprintf(name, sizeof name, "%s%s", kind, use(kind, cJSON_IsTrue(json_get(module, "used"))));
    cJSON_ArrayForEach(row, json_get(module, "dtypes"))
        ok = ok && buffer_printf(out, err, "%-26s %-7s %8s %18s %18s\n", name,
                                 member_text(text, json_get(row, "dtype")),
                                 grouped(tensors, row, "tensors"),
                                 grouped(parameters, row, "parameters"),
                                 grouped(bytes, row, "bytes"));
    return ok;
}

static bool add_modules(struct buffer *out, const cJSON *inspection, struct error *err)
{
    const cJSON *module;
    bool ok = buffer_printf(out, err, "\n%-26s %-7s %8s %18s %18s\n", "module", "dtype", "tensors",
                            "parameters", "bytes");
    cJSON_ArrayForEach(module, json_get(inspection, "modules"))
        ok = ok && add_module(out, module, err);
    return ok && buffer_printf(out, err, "\n") && add_count(out, inspection, "parameters", err)
        && add_count(out, inspection, "bytes", err)
        && add_count(out, inspection, "quantized_bytes", err)
        && add_count(out, inspection, "stale_tensors", err);
}

static bool add_contradictions(struct buffer *out, const cJSON *inspection, struct error *err)
{
    const cJSON *list = json_get(inspection, "contradictions"), *line;
    bool ok = buffer_printf(out, err, "\ncontradictions between config and files:%s\n",
                            list && list->child ? "" : " none");
    cJSON_ArrayForEach(line, list)
        ok = ok && buffer_printf(out, err, "  %s\n",
                                 error_clean(&(struct error){ 0 }, line->valuestring));
    return ok;
}

/* Only where there are any. */
static bool add_warnings(struct buffer *out, const cJSON *inspection, struct error *err)
{
    const cJSON *list = json_get(inspection, "warnings"), *line;
    bool ok = !list || !list->child || buffer_printf(out, err, "\nwarnings:\n");
    cJSON_ArrayForEach(line, list)
        ok = ok && buffer_printf(out, err, "  %s\n",
                                 error_clean(&(struct error){ 0 }, line->valuestring));
    return ok;
}

bool inspect_text(struct buffer *out, const cJSON *inspection, struct error *err)
{
    return add_architecture(out, inspection, err) && add_modules(out, inspection, err)
        && add_contradictions(out, inspection, err) && add_warnings(out, inspection, err)
        && add_cost(out, json_get(inspection, "cost"), err);
}
