#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/quantization.h"
#include "formats/merged.h"
#include "verify/verify_coverage.h"

struct cover {
    const struct weight_list *w;
    struct quantization_rules rules;
    struct findings *found;
    struct error *err;
    size_t n_patterns;                  /* modules that a pattern means here, and not in vLLM */
    const char *first_pattern;
};

/* ---- modules -------------------------------------------------------------------------- */

/* Does the class "Linear" promise that it is packed? */
static bool is_promised(const struct listed_weight *w, const char *module)
{
    if (w->is_expected)
        return quantization_promises(w->kind, w->stored.is_fused);
    const char *last = merged_last_part(module);
    return !w->stored.is_fused && strcmp(last, "gate") != 0
        && strcmp(last, "shared_expert_gate") != 0;
}

/* ---- merged modules ------------------------------------------------------------------ */

/* Gives "parent.name", beside a module. */
static char *sibling(const char *module, const char *name, const char *suffix, struct error *err)
{
    char *out;
    int n = (int)(merged_last_part(module) - module);
    if (asprintf(&out, "%.*s%s%s", n, module, name, suffix) >= 0)
        return out;
    error_set(err, "out of memory: a module's name");
    return NULL;
}

/* A target may name the merged module instead of its part. */
static bool add_merged_name(struct module_said *said, struct cover *c, const char *module)
{
    const struct merge *merge = merged_find(module, strlen(module));
    struct module_said merged;
    if (!merge || said->named || !c->rules.is_there)
        return true;
    char *name = sibling(module, merge->name, "", c->err);
    bool ok = name && quantization_says(&merged, &c->rules, name, c->err);
    free(name);
    said->named = ok && merged.named;
    return ok;
}

struct part {
    const struct listed_weight *weight;
    bool ignored;
};

static bool read_part(struct part *p, struct cover *c, const char *module, const char *name)
{
    struct module_said said = { .ignored = false };
    char *weight = sibling(module, name, ".weight", c->err);
    char *part = sibling(module, name, "", c->err);
    bool ok = weight && part && quantization_says(&said, &c->rules, part, c->err);
    *p = (struct part){ ok ? weight_list_find(c->w, weight) : NULL, said.ignored };
    free(weight);
    free(part);
    return ok;
}

/* The first part checks itself against the others that there are; one finding is enough. */
static bool check_merge(struct cover *c, const struct listed_weight *w, const char *module)
{
    const struct merge *merge = merged_find(module, strlen(module));
    if (!merge || strcmp(merge->parts[0], merged_last_part(module)) != 0)
        return true;
    struct part first, other;
    if (!read_part(&first, c, module, merge->parts[0]))
        return false;
    for (size_t i = 1; i < MERGED_PARTS && merge->parts[i]; i++) {
        const char *name = merge->parts[i];
        if (!read_part(&other, c, module, name))
            return false;
        if (!other.weight)              /* missing: another finding */
            continue;
        bool packed = w->stored.is_packed, other_packed = other.weight->stored.is_packed;
        if (packed != other_packed)
            return findings_add(c->found, FOUND_MERGED, w->stored.parts[0]->file, module, c->err,
                                "is %s, but %s is %s: vLLM loads both as one module, %s",
                                packed ? "packed" : "not packed", name,
                                other_packed ? "packed" : "not packed", merge->name);
        if (first.ignored != other.ignored)
            return findings_add(c->found, FOUND_MERGED, NULL, module, c->err,
                                "is %signored by the config, but %s is %signored: vLLM refuses that"
                                " of the parts of %s", first.ignored ? "" : "not ", name,
                                other.ignored ? "" : "not ", merge->name);
    }
    return true;
}

/* ---- experts ------------------------------------------------------------------------- */

/* All experts of a layer are one module: all packed, or none.  The list is sorted, so those
 * of a layer follow each other. */
static bool check_experts(struct cover *c)
{
    const struct weight_list *w = c->w;
    bool ok = true;
    for (size_t i = 0, end; ok && i < w->n; i = end) {
        size_t length = merged_experts_length(w->list[i].name), n_packed = 0;
        const struct listed_weight *odd[2] = { NULL, NULL }; /* the first plain, the first packed */
        for (end = i; end < w->n && (end == i || (length
                      && merged_experts_length(w->list[end].name) == length
                      && strncmp(w->list[end].name, w->list[i].name, length) == 0)); end++) {
            bool packed = w->list[end].stored.is_packed;
            n_packed += packed;
            odd[packed] = odd[packed] ? odd[packed] : &w->list[end];
        }
        if (length && odd[0] && odd[1])
            ok = findings_add(
                c->found, FOUND_MERGED, odd[0]->stored.parts[0]->file, odd[0]->name, c->err,
                "is not packed, but %s is (%zu of %zu projections are): vLLM loads all"
                " experts of a layer as one module",
                odd[1]->name, n_packed, end - i);
    }
    return ok;
}

