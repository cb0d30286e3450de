#include "eval/layers.h"

#include <stdio.h>

#include "engine/lockstep.h"
#include "eval/opened.h"

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
    struct opened opened[2];
    struct bar bar;
    struct side sides[2];
    struct lockstep found;
};

static bool open_both(struct job *j, struct error *err)
{
    const struct layers_options *o = j->options;
    const char *const paths[] = { o->a, o->b };
    for (int i = 0; i < 2; i++) {
        j->sides[i] = (struct side){ &j->bar, i };
        const struct engine_options engine = {
            .n_threads = o->threads, .memory_bytes = o->memory_bytes, .isa = o->isa,
            .compute = o->compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
            .progress = { .report = report, .user = &j->sides[i] },
        };
        if (!opened_checkpoint(&j->opened[i], paths[i], &o->progress, err)
            || !opened_engine(&j->opened[i], &engine, err))
            return false;
    }
    return true;
}

static bool tell_plan(struct job *j, struct error *err)
{
    const struct layers_options *o = j->options;
    const struct opened *a = &j->opened[0], *b = &j->opened[1];
    struct engine_cost cost;
    if (!lockstep_cost(&cost, a->engine, b->engine, o->windows, j->n_windows, err))
        return false;
    struct surprisal_plan plan = {
        .windows = j->n_windows, .passes = cost.passes, .bytes_read = cost.bytes_read,
        .memory_bytes = cost.memory_bytes + b->held_bytes, .flop = cost.flop,
        .seconds = o->plan ? engine_seconds(a->engine, cost.flop) : 0,
    };
    for (size_t i = 0; i < j->n_windows; i++)           /* a window's last token is a target only */
        plan.model_tokens += 3 * (o->windows[i].end - o->windows[i].begin - 1);     /* A, B, B on A's */
    j->bar = (struct bar){ .progress = o->progress, .total = (double)plan.model_tokens };
    if (o->plan)
        o->plan(o->progress.user, &plan);
    return true;
}

/* ---- the document ---------------------------------------------------------------- */

static cJSON *layers_json(const struct lockstep *l)
{
    cJSON *list = cJSON_CreateArray();
    double tokens = (double)l->tokens, choices = tokens * (double)l->top_k;
    for (size_t i = 0; i < l->n_layers; i++) {
        const struct lockstep_layer *layer = &l->layers[i];
        cJSON *o = cJSON_CreateObject();
        json_add_size(o, "layer", i);
        cJSON_AddStringToObject(o, "type", layer->type == FULL_ATTENTION ? "full_attention"
                                                                         : "linear_attention");
        json_add_double(o, "residual_error", layer->residual_error);
        json_add_double(o, "output_error", layer->output_error);
        /* No experts, no tokens: 0 / 0 is null. */
        json_add_double(o, "same_experts", (double)layer->same_sets / (l->top_k ? tokens : 0));
        json_add_double(o, "changed_experts", (double)layer->changed_experts / choices);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static void add_load(cJSON *o, const char *const names[3], const size_t *load, size_t n)
{
    size_t unused = 0, least = SIZE_MAX, most = 0;
    for (size_t e = 0; e < n; e++) {
        unused += load[e] == 0;
        least = size_min(least, load[e]);
        most = size_max(most, load[e]);
    }
    const size_t figures[] = { unused, least, most };
    for (size_t i = 0; i < 3; i++)
        json_add_size(o, names[i], figures[i]);
}

static cJSON *experts_json(const struct lockstep *l)
{
    static const char *const names[2][3] = { { "unused_a", "least_a", "most_a" },
                                             { "unused_b", "least_b", "most_b" } };
    cJSON *root = cJSON_CreateObject();
    json_add_size(root, "tokens", l->tokens);
    json_add_size(root, "choices", l->top_k);
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; i < l->n_layers; i++) {
        cJSON *o = cJSON_CreateObject();
        json_add_size(o, "layer", i);
        for (size_t side = 0; side < 2; side++)
            add_load(o, names[side], l->load[side] + i * l->num_experts, l->num_experts);
        cJSON_AddItemToArray(list, o);
    }
    return root;
}

static bool add_to(cJSON *document, const struct job *j, struct error *err)
{
    const struct lockstep *l = &j->found;
    cJSON *cost = cJSON_CreateObject();
    json_add_size(cost, "windows", j->n_windows);
    json_add_size(cost, "tokens", l->tokens);
    json_add_size(cost, "passes", l->statistics.passes);
    json_add_size(cost, "bytes_read", l->statistics.bytes_read);
    bool ok = cJSON_AddItemToObject(document, "layers", layers_json(l))
           && (!l->num_experts || cJSON_AddItemToObject(document, "experts", experts_json(l)))
           && cJSON_AddItemToObject(document, "layers_cost", cost);
    return ok || error_set(err, "out of memory: the comparison by layer");
}

bool layers_compare(cJSON *document, const struct layers_options *o, struct error *err)
{
    struct job j = { .options = o, .n_windows = o->n_windows };
    if (o->max_windows)
        j.n_windows = size_min(o->max_windows, o->n_windows);
    bool ok = open_both(&j, err) && tell_plan(&j, err)
           && lockstep_run(&j.found, j.opened[0].engine, j.opened[1].engine, o->ids, o->n_ids,
                           o->windows, j.n_windows, err)
           && add_to(document, &j, err);
    lockstep_free(&j.found);
    opened_close(&j.opened[0]);
    opened_close(&j.opened[1]);
    return ok;
}
