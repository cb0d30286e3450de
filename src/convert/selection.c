#include "convert/selection.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "kernels/mxfp4.h"

static bool matches_name(const char *pattern, const char *name)
{
    if (!strchr(pattern, '*'))
        return strstr(name, pattern) != NULL;
    struct format_locale locale;        /* what [a-z] holds depends on it */
    format_locale_enter(&locale);
    bool matched = fnmatch(pattern, name, FNM_NOESCAPE) == 0;
    format_locale_leave(&locale);
    return matched;
}

static bool matches(const char *pattern, const struct listed_weight *m)
{
    return matches_name(pattern, m->name)
        || (m->stored.is_fused && matches_name(pattern, m->stored.parts[0]->name));
}

/* Counts each pattern's matches; whether any matched. */
static bool any_matches(const char *const *patterns, size_t n, const struct listed_weight *m,
                        struct pattern_matches *matched)
{
    bool any = false;
    for (size_t i = 0; i < n; i++)
        if (matches(patterns[i], m)) {
            matched[i].n++;
            matched[i].kinds[m->kind]++;
            any = true;
        }
    return any;
}

static bool is_selected(const struct selection *s, const struct listed_weight *m,
                        const struct surprisal_quantize_options *o)
{
    /* Both lists are gone through for every module: their counts are of all matches. */
    bool included = any_matches(o->include, o->n_include, m, s->matched);
    bool excluded = any_matches(o->exclude, o->n_exclude, m, s->matched + o->n_include);
    bool linears = o->recipe == SURPRISAL_RECIPE_LINEARS
                || (o->recipe == SURPRISAL_RECIPE_DEFAULT && o->n_exclude);
    bool base = o->n_include ? included : linears || m->kind == WEIGHT_EXPERTS;
    return base && !excluded;
}

static bool check_module(const struct listed_weight *m, struct error *err)
{
    return m->stored.view.cols % mxfp4_block_size() == 0
        || error_set(err, "%s: '%s' has %zu input features, MXFP4 needs a multiple of %zu (leave it"
                     " out with --exclude)", m->stored.parts[0]->file, m->name, m->stored.view.cols,
                     mxfp4_block_size());
}

bool selection_make(struct selection *s, const struct weight_list *m,
                    const struct surprisal_quantize_options *options, struct error *err)
{
    *s = (struct selection){ 0 };
    s->packed = mem_array(m->n, sizeof *s->packed, "the selection", err);
    s->matched = mem_array(options->n_include + options->n_exclude, sizeof *s->matched, "patterns",
                           err);
    bool ok = s->packed && s->matched;
    for (size_t i = 0; ok && i < m->n; i++) {
        s->packed[i] = m->list[i].is_linear && is_selected(s, &m->list[i], options);
        s->n_packed += s->packed[i];
        ok = !s->packed[i] || check_module(&m->list[i], err);
    }
    if (!ok)
        selection_free(s);
    return ok;
}

bool selection_check(const struct selection *s, const struct surprisal_quantize_options *o,
                     struct error *err)
{
    for (size_t i = 0; !o->allow_unmatched && i < o->n_include + o->n_exclude; i++) {
        bool is_include = i < o->n_include;
        const char *pattern = is_include ? o->include[i] : o->exclude[i - o->n_include];
        if (!s->matched[i].n)
            return error_set(err,
                             "--%s '%s' matches no linear layer of the checkpoint"
                             " (--allow-unmatched lets it pass)",
                             is_include ? "include" : "exclude", pattern);
    }
    return s->n_packed
        || error_set(err, "%s selects nothing to quantize", o->n_include || o->n_exclude
                     ? "--include and --exclude" : "the recipe");
}

void selection_free(struct selection *s)
{
    free(s->packed);
    free(s->matched);
    *s = (struct selection){ 0 };
}
