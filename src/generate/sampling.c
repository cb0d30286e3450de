#include "generate/sampling.h"

#include <math.h>

static double first_of(double option, double publisher, double otherwise)
{
    return !isnan(option) ? option : !isnan(publisher) ? publisher : otherwise;
}

struct sampler_settings sampling_settings(const struct surprisal_sampling *s,
                                          const struct generation_config *g)
{
    double top_k = first_of(s->top_k == SURPRISAL_TOP_K_DEFAULT ? NAN : (double)s->top_k,
                            g->top_k, 0);
    return (struct sampler_settings){
        .temperature = first_of(s->temperature, g->temperature, 1),
        .top_k = top_k > 0 ? (size_t)top_k : 0,
        .top_p = first_of(s->top_p, g->top_p, 1),
        .min_p = first_of(s->min_p, g->min_p, 0),
        .presence_penalty = first_of(s->presence_penalty, g->presence_penalty, 0),
        .frequency_penalty = first_of(s->frequency_penalty, g->frequency_penalty, 0),
        .repetition_penalty = first_of(s->repetition_penalty, g->repetition_penalty, 1),
        .seed = s->seed,
    };
}

bool sampling_check(const struct surprisal_generate_options *o, struct error *err)
{
    const struct generation_config nothing = {
        .temperature = NAN, .top_p = NAN, .min_p = NAN, .presence_penalty = NAN,
        .frequency_penalty = NAN, .repetition_penalty = NAN, .top_k = NAN,
    };
    struct sampler_settings sampling = sampling_settings(&o->sampling, &nothing);
    bool ok = true;
    if (o->sampling.top_k < -1 && o->sampling.top_k != SURPRISAL_TOP_K_DEFAULT)
        return error_set(err, "top_k is out of range, expected -1 or more");
    for (size_t i = 0; ok && i <= o->n_bias; i++) {
        /* One at a time, in the sampler's form; without any, the rest of the settings. */
        struct sampler_bias one = { 0 };
        if (i < o->n_bias)
            one = (struct sampler_bias){ o->bias[i].id, o->bias[i].value };
        sampling.bias = &one;
        sampling.n_bias = 1;
        ok = sampler_settings_check(&sampling, INT32_MAX, err);
    }
    return ok;
}
