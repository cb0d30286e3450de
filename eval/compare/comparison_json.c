#include "eval/compare/comparison_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/format.h"
#include "eval/compare/comparable.h"
#include "eval/compare/excerpt.h"
#include "eval/compare/verdict.h"

#define TEXT_AROUND    60               /* characters before and after a token */
#define TEXT_OF_WINDOW 400              /* from its begin */

/* ---- figures ---------------------------------------------------------------------- */

static void add_interval(cJSON *o, const char *key, const double interval[2])
{
    if (!isfinite(interval[0]) || !isfinite(interval[1])) {
        cJSON_AddNullToObject(o, key);
        return;
    }
    cJSON *list = cJSON_AddArrayToObject(o, key);
    for (int i = 0; i < 2; i++)
        cJSON_AddItemToArray(list, json_double(interval[i]));
}

/* NAME, NAME_stderr, NAME_ci95. */
static void add_estimate(cJSON *o, const char *name, const struct estimate *e)
{
    char key[64];
    json_add_double(o, name, e->value);
    snprintf(key, sizeof key, "%s_stderr", name);
    json_add_double(o, key, e->se);
    snprintf(key, sizeof key, "%s_ci95", name);
    add_interval(o, key, e->ci95);
}

static void add_bootstrap(cJSON *root, const struct bootstrap *b)
{
    if (b->samples == 0) {
        cJSON_AddNullToObject(root, "bootstrap");
        return;
    }
    cJSON *o = cJSON_AddObjectToObject(root, "bootstrap");
    json_add_size(o, "samples", b->samples);
    json_add_size(o, "seed", b->seed);
    json_add_double(o, "stderr", b->se);
    add_interval(o, "ci95", b->ci95);
}

static void add_paired(cJSON *root, const struct paired *p)
{
    add_estimate(root, "delta_nll", &p->delta);
    json_add_double(root, "p_value", p->delta.p);
    add_bootstrap(root, &p->bootstrap);
    cJSON *naive = cJSON_AddObjectToObject(root, "naive");
    json_add_double(naive, "delta_nll_stderr", p->naive.se);
    add_interval(naive, "delta_nll_ci95", p->naive.ci95);
    json_add_double(naive, "p_value", p->naive.p);
    cJSON *unpaired = cJSON_AddObjectToObject(root, "unpaired");
    json_add_double(unpaired, "delta_nll_stderr", p->unpaired_se);
    add_estimate(root, "perplexity_ratio", &p->ratio);
    add_estimate(root, "perplexity_difference", &p->difference);
    json_add_double(root, "units_needed", p->units_needed > 0 ? p->units_needed : (double)NAN);
}

static void add_agreement(cJSON *root, const struct comparison *c)
{
    const struct delta_p *d = &c->delta_p;
    json_add_double(root, "same_top1", c->same_top1);
    json_add_double(root, "mean_delta_p", d->mean);
    json_add_double(root, "rms_delta_p", d->rms);
    cJSON *o = cJSON_AddObjectToObject(root, "delta_p");
    for (size_t i = 0; i < DELTA_P_QUANTILES; i++)
        json_add_double(o, delta_p_quantiles[i].name, d->quantiles[i]);
    json_add_double(root, "p_correlation", d->correlation);
}

static void add_floor(cJSON *root, const struct comparison *floor)
{
    char compute[16], label[64];
    comparable_value(compute, sizeof compute, floor->b->summary, "compute");
    snprintf(label, sizeof label, "A against itself in %s compute", compute);
    cJSON *o = cJSON_AddObjectToObject(root, "floor");
    cJSON_AddStringToObject(o, "label", label);
    json_add_double(o, "delta_nll", floor->paired.delta.value);
    json_add_double(o, "delta_nll_stderr", floor->paired.delta.se);
    json_add_double(o, "p_value", floor->paired.delta.p);
    if (floor->divergence)
        divergence_figures_add(o, &floor->kl);
    json_add_double(o, "same_top1", floor->same_top1);
    json_add_double(o, "rms_delta_p", floor->delta_p.rms);
}

