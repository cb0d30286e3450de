#include "module_list.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define EXPERTS ".experts."

/* A module name is short: a pattern that needs more steps than this is no help to anybody. */
#define MATCH_LIMIT 1000000u

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* prefix: what stands before it in the file, for messages. */
static bool add_pattern(struct module_list *list, const char *prefix, const char *pattern,
                        const char *key, const char *path, struct error *err)
{
    int code;
    PCRE2_SIZE at;
    if (!mem_grow(&list->patterns, &list->patterns_capacity, list->n_patterns + 1,
                  sizeof *list->patterns, "patterns", err))
        return false;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_ANCHORED | PCRE2_UTF, &code, &at, NULL);
    if (!compiled) {
        char why[160];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return error_set(err, "%s: %s has '%s%s', not a regular expression: %s at %zu", path, key,
                         prefix, pattern, why, (size_t)at);
    }
    list->patterns[list->n_patterns++] = compiled;
    return true;
}

/* A glob, or a part of a name, as a regular expression. */
static bool add_translated(struct module_list *list, const char *entry, bool is_glob,
                           const char *key, const char *path, struct error *err)
{
    struct buffer b = { 0 };
    bool ok = buffer_printf(&b, err, "%s", is_glob ? "" : ".*");
    for (; ok && *entry; entry++)
        if (is_glob && *entry == '*')
            ok = buffer_printf(&b, err, ".*");
        else if (is_glob && *entry == '?')
            ok = buffer_printf(&b, err, ".");
        else
            ok = buffer_printf(&b, err, "%s%c", strchr("\\^$.|()[]{}*+?", *entry) ? "\\" : "",
                               *entry);
    ok = ok && buffer_printf(&b, err, "%s", is_glob ? "$" : "")
      && add_pattern(list, "", b.data, key, path, err);
    buffer_free(&b);
    return ok;
}

static bool add_name(struct module_list *list, const char *entry, struct error *err)
{
    if (!mem_grow(&list->names, &list->names_capacity, list->n_names + 1, sizeof *list->names,
                  "module names", err))
        return false;
    list->names[list->n_names++] = entry;
    list->has_linear |= strcmp(entry, "Linear") == 0;
    return true;
}

static bool add_entry(struct module_list *list, const char *entry, enum module_language language,
                      const char *key, const char *path, struct error *err)
{
    static const char re[] = "re:";
    if (language == MODULES_BY_REGEX)
        return add_pattern(list, "", entry, key, path, err);
    if (language != MODULES_BY_PART && strncmp(entry, re, strlen(re)) == 0)
        return add_pattern(list, re, entry + strlen(re), key, path, err);
    if (language == MODULES_BY_NAME)
        return add_name(list, entry, err);
    return add_translated(list, entry, language == MODULES_BY_GLOB, key, path, err);
}

bool module_list_finish(struct module_list *list, struct error *err)
{
    if (list->n_names)
        qsort(list->names, list->n_names, sizeof *list->names, compare_strings);
    if (!list->match_data)
        list->match_data = pcre2_match_data_create(1, NULL);
    if (!list->limits)
        list->limits = pcre2_match_context_create(NULL);
    if (!list->match_data || !list->limits)
        return error_set(err, "out of memory: regular expressions");
    pcre2_set_match_limit(list->limits, MATCH_LIMIT);
    return true;
}

bool module_list_add_one(struct module_list *list, const char *entry, enum module_language language,
                         const char *key, const char *path, struct error *err)
{
    return add_entry(list, entry, language, key, path, err);
}

bool module_list_add(struct module_list *list, const cJSON *entries, enum module_language language,
                     const char *key, const char *path, struct error *err)
{
    const cJSON *item;
    if (entries && !cJSON_IsArray(entries))
        return error_set(err, "%s: %s is not a list of module names", path, key);
    cJSON_ArrayForEach(item, entries) {
        if (!cJSON_IsString(item))
            return error_set(err, "%s: %s has an entry that is not a string", path, key);
        if (!add_entry(list, item->valuestring, language, key, path, err))
            return false;
    }
    return true;
}

void module_list_free(struct module_list *list)
{
    for (size_t i = 0; i < list->n_patterns; i++)
        pcre2_code_free(list->patterns[i]);
    free(list->patterns);
    free(list->names);
    pcre2_match_data_free(list->match_data);
    pcre2_match_context_free(list->limits);
    *list = (struct module_list){ 0 };
}

static bool find(bool *found, const struct module_list *list, const char *name, size_t n,
                 struct error *err)
{
    for (size_t i = 0; !*found && i < list->n_patterns; i++) {
        int rc = pcre2_match(list->patterns[i], (PCRE2_SPTR)name, n, 0, 0, list->match_data,
                             list->limits);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
            char why[160];
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
            return error_set(err, "quantization_config: a pattern cannot be matched with '%s': %s",
                             name, why);
        }
        *found = rc >= 0;
    }
    return true;
}

/* An entry is the first n bytes of the module's name. */
static bool has_name(const struct module_list *list, const char *module, size_t n)
{
    size_t low = 0, high = list->n_names;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strncmp(list->names[middle], module, n);
        if (order == 0 && list->names[middle][n] == '\0')
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;              /* also where the name goes on */
    }
    return false;
}

static bool names_parent(const struct module_list *list, const char *module)
{
    for (const char *dot = strchr(module, '.'); dot; dot = strchr(dot + 1, '.'))
        if (has_name(list, module, (size_t)(dot - module)))
            return true;
    return false;
}

bool module_list_names(bool *found, const struct module_list *list, const char *module,
                       struct error *err)
{
    const char *experts = strstr(module, EXPERTS);
    size_t n_parent = experts ? (size_t)(experts - module) + strlen(EXPERTS) - 1 : 0;
    char *parent = strndup(module, n_parent);
    if (!parent)
        return error_set(err, "out of memory: a module name");
    const char *const names[] = { module, parent };
    bool ok = true;
    *found = false;
    for (size_t i = 0; ok && !*found && i < (experts ? 2 : 1); i++) {
        *found = list->n_names && bsearch(&names[i], list->names, list->n_names,
                                          sizeof *list->names, compare_strings);
        ok = *found || find(found, list, names[i], strlen(names[i]), err);
    }
    free(parent);
    *found = *found || (ok && list->names_parents && names_parent(list, module));
    return ok;
}
