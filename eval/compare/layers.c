#include "eval/compare/layers.h"

#include <math.h>
#include <stdio.h>

#include "base/format.h"
#include "engine/estimate.h"
#include "engine/lockstep.h"
#include "eval/score/model.h"

/* ---- progress: two engines, one bar -------------------------------------------- */

struct bar {
    struct surprisal_progress progress; /* borrowed */
    double done[2], total;              /* in tokens through layers */
};

struct side {
    struct bar *bar;
    int number;                         /* 0 is A */
};

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    const struct side *side = user;
    struct bar *bar = side->bar;
    char both[96];
    (void)total;
    if (!bar->progress.report)
        return true;
    bar->done[side->number] = done;
    snprintf(both, sizeof both, "%s, %s", side->number ? "B" : "A", stage);
    return bar->progress.report(bar->progress.user, both, bar->done[0] + bar->done[1], bar->total,
                                unit);
}

/* ---- the work -------------------------------------------------------------------- */

struct job {
    const struct layers_options *options;
    size_t n_windows;
    struct model model[2];
    struct bar bar;
    struct side sides[2];
    struct lockstep found;
};

static size_t windows_of(const struct layers_options *o)
{
    return o->max_windows ? size_min(o->max_windows, o->n_windows) : o->n_windows;
}

static bool open_both(struct job *j, struct error *err)
{
    const struct layers_options *o = j->options;
    const struct model_source sources[] = { o->a, o->b };
    for (int i = 0; i < 2; i++) {
        j->sides[i] = (struct side){ &j->bar, i };
        struct engine_options engine = model_engine_options(&o->machine, 0);
        engine.progress = (struct progress){ .report = report, .user = &j->sides[i] };
        if (!model_open(&j->model[i], sources[i], NULL, &o->machine.progress, err)
            || !model_open_engine(&j->model[i], &engine, err))
            return false;
    }
    return true;
}

static bool tell_plan(struct job *j, struct error *err)
{
    const struct layers_options *o = j->options;
    const struct model *a = &j->model[0], *b = &j->model[1];
    struct engine_cost cost;
    if (!lockstep_cost(&cost, a->engine, b->engine, o->windows, j->n_windows, err))
        return false;
    struct surprisal_plan plan = {
        .windows = j->n_windows, .passes = cost.passes, .bytes_read = cost.bytes_read,
        .memory_bytes = cost.memory_bytes + b->held_bytes, .flop = cost.flop,
        .seconds = o->plan ? estimate_seconds(a->engine, o->windows, j->n_windows, &cost) : 0,
    };
    for (size_t i = 0; i < j->n_windows; i++)   /* a window's last token is a target only */
        /* A, B, B on A's: */
        plan.model_tokens += 3 * (o->windows[i].end - o->windows[i].begin - 1);
    j->bar = (struct bar){ .progress = o->machine.progress, .total = (double)plan.model_tokens };
    if (o->plan)
        o->plan(o->machine.progress.user, &plan);
    return true;
}

/* ---- the document ---------------------------------------------------------------- */

/* Of tokens with the same experts, and of A's choices that B did not make; without experts, or
 * tokens, no numbers. */
static void routing_shares(double *same, double *changed, const struct lockstep *l, size_t layer)
{
    double tokens = l->top_k ? (double)l->tokens : 0;
    *same = (double)l->layers[layer].same_sets / tokens;
    *changed = (double)l->layers[layer].changed_experts / (tokens * (double)l->top_k);
}