/* ---- where they differ ------------------------------------------------------------- */

static void add_windows(cJSON *root, const struct comparison *c)
{
    cJSON *list = cJSON_AddArrayToObject(root, "windows");
    for (size_t u = 0; u < c->n_units; u++) {
        const struct paired_unit *s = &c->sums[u];
        double n = (double)s->scored;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        json_add_size(o, "window", (size_t)c->units[u].number);
        json_add_size(o, "scored", s->scored);
        json_add_double(o, "nll_a", compensated_value(&s->a) / n);
        json_add_double(o, "nll_b", compensated_value(&s->b) / n);
        json_add_double(o, "delta_nll", compensated_value(&s->delta) / n);
        json_add_double(o, "mean_kld", comparison_mean_kld(c, c->units[u].begin, c->units[u].end));
    }
}

static void add_positions(cJSON *root, const struct comparison *c)
{
    cJSON *list = cJSON_AddArrayToObject(root, "positions");
    for (size_t i = 0; i < c->n_ranges; i++) {
        const struct comparison_range *r = &c->ranges[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        json_add_size(o, "from", (size_t)r->from);
        json_add_size(o, "to", (size_t)r->to);
        json_add_size(o, "scored", r->scored);
        json_add_double(o, "nll_a", r->nll_a);
        json_add_double(o, "nll_b", r->nll_b);
        json_add_double(o, "delta_nll", r->delta.value);
        json_add_double(o, "delta_nll_stderr", r->delta.se);
    }
}

/* Takes the text; NULL: none. */
static void add_text(cJSON *o, const char *key, char *text)
{
    if (text)
        cJSON_AddStringToObject(o, key, text);
    else
        cJSON_AddNullToObject(o, key);
    free(text);
}

static void add_worst_windows(cJSON *root, const struct comparison_view *v)
{
    const struct comparison *c = v->comparison;
    cJSON *list = cJSON_AddArrayToObject(root, "worst_windows");
    for (size_t i = 0; i < c->n_worst_units; i++) {
        const struct comparison_unit *unit = &c->units[c->worst_units[i]];
        const struct paired_unit *s = &c->sums[c->worst_units[i]];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        json_add_size(o, "window", (size_t)unit->number);
        json_add_double(o, "delta_nll", compensated_value(&s->delta) / (double)s->scored);
        json_add_size(o, "begin", (size_t)c->a->position[unit->begin]);
        json_add_size(o, "end", (size_t)c->a->position[unit->end - 1] + 1);
        add_text(o, "text", excerpt_rows(v->tokenizer, c->a, unit->begin, unit->end,
                                        TEXT_OF_WINDOW));
    }
}

static void add_worst_tokens(cJSON *root, const struct comparison_view *v)
{
    const struct comparison *c = v->comparison;
    cJSON *list = cJSON_AddArrayToObject(root, "worst_tokens");
    for (size_t i = 0; i < c->n_worst_rows; i++) {
        size_t row = c->worst_rows[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        json_add_size(o, "position", (size_t)c->a->position[row]);
        json_add_size(o, "window", (size_t)c->a->window[row]);
        json_add_size(o, "id", (size_t)c->a->id[row]);
        add_text(o, "token", excerpt_token(v->tokenizer, c->a, row));
        add_text(o, "before", excerpt_before(v->tokenizer, c->a, row, TEXT_AROUND));
        add_text(o, "after", excerpt_after(v->tokenizer, c->a, row, TEXT_AROUND));
        json_add_double(o, "nll_a", c->a->nll[row]);
        json_add_double(o, "nll_b", c->b->nll[row]);
        json_add_double(o, "delta_nll", c->b->nll[row] - c->a->nll[row]);
        json_add_double(o, "kld", comparison_mean_kld(c, row, row + 1));
    }
}

/* ---- the document ------------------------------------------------------------------ */

static void add_repeat(cJSON *root, const struct comparison_view *v)
{
    static const char *const keys[] = { "surprisal", "compute", "isa" };
    const struct record *sides[] = { v->comparison->a, v->comparison->b };
    cJSON *o = cJSON_AddObjectToObject(root, "repeat");
    if (v->command)
        json_add_bytes(o, "command", v->command);
    else
        cJSON_AddNullToObject(o, "command");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (int side = 0; side < 2; side++) {
            char key[32], value[64];
            snprintf(key, sizeof key, "%s_%c", keys[i], "ab"[side]);
            comparable_value(value, sizeof value, sides[side]->summary, keys[i]);
            cJSON_AddStringToObject(o, key, value);
        }
}

static bool add_verdict(cJSON *root, const struct comparison *c, struct error *err)
{
    struct buffer sentence = { 0 };
    bool ok = verdict_append(&sentence, c, err);
    if (ok)
        cJSON_AddStringToObject(root, "verdict", sentence.data);
    buffer_free(&sentence);
    return ok;
}

/* Windows that a run left out, by its summary. */
static size_t own_left_out(const struct record *r)
{
    size_t windows = 0;
    json_to_size(json_get(json_get(r->summary, "left_out"), "windows"), &windows);
    return windows;
}

static bool add_left_out(cJSON *root, const struct comparison_view *v, struct error *err)
{
    const struct record *a = v->comparison->a, *b = v->comparison->b;
    struct buffer sentence = { 0 };
    cJSON *o = cJSON_AddObjectToObject(root, "left_out");
    json_add_size(o, "windows", a->n_left_out);
    json_add_size(o, "tokens", a->file_rows - a->scored);
    json_add_size(o, "a", own_left_out(a));
    json_add_size(o, "b", own_left_out(b));
    if (v->floor)
        json_add_size(o, "floor", own_left_out(v->floor->b));
    if (a->n_left_out == 0)
        return true;
    bool ok = buffer_printf(&sentence, err, "Left out are %zu of %zu windows, %zu tokens, as a NaN "
                            "or infinity shows in them (A: %zu, B: %zu", a->n_left_out, a->windows,
                            a->file_rows - a->scored, own_left_out(a), own_left_out(b))
           && (!v->floor || buffer_printf(&sentence, err, ", noise floor: %zu",
                                          own_left_out(v->floor->b)))
           && buffer_printf(&sentence, err, "): nothing is said about those.");
    if (ok)
        cJSON_AddStringToObject(o, "verdict", sentence.data);
    buffer_free(&sentence);
    return ok;
}

bool comparison_json_complete(cJSON *document, const struct comparison *c, struct error *err)
{
    struct buffer whole = { 0 };
    bool ok = verdict_append(&whole, c, err) && verdict_append_rest(&whole, document, err);
    cJSON *verdict = ok ? cJSON_CreateString(whole.data) : NULL;
    buffer_free(&whole);
    if (!ok)
        return false;
    if (verdict && cJSON_ReplaceItemInObjectCaseSensitive(document, "verdict", verdict))
        return true;
    cJSON_Delete(verdict);
    return error_set(err, "out of memory: the verdict");
}

cJSON *comparison_json(const struct comparison_view *v, struct error *err)
{
    const struct comparison *c = v->comparison;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION);
    cJSON_AddItemToObject(root, "a", json_exact_copy(c->a->summary));
    cJSON_AddItemToObject(root, "b", json_exact_copy(c->b->summary));
    if (v->plan)
        json_add_bytes(root, "plan", v->plan);
    cJSON_AddStringToObject(root, "unit", c->by_document ? "document" : "window");
    json_add_size(root, "units", c->n_units);
    json_add_size(root, "scored", c->a->scored);
    add_paired(root, &c->paired);
    if (!add_verdict(root, c, err) || !add_left_out(root, v, err)) {
        cJSON_Delete(root);
        return NULL;
    }
    if (c->divergence) {
        divergence_figures_add(root, &c->kl);
        divergence_figures_add_distribution(root, &c->kl);
    }
    add_agreement(root, c);
    if (v->floor)
        add_floor(root, v->floor);
    add_windows(root, c);
    add_positions(root, c);
    add_worst_windows(root, v);
    add_worst_tokens(root, v);
    add_repeat(root, v);
    return root;
}
