#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "grammar/schema_parts.h"

#define YEAR  "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d\\d|[1-9]\\d{3})"
#define LEAP  "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define DATE  "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])" \
              "|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|" LEAP "-02-29)"
#define TIME  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?" \
              "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define ATOM  "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"

/* RFC 3339 (without leap seconds and the year 0, and with at most nine digits of a second), RFC
 * 4122, RFC 5321 without comments. */
static const struct {
    const char *name, *pattern;
} formats[] = {
    { "date", DATE }, { "time", TIME }, { "date-time", DATE "[Tt]" TIME },
    { "uuid", "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}" },
    { "email", "(?:" ATOM "(?:\\." ATOM ")*|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\")@"
               "(?:" LABEL "(?:\\." LABEL ")*|\\[" OCTET "(?:\\." OCTET "){3}\\])" },
};

/* What the reader of calls takes for the end of a parameter (3.4). */
static const char *const ends[] = { "\n</parameter>", "\n<parameter=" };
enum { N_ENDS = sizeof ends / sizeof *ends };

void schema_strings_free(struct schema_strings *r)
{
    for (size_t i = 0; i < r->n; i++)
        dfa_free(&r->dfas[i]);
    free(r->dfas);
}

static struct dfa *new_dfa(struct schema_strings *r, struct error *err)
{
    if (!mem_grow(&r->dfas, &r->capacity, r->n + 1, sizeof *r->dfas, "pattern", err))
        return NULL;
    r->dfas[r->n] = (struct dfa){ 0 };
    return &r->dfas[r->n++];
}

static bool add_pattern(const struct schema *s, const cJSON *part, const char *word,
                        const char *pattern, struct schema_strings *r, struct error *err)
{
    struct error why = { 0 };
    struct dfa *d = new_dfa(r, err);
    return d && (dfa_of_pattern(d, pattern, strlen(pattern), strcmp(word, "format") == 0, &why)
                 || schema_refuse_with(s, part, word, &why, err))
        && schema_spend(s, part, d->work, err);
}

static bool add_format(const struct schema *s, const cJSON *part, const char *name,
                       struct schema_strings *r, struct error *err)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(name, formats[i].name) == 0)
            return add_pattern(s, part, "format", formats[i].pattern, r, err);
    return schema_refuse(s, part, "format", err,
                         "expected date, time, date-time, uuid or email, not \"%s\"", name);
}

bool schema_strings_read(const struct schema *s, const struct schema_view *v,
                         struct schema_strings *r, struct error *err)
{
    *r = (struct schema_strings){ .max = UINT32_MAX };
    for (size_t i = 0; i < v->n; i++) {
        const cJSON *part = v->parts[i], *pattern = json_get(part, "pattern");
        const cJSON *format = json_get(part, "format");
        uint32_t min = 0, max = UINT32_MAX;
        if ((pattern && !cJSON_IsString(pattern)) || (format && !cJSON_IsString(format)))
            return schema_refuse(s, part, NULL, err, "pattern and format must be strings");
        if (!schema_read_count(s, part, "minLength", &min, err)
            || !schema_read_count(s, part, "maxLength", &max, err)
            || (pattern && !add_pattern(s, part, "pattern", pattern->valuestring, r, err))
            || (format && !add_format(s, part, format->valuestring, r, err)))
            return false;
        r->min = min > r->min ? min : r->min;
        r->max = max < r->max ? max : r->max;
    }
    for (size_t i = 0; v->place == SCHEMA_PARAMETER && i < N_ENDS; i++) {
        struct dfa *d = new_dfa(r, err);
        if (!d || !dfa_without(d, ends[i], err))
            return false;
    }
    return true;
}

uint32_t schema_strings_node(const struct schema *s, const struct schema_strings *r,
                             enum schema_place place)
{
    struct json_text *t = s->text;
    if (place == SCHEMA_PARAMETER) {
        bool is_free = r->n == N_ENDS && r->min == 0 && r->max == UINT32_MAX;
        if (is_free && t->parameter)
            return t->parameter;
        uint32_t node = dfa_node(t->graph, r->dfas, r->n, r->min, r->max, CHARSET_RAW);
        t->parameter = is_free ? node : t->parameter;
        return node;
    }
    if (r->n == 0)
        return r->min > r->max ? graph_either(t->graph, NULL, 0)
                               : json_text_string(t, r->min, r->max);
    return GRAPH_SEQUENCE(t->graph, t->quote, dfa_node(t->graph, r->dfas, r->n, r->min, r->max,
                                                       CHARSET_JSON), t->quote);
}

bool schema_strings_fit(const struct schema_strings *r, const char *text)
{
    size_t n = 0;
    for (size_t i = 0, length; text[i]; i += length, n++)
        utf8_get(text + i, &length);
    for (size_t i = 0; i < r->n; i++)
        if (!dfa_accepts(&r->dfas[i], text))
            return false;
    return n >= r->min && n <= r->max;
}
