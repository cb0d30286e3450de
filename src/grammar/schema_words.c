#include <limits.h>
#include <string.h>

#include "base/format.h"
#include "base/json.h"
#include "grammar/schema_parts.h"

/* ---- errors with a path ---------------------------------------------------------- */

/* Appends the way from `from` to `to`; false if it is not below. */
static bool append_path(struct buffer *b, const cJSON *from, const cJSON *to)
{
    size_t before = b->size, index = 0;
    if (from == to)
        return true;
    for (const cJSON *c = from->child; c; c = c->next, index++) {
        bool ok = c->string ? buffer_printf(b, NULL, "/%s", c->string)
                            : buffer_printf(b, NULL, "/%zu", index);
        if (ok && append_path(b, c, to))
            return true;
        b->size = before;
        if (b->data)
            b->data[before] = 0;
    }
    return false;
}

bool schema_refuse(const struct schema *s, const cJSON *at, const char *word, struct error *err,
                   const char *format, ...)
{
    struct buffer path = { 0 };
    struct error reason = { 0 };
    va_list args;
    va_start(args, format);
    error_vset(&reason, format, args);
    va_end(args);
    append_path(&path, s->root, at);
    error_set(err, "%s: %s%s%s: %s", s->name, path.data ? path.data : "", word || !path.size ? "/"
              : "", word ? word : "", reason.message);
    buffer_free(&path);
    return false;
}

bool schema_refuse_with(const struct schema *s, const cJSON *at, const char *word,
                        const struct error *why, struct error *err)
{
    schema_refuse(s, at, word, err, "%s", why->message);
    if (err)
        err->lacking = why->lacking;
    return false;
}

bool schema_unique_keys(const struct schema *s, const cJSON *object, const cJSON *at,
                        const char *word, struct error *err)
{
    struct error why = { 0 };
    return json_unique_keys(object, s->name, &why)
        || (why.lacking ? schema_refuse_with(s, at, word, &why, err)
                        : schema_refuse(s, at, word, err, "a key occurs twice"));
}

/* ---- which words ----------------------------------------------------------------- */

/* A value with which a word that is not supported changes nothing. */
enum harmless { NEVER, IF_FALSE, IF_TRUE, IF_ZERO, IF_EMPTY };

static const struct {
    const char *word;
    enum harmless harmless;
} refused[] = {
    { "multipleOf", NEVER }, { "not", NEVER }, { "if", NEVER }, { "then", NEVER },
    { "else", NEVER }, { "uniqueItems", IF_FALSE }, { "contains", NEVER },
    { "minContains", NEVER }, { "maxContains", NEVER }, { "patternProperties", IF_EMPTY },
    { "propertyNames", IF_TRUE }, { "minProperties", IF_ZERO }, { "maxProperties", NEVER },
    { "dependentRequired", IF_EMPTY }, { "dependentSchemas", IF_EMPTY },
    { "dependencies", IF_EMPTY }, { "unevaluatedItems", IF_TRUE },
    { "unevaluatedProperties", IF_TRUE }, { "additionalItems", IF_TRUE },
    { "$dynamicRef", NEVER }, { "$recursiveRef", NEVER },
};

static bool changes_nothing(const cJSON *value, enum harmless harmless)
{
    return (harmless == IF_FALSE && cJSON_IsFalse(value))
        || (harmless == IF_TRUE && (cJSON_IsTrue(value)
                                    || (cJSON_IsObject(value) && !value->child)))
        || (harmless == IF_ZERO && cJSON_IsNumber(value) && value->valueint == 0)
        || (harmless == IF_EMPTY && cJSON_IsObject(value) && !value->child);
}

bool schema_check_words(const struct schema *s, const cJSON *schema, struct error *err)
{
    if (cJSON_IsBool(schema))
        return true;
    if (!cJSON_IsObject(schema))
        return schema_refuse(s, schema, NULL, err, "expected a schema: an object, true or false");
    for (const cJSON *c = schema->child; c; c = c->next)
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
            if (strcmp(c->string, refused[i].word) == 0 && !changes_nothing(c, refused[i].harmless))
                return schema_refuse(s, schema, c->string, err, "not supported");
    if (schema != s->root && json_get(schema, "$id"))
        return schema_refuse(s, schema, "$id", err, "supported at the root alone");
    return schema_unique_keys(s, schema, schema, NULL, err);
}

