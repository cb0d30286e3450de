/* What mixers multiply within themselves: the delta rule of one head in each thread, and
 * attention's products of queries with keys and values. */
#include "bench/bench_work.h"
#include "engine/mixer_sample.h"
#include "model/attention.h"

#define DELTA_TOKENS ((size_t)512)

static bool delta(struct bench *b, const struct compute *cm, struct error *err)
{
    const struct config *c = b->config;
    const struct bench_figure f = {
        .kind = BENCH_MIXER, .name = "delta rule, a head", .type = COMPUTE_F32, .m = DELTA_TOKENS,
        .n = c->linear_value_head_dim, .k = c->linear_key_head_dim,
        .flop = (double)cm->n_threads * DELTA_TOKENS * mixer_sample_delta_flop(c),
    };
    struct mixer_sample s;
    bool ok = mixer_sample_delta_rule(&s, cm, DELTA_TOKENS, err)
           && bench_add(b, &f, mixer_sample_run_delta_rule, &s, err);
    mixer_sample_close(&s);
    return ok;
}

static bool attention(struct bench *b, const struct compute *cm, struct error *err)
{
    struct mixer_sample s;
    bool ok = mixer_sample_attention(&s, cm, err);
    const struct bench_figure f = {
        .kind = BENCH_MIXER, .name = "attention, a block of keys", .type = cm->type, .m = s.rows,
        .n = ATTENTION_KEYS, .k = b->config->head_dim,
        .flop = cm->n_threads * mixer_sample_attention_flop(&s),
    };
    ok = ok && bench_add(b, &f, mixer_sample_run_attention, &s, err);
    mixer_sample_close(&s);
    return ok;
}

bool bench_mixers(struct bench *b, struct error *err)
{
    struct compute cm = { .config = b->config, .kernels = b->kernels,
                          .n_threads = b->result->n_threads };
    bool ok = !bench_has(b->config, LINEAR_ATTENTION) || delta(b, &cm, err);
    for (int type = 0; ok && bench_has(b->config, FULL_ATTENTION) && type < COMPUTE_TYPES; type++) {
        cm.type = (enum compute_type)type;
        ok = attention(b, &cm, err);
    }
    return ok;
}

size_t bench_mixers_count(const struct config *c)
{
    return bench_has(c, LINEAR_ATTENTION) + (bench_has(c, FULL_ATTENTION) ? COMPUTE_TYPES : 0u);
}
