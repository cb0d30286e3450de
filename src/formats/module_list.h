/* module_list.h - a list of modules as compressed-tensors writes it (targets, ignore).
 *
 * An entry is a module's full name, a class name, or "re:" and a regular expression that must
 * match from the start of the name (Python's re.match; the end is open).  Of the classes only
 * "Linear" is known here.  (compressed_tensors/utils/match.py)  Patterns are compiled by PCRE2,
 * whose syntax is near enough to Python's for module names. */
#ifndef SURPRISAL_FORMATS_MODULE_LIST_H
#define SURPRISAL_FORMATS_MODULE_LIST_H

#include "base/json.h"

struct module_list {
    const char **names;         /* owned [n_names], sorted; the strings borrow from the JSON */
    void **patterns;            /* owned [n_patterns]: pcre2_code */
    void *match_data;           /* owned: pcre2_match_data */
    void *limits;               /* owned: pcre2_match_context */
    size_t n_names, n_patterns, names_capacity, patterns_capacity;
    bool has_linear;            /* the class "Linear" is in the list */
    bool names_parents;         /* an entry means all modules below it, too (transformers' fp8) */
};

/* What an entry is.  "re:" begins a regular expression in the first two. */
enum module_language {
    MODULES_BY_NAME,
    MODULES_BY_GLOB,            /* of the whole name; * and ? (Python's fnmatch) */
    MODULES_BY_PART,            /* of the name */
    MODULES_BY_REGEX,           /* from the start of the name */
};

/* Adds an entry, or those of a JSON array (NULL: none); `key` names it in errors.  Start with a
 * zeroed list, and finish it before names are looked for; module_list_free also after a failure. */
bool module_list_add_one(struct module_list *list, const char *entry, enum module_language language,
                         const char *key, const char *path, struct error *err);
bool module_list_add(struct module_list *list, const cJSON *entries, enum module_language language,
                     const char *key, const char *path, struct error *err);
bool module_list_finish(struct module_list *list, struct error *err);
void module_list_free(struct module_list *list);

/* *found: an entry names the module, or its parent "....experts" when it is an expert's
 * projection (upstream, all experts of a layer may be one module).  Classes do not count.  Fails
 * only when a pattern takes too long. */
bool module_list_names(bool *found, const struct module_list *list, const char *module,
                       struct error *err);

#endif