/* ---- $ref ------------------------------------------------------------------------ */

/* Reads one part of a JSON pointer in a URI (RFC 6901, 6): up to the next '/'. */
static const char *read_part(const char *at, char *out, size_t size)
{
    size_t n = 0;
    for (; *at && *at != '/' && n + 1 < size; at++) {
        char c = *at;
        if (c == '%' && ascii_hex(at[1]) >= 0 && ascii_hex(at[2]) >= 0) {
            c = (char)(ascii_hex(at[1]) * 16 + ascii_hex(at[2]));
            at += 2;
        }
        out[n++] = c;
    }
    out[n] = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {        /* ~1 is a slash, ~0 a tilde */
        bool escape = out[i] == '~' && (out[i + 1] == '0' || out[i + 1] == '1');
        out[kept++] = !escape ? out[i] : out[i + 1] == '1' ? '/' : '~';
        i += escape;
    }
    out[kept] = 0;
    return *at && *at != '/' ? NULL : at;
}

static const cJSON *child_at(const cJSON *parent, const char *part)
{
    size_t index = 0;
    if (!cJSON_IsArray(parent))
        return json_get(parent, part);
    for (size_t i = 0; part[i]; i++) {
        if (!ascii_digit(part[i]) || i > 8)
            return NULL;
        index = index * 10 + (size_t)(part[i] - '0');
    }
    return *part ? cJSON_GetArrayItem(parent, (int)index) : NULL;
}

const cJSON *schema_find(const struct schema *s, const cJSON *schema, struct error *err)
{
    const cJSON *ref = json_get(schema, "$ref"), *at = s->root;
    const char *text = cJSON_IsString(ref) ? ref->valuestring : "";
    char part[1024];
    if (*text != '#' || (text[1] && text[1] != '/')) {
        schema_refuse(s, schema, "$ref", err, "only places of this schema are supported: #/...");
        return NULL;
    }
    for (text++; text && *text == '/' && at; ) {
        text = read_part(text + 1, part, sizeof part);
        at = text ? child_at(at, part) : NULL;
    }
    if (!at)
        schema_refuse(s, schema, "$ref", err, "%s: the schema has no such place",
                      ref->valuestring);
    return at;
}

/* ---- types and counts ------------------------------------------------------------ */

static unsigned type_bits(const cJSON *name)
{
    static const struct {
        const char *name;
        unsigned bits;
    } types[] = {
        { "null", SCHEMA_NULL }, { "boolean", SCHEMA_BOOLEAN }, { "integer", SCHEMA_WHOLE },
        { "number", SCHEMA_WHOLE | SCHEMA_FRACTION }, { "string", SCHEMA_STRING },
        { "object", SCHEMA_OBJECT }, { "array", SCHEMA_ARRAY },
    };
    for (size_t i = 0; cJSON_IsString(name) && i < sizeof types / sizeof *types; i++)
        if (strcmp(name->valuestring, types[i].name) == 0)
            return types[i].bits;
    return 0;
}

bool schema_read_types(const struct schema *s, const cJSON *schema, unsigned *types,
                       struct error *err)
{
    const cJSON *type = json_get(schema, "type");
    unsigned named = 0;
    if (!type)
        return true;
    for (const cJSON *t = cJSON_IsArray(type) ? type->child : type; t;
         t = t == type ? NULL : t->next) {
        if (!type_bits(t))
            return schema_refuse(s, schema, "type", err, "expected null, boolean, integer, number,"
                                 " string, object, array, or a list of these");
        named |= type_bits(t);
    }
    *types &= named;
    return true;
}

bool schema_read_count(const struct schema *s, const cJSON *schema, const char *word,
                       uint32_t *value, struct error *err)
{
    const cJSON *item = json_get(schema, word);
    size_t count;
    if (!item)
        return true;
    if (!json_to_size(item, &count) || count > INT_MAX)
        return schema_refuse(s, schema, word, err, "expected a whole number from 0 to %d", INT_MAX);
    *value = (uint32_t)count;
    return true;
}