static cJSON *layers_json(const struct lockstep *l)
{
    cJSON *list = cJSON_CreateArray();
    double same, changed;
    for (size_t i = 0; i < l->n_layers; i++) {
        const struct lockstep_layer *layer = &l->layers[i];
        cJSON *o = cJSON_CreateObject();
        json_add_size(o, "layer", i);
        cJSON_AddStringToObject(o, "type", layer->type == FULL_ATTENTION ? "full_attention"
                                                                         : "linear_attention");
        json_add_double(o, "residual_error", layer->residual_error);
        json_add_double(o, "output_error", layer->output_error);
        routing_shares(&same, &changed, l, i);
        json_add_double(o, "same_experts", same);
        json_add_double(o, "changed_experts", changed);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

/* The load of a layer's experts, in tokens. */
struct load {
    size_t unused, least, most;
};

static struct load load_of(const struct lockstep *l, size_t side, size_t layer)
{
    const size_t *tokens = l->load[side] + layer * l->num_experts;
    struct load load = { .least = SIZE_MAX };
    for (size_t e = 0; e < l->num_experts; e++) {
        load.unused += tokens[e] == 0;
        load.least = size_min(load.least, tokens[e]);
        load.most = size_max(load.most, tokens[e]);
    }
    return load;
}

static void add_load(cJSON *o, const struct lockstep *l, size_t side, size_t layer)
{
    static const char *const names[2][5] = {
        { "unused_a", "least_a", "most_a", "never_used_a", "load_a" },
        { "unused_b", "least_b", "most_b", "never_used_b", "load_b" },
    };
    const char *const *name = names[side];
    const size_t *tokens = l->load[side] + layer * l->num_experts;
    struct load load = load_of(l, side, layer);
    json_add_size(o, name[0], load.unused);
    json_add_size(o, name[1], load.least);
    json_add_size(o, name[2], load.most);
    cJSON *never = cJSON_AddArrayToObject(o, name[3]), *all = cJSON_AddArrayToObject(o, name[4]);
    for (size_t e = 0; e < l->num_experts; e++) {
        cJSON_AddItemToArray(all, cJSON_CreateNumber((double)tokens[e]));
        if (tokens[e] == 0)
            cJSON_AddItemToArray(never, cJSON_CreateNumber((double)e));
    }
}

/* Experts that the tokens never reached, in all layers. */
struct unused {
    size_t experts;
    double share;                       /* of the model's weights */
};

static struct unused unused_of(const struct job *j, size_t side)
{
    const struct model *m = &j->model[side];
    const struct config *c = &m->checkpoint->config;
    struct unused u = { 0 };
    for (size_t i = 0; i < j->found.n_layers; i++)
        u.experts += load_of(&j->found, side, i).unused;
    /* gate, up and down */
    double of_expert = 3 * (double)c->hidden_size * (double)c->moe_intermediate_size;
    u.share = (double)u.experts * of_expert / (double)m->weights->parameters;
    return u;
}

static bool append_unused(struct buffer *out, const struct job *j, const struct unused u[2],
                          struct error *err)
{
    const struct lockstep *l = &j->found;
    bool all = j->n_windows == j->options->n_windows;
    char tokens[64];
    snprintf(tokens, sizeof tokens, all ? "The %zu tokens" : "The first %zu tokens", l->tokens);
    return buffer_printf(
        out, err,
        "%s never reach %zu of A's %zu experts (%.2g %% of its weights) "
        "and %zu of B's (%.2g %%): %s",
        tokens, u[0].experts, l->n_layers * l->num_experts, 100 * u[0].share, u[1].experts,
        100 * u[1].share,
        all ? "nothing is said about those."
            : "nothing is said about those unless the rest of the text reaches them.");
}

static bool add_unused(cJSON *root, const struct job *j, struct error *err)
{
    const struct unused u[2] = { unused_of(j, 0), unused_of(j, 1) };
    struct buffer sentence = { 0 };
    json_add_size(root, "count", j->found.n_layers * j->found.num_experts);
    json_add_size(root, "unused_a", u[0].experts);
    json_add_double(root, "unused_share_a", u[0].share);
    json_add_size(root, "unused_b", u[1].experts);
    json_add_double(root, "unused_share_b", u[1].share);
    bool ok = u[0].experts + u[1].experts == 0
           || (append_unused(&sentence, j, u, err)
               && (cJSON_AddStringToObject(root, "verdict", sentence.data)
                   || error_set(err, "out of memory: the experts")));
    buffer_free(&sentence);
    return ok;
}

/* NULL on failure. */
static cJSON *experts_json(const struct job *j, struct error *err)
{
    const struct lockstep *l = &j->found;
    cJSON *root = cJSON_CreateObject();
    json_add_size(root, "tokens", l->tokens);
    json_add_size(root, "choices", l->top_k);
    if (!add_unused(root, j, err)) {
        cJSON_Delete(root);
        return NULL;
    }
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; i < l->n_layers; i++) {
        cJSON *o = cJSON_CreateObject();
        json_add_size(o, "layer", i);
        for (size_t side = 0; side < 2; side++)
            add_load(o, l, side, i);
        cJSON_AddItemToArray(list, o);
    }
    return root;
}

static bool add_to(cJSON *document, const struct job *j, struct error *err)
{
    const struct lockstep *l = &j->found;
    cJSON *experts = l->num_experts ? experts_json(j, err) : NULL;
    if (l->num_experts && !experts)
        return false;
    cJSON *cost = cJSON_CreateObject();
    json_add_size(cost, "windows", j->n_windows);
    json_add_size(cost, "tokens", l->tokens);
    json_add_size(cost, "passes", l->statistics.passes);
    json_add_size(cost, "bytes_read", l->statistics.bytes_read);
    bool ok = cJSON_AddItemToObject(document, "layers", layers_json(l))
           && (!experts || cJSON_AddItemToObject(document, "experts", experts))
           && cJSON_AddItemToObject(document, "layers_cost", cost);
    return ok || error_set(err, "out of memory: the comparison by layer");
}

/* ---- the table ------------------------------------------------------------------- */

#define EXPERTS_NAMED 12
#define SHARE_BYTES   24

/* "  5.12 %", "-" where there is no number. */
static void put_share(char out[SHARE_BYTES], double share)
{
    if (isfinite(share))
        format_text(out, SHARE_BYTES, "%.2f %%", 100 * share);
    else
        format_text(out, SHARE_BYTES, "-");
}

static bool add_layer(struct buffer *text, const struct lockstep *l, size_t i, struct error *err)
{
    const struct lockstep_layer *layer = &l->layers[i];
    double shares[] = { layer->residual_error, layer->output_error, 0, 0 };
    routing_shares(&shares[2], &shares[3], l, i);
    bool ok = buffer_printf(text, err, "  %5zu %-10s", i,
                            layer->type == FULL_ATTENTION ? "full" : "linear");
    for (size_t s = 0; ok && s < (l->num_experts ? 4 : 2); s++) {
        char share[SHARE_BYTES];
        put_share(share, shares[s]);
        ok = buffer_printf(text, err, "  %12s", share);
    }
    for (size_t side = 0; ok && l->num_experts && side < 2; side++) {
        struct load load = load_of(l, side, i);
        ok = buffer_printf(text, err, "  %8zu - %-*zu", load.least, side ? 0 : 8, load.most);
    }
    return ok && buffer_printf(text, err, "\n");
}

/* "  layer 7 of A   15" */
static bool list_unused(struct buffer *text, const struct lockstep *l, size_t side, size_t layer,
                        struct error *err)
{
    const size_t *tokens = l->load[side] + layer * l->num_experts;
    size_t unused = load_of(l, side, layer).unused, named = 0;
    bool ok = buffer_printf(text, err, "  layer %zu of %c:", layer, "AB"[side]);
    for (size_t e = 0; ok && e < l->num_experts && named < EXPERTS_NAMED; e++)
        if (tokens[e] == 0)
            ok = buffer_printf(text, err, "%s %zu", named++ ? "," : "", e);
    if (ok && unused > named)
        ok = buffer_printf(text, err, " and %zu more", unused - named);
    return ok && buffer_printf(text, err, "\n");
}

static bool add_table(struct buffer *text, const struct job *j, struct error *err)
{
    const struct lockstep *l = &j->found;
    bool unused = false;
    bool ok = buffer_printf(text, err, "\nby layer: relative error of B%s; %zu tokens of %zu "
                            "window%s\n  %5s %-10s  %12s  %12s",
                            l->num_experts ? ", routing, tokens of an expert" : "", l->tokens,
                            j->n_windows, j->n_windows == 1 ? "" : "s", "layer", "attention",
                            "residual", "own output")
           && (!l->num_experts
               || buffer_printf(text, err, "  %12s  %12s  %19s  %18s", "same experts", "changed",
                                "least - most in A ", "least - most in B"))
           && buffer_printf(text, err, "\n");
    for (size_t i = 0; ok && i < l->n_layers; i++)
        ok = add_layer(text, l, i, err);
    for (size_t i = 0; ok && l->num_experts && i < l->n_layers; i++)
        for (size_t side = 0; ok && side < 2; side++)
            if (load_of(l, side, i).unused) {
                ok = (unused || buffer_printf(text, err, "experts that these tokens never used\n"))
                  && list_unused(text, l, side, i, err);
                unused = true;
            }
    return ok;
}

bool layers_least(size_t *bytes, double *flop, const struct layers_options *o, struct error *err)
{
    struct layers_options unlimited = *o;
    unlimited.machine.progress = (struct surprisal_progress){ 0 };
    unlimited.machine.memory_bytes = SIZE_MAX;
    struct job j = { .options = &unlimited, .n_windows = windows_of(o) };
    struct engine_cost cost;
    bool ok = open_both(&j, err)
           && lockstep_cost(&cost, j.model[0].engine, j.model[1].engine, o->windows, j.n_windows,
                            err);
    *bytes = ok ? cost.least_bytes : 0;
    *flop = ok ? cost.flop : 0;
    model_close(&j.model[0]);
    model_close(&j.model[1]);
    return ok;
}

bool layers_compare(cJSON *document, struct buffer *text, const struct layers_options *o,
                    struct error *err)
{
    struct job j = { .options = o, .n_windows = windows_of(o) };
    bool ok = open_both(&j, err) && tell_plan(&j, err)
           && lockstep_run(&j.found, j.model[0].engine, j.model[1].engine, o->ids, o->n_ids,
                           o->windows, j.n_windows, err)
           && (!text || add_table(text, &j, err)) && add_to(document, &j, err);
    lockstep_free(&j.found);
    model_close(&j.model[0]);
    model_close(&j.model[1]);
    return ok;
}