/* ---- vLLM's names ---------------------------------------------------------------------- */

/* Gives the name that vLLM has for a module; *out NULL where it is the same. */
static bool vllm_name(char **out, const char *module, struct error *err)
{
    static const char *const prefixes[][2] = {
        { "model.language_model.", "language_model.model." },
        { "model.visual.", "visual." },
    };
    *out = NULL;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t n = strlen(prefixes[i][0]);
        if (strncmp(module, prefixes[i][0], n) == 0
            && asprintf(out, "%s%s", prefixes[i][1], module + n) < 0)
            return error_set(err, "out of memory: a module's name");
    }
    return true;
}

/* Is the module in the list, and by patterns alone, none of which matches vLLM's name? */
static bool only_here(bool *only, const struct module_list *list, const char *module,
                      const char *translated, struct error *err)
{
    struct module_list names = *list;
    names.n_patterns = 0;
    bool here, by_name, there;
    if (!module_list_names(&here, list, module, err)
        || !module_list_names(&by_name, &names, module, err)
        || !module_list_names(&there, list, translated, err))
        return false;
    *only = here && !by_name && !there;
    return true;
}

static bool check_patterns(struct cover *c, const struct listed_weight *w, const char *module)
{
    char *translated;
    bool ignored = false, targeted = false;
    if (!c->rules.is_there)
        return true;
    if (!vllm_name(&translated, module, c->err))
        return false;
    bool ok = !translated
           || (only_here(&ignored, &c->rules.ignore, module, translated, c->err)
               && only_here(&targeted, &c->rules.targets, module, translated, c->err));
    free(translated);
    if ((ignored || targeted) && c->n_patterns++ == 0)
        c->first_pattern = w->name;
    return ok;
}

/* ---- one module ----------------------------------------------------------------------- */

static const enum finding_code codes[] = {
    [PACKED_NO_CONFIG] = FOUND_NO_CONFIG,
    [PACKED_IGNORED] = FOUND_IGNORED,
    [PACKED_UNTARGETED] = FOUND_NOT_COVERED,
    [PACKED_OTHERWISE] = FOUND_OTHER_FORMAT,
    [TARGETED_PLAIN] = FOUND_NOT_PACKED,
};

static bool cover_module(struct cover *c, const struct listed_weight *w, const char *module)
{
    struct module_said said;
    if (w->is_unexpected || !(w->is_linear || w->stored.is_packed))
        return true;
    if (!quantization_says(&said, &c->rules, module, c->err) || !add_merged_name(&said, c, module))
        return false;
    enum quantization_verdict verdict = quantization_judge(&c->rules, &said, w->stored.view.dtype,
                                                           is_promised(w, module));
    return (verdict == NO_CONTRADICTION
            || findings_add(c->found, codes[verdict], w->stored.parts[0]->file, module, c->err,
                            "%s", quantization_verdict_text(verdict)))
        && check_merge(c, w, module) && check_patterns(c, w, module);
}

static bool add_fault(void *user, const struct error *why)
{
    struct cover *c = user;
    const char *setting = strstr(why->message, "quantization_config");
    return findings_add(c->found, FOUND_QUANTIZATION, "config.json", NULL, c->err, "%s",
                        setting ? setting : why->message);
}

bool verify_coverage(const struct verify_folder *f, const struct weight_list *w,
                     struct findings *found, struct error *err)
{
    struct cover c = { .w = w, .found = found, .err = err };
    struct error why = { 0 };
    if (!f->ck.config_json)
        return true;
    if (!quantization_check_each(&f->ck, add_fault, &c, &why))
        return error_set(err, "%s", why.message);
    /* Rules that cannot be read were named by the check. */
    bool ok = true;
    if (quantization_rules_read(&c.rules, &f->ck, &why)) {
        for (size_t i = 0; ok && i < w->n; i++) {
            char *module = strndup(w->list[i].name, weight_module_length(w->list[i].name));
            ok = module ? cover_module(&c, &w->list[i], module)
                        : error_set(err, "out of memory: a module's name");
            free(module);
        }
        ok = ok && check_experts(&c);
        if (ok && c.n_patterns)
            ok = findings_add(found, NOTE_PATTERN, "config.json", c.first_pattern, err,
                              "is meant by a"
                              " pattern that does not match vLLM's name of it (%zu modules): vLLM"
                              " translates names, not patterns",
                              c.n_patterns);
    }
    quantization_rules_free(&c.rules);
    return ok;
}
