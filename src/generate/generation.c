#include "generate/generation.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/machine.h"
#include "base/utf8.h"
#include "engine/pass.h"
#include "eval/protocol/input.h"
#include "eval/score/changed_inputs.h"
#include "generate/sampling.h"

#define MOST_STOPS 64
#define LONGEST_STOP ((size_t)1024)

/* ---- opening ------------------------------------------------------------------- */

static bool check_stops(const struct surprisal_generate_options *o, struct error *err)
{
    if (o->n_stop > MOST_STOPS)
        return error_set(err, "%zu stop texts, expected at most %d", o->n_stop, MOST_STOPS);
    for (size_t i = 0; i < o->n_stop; i++) {
        size_t n = strlen(o->stop[i]);
        if (n == 0 || n > LONGEST_STOP)
            return error_set(err, "a stop text has %zu bytes, expected 1 to %zu", n, LONGEST_STOP);
        if (!utf8_valid(o->stop[i], n, NULL))
            return error_set(err, "a stop text is not UTF-8");
    }
    return true;
}

bool generation_check(const struct surprisal_generate_options *o, struct error *err)
{
    if (!o->checkpoint && !o->model)
        return error_set(err, "no checkpoint is given");
    if (o->mtp > SURPRISAL_MTP_MOST)
        return error_set(err, "more than %d drafts of the MTP layer", SURPRISAL_MTP_MOST);
    return sampling_check(o, err)
        && model_source_check((struct model_source){ o->checkpoint, o->model }, err)
        && check_stops(o, err);
}

/* Ids need no tokenizer; without one their answer has no text. */
static bool open_tokenizer(struct generation *g, struct error *err)
{
    const struct surprisal_generate_options *o = g->o;
    const struct surprisal_eval_options wanted = { .text = "", .tokenizer = o->tokenizer };
    if (model_open_tokenizer(&g->model, &wanted, &g->no_text))
        return true;
    if (o->ids && !o->tokenizer && !o->n_stop && !g->no_text.lacking)
        return true;
    *err = g->no_text;
    return false;
}

static bool make_settings(struct generation *g, struct error *err)
{
    const struct surprisal_generate_options *o = g->o;
    g->sampling = sampling_settings(&o->sampling, &g->publisher);
    g->bias = mem_array(o->n_bias, sizeof *g->bias, "biases", err);
    if (!g->bias)
        return false;
    for (size_t i = 0; i < o->n_bias; i++)
        g->bias[i] = (struct sampler_bias){ o->bias[i].id, o->bias[i].value };
    g->sampling.bias = g->bias;
    g->sampling.n_bias = o->n_bias;
    return sampler_settings_check(&g->sampling, g->model.checkpoint->config.vocab_size, err);
}

bool generation_open(struct generation *g, const struct surprisal_generate_options *o,
                     struct error *err)
{
    const struct model_source from = { o->checkpoint, o->model };
    g->o = o;
    bool ok = model_source_list(&g->inputs, from, err)
        && (!o->ids || input_files_add(&g->inputs, o->ids, err))
        && (!o->text || input_files_add(&g->inputs, o->text, err))
        && model_open(&g->model, from, &g->inputs, &o->machine.progress, err)
        && drafting_open(&g->drafting, g->model.checkpoint, o->mtp, err)
        && open_tokenizer(g, err)
        && generation_config_read(&g->publisher, g->model.checkpoint, err);
    if (!ok)
        return false;
    g->context = g->model.checkpoint->config.max_position_embeddings;
    return make_settings(g, err);
}

void generation_close(struct generation *g)
{
    decoder_close(g->decoder);
    drafting_close(&g->drafting);
    sequence_state_close(&g->state);
    sequence_state_pool_close(&g->pool);
    snapshot_close(&g->snapshot);
    free(g->kept);
    free(g->bias);
    generation_config_free(&g->publisher);
    input_files_free(&g->inputs);
    model_close(&g->model);
}

/* ---- memory -------------------------------------------------------------------- */

/* BF16 holds what BF16 compute makes of keys and values; in f32 it would round them. */
enum dtype generation_kv_dtype(const struct surprisal_generate_options *o)
{
    bool bf16 = o->kv_cache == SURPRISAL_KV_CACHE_DEFAULT
              ? o->machine.compute == SURPRISAL_COMPUTE_BF16
              : o->kv_cache == SURPRISAL_KV_CACHE_BF16;
    return bf16 ? DTYPE_BF16 : DTYPE_F32;
}

/* Of states and sampler, keys and values apart. */
static size_t state_bytes(const struct config *c, size_t capacity, bool with_snapshot)
{
    size_t bytes = size_total(sequence_state_bytes(c, capacity), sampler_bytes(c->vocab_size));
    return size_total(bytes, with_snapshot ? snapshot_bytes(c) : 0);
}

static void tell_plan(struct generation *g, size_t keys, size_t states)
{
    struct surprisal_generate_plan *p = &g->plan;
    *p = (struct surprisal_generate_plan){
        .weight_bytes = g->model.engine->parts.bytes
                      + drafting_weight_bytes(&g->drafting, g->model.engine),
        .kv_cache_bytes = keys,
        .kv_cache_bf16 = generation_kv_dtype(g->o) == DTYPE_BF16,
        .buffer_bytes = states + decoder_bytes(g->decoder),
    };
    p->weight_memory_bytes = decoder_weight_bytes(g->decoder)
                           + drafting_weight_bytes(&g->drafting, g->model.engine);
    p->memory_bytes = p->weight_memory_bytes + keys + p->buffer_bytes + g->model.held_bytes;
    if (g->o->plan)
        g->o->plan(g->o->machine.progress.user, p);
}

bool generation_open_engine(struct generation *g, struct error *err)
{
    struct engine_options options = model_engine_options(&g->o->machine, 0);
    options.mtp = g->drafting.n_drafts ? &g->drafting.mtp : NULL;
    return model_open_engine(&g->model, &options, err);
}

/* others: what the decoder's budget must leave room for, the weights of its layers apart. */
static bool open_decoder(struct generation *g, size_t others, struct error *err)
{
    const struct decoder_options options = {
        .max_sequences = 1, .max_rows = 1 + g->drafting.n_drafts,
        .observer = drafting_observer(&g->drafting), .other_bytes = others,
        .count_weights = g->o->machine.memory_bytes > 0,
        .shares_vocabulary = g->drafting.n_drafts > 0,
    };
    g->decoder = decoder_open(g->model.engine, &options, err);
    return g->decoder != NULL;
}

bool generation_reserve(struct generation *g, size_t capacity, bool with_snapshot,
                        struct error *err)
{
    const struct config *c = &g->model.checkpoint->config;
    enum dtype kv = generation_kv_dtype(g->o);
    size_t keys = sequence_state_pool_bytes(c, kv, capacity);
    size_t states = state_bytes(c, capacity, with_snapshot);
    if (with_snapshot)
        g->turn_id = tokenizer_token_id(g->model.tokenizer, "<|im_start|>");
    if (!generation_open_engine(g, err))
        return false;
    size_t weights = g->o->machine.memory_bytes
                   ? drafting_weight_bytes(&g->drafting, g->model.engine) : 0;
    states = size_total(states, drafting_bytes(&g->drafting, g->model.engine, kv, capacity));
    size_t others = size_total(size_total(keys, states), weights);
    if (!open_decoder(g, others, err) || !sequence_state_pool_open(&g->pool, c, kv, capacity, err)
        || !sequence_state_open(&g->state, c, &g->pool, capacity, err)
        || !drafting_reserve(&g->drafting, g->model.engine, kv, capacity, &g->state, err)
        || (with_snapshot && !snapshot_open(&g->snapshot, c, err)))
        return false;
    tell_plan(g, keys, states);
    return true;
}

/* ---- the prompt ------------------------------------------------------------------ */

bool generation_check_prompt(const struct generation *g, const char *name, const int32_t *ids,
                             size_t n, struct error *err)
{
    const struct checkpoint *ck = g->model.checkpoint;
    if (!n)
        return error_set(err, "%s: holds no tokens", name);
    if (g->context && n >= g->context)
        return error_set(err, "%s: %zu tokens, which leave no room for an answer in the context of "
                         "%zu of %s", name, n, g->context, ck->path);
    return input_check_ids(ids, n, name, ck, err);
}

/* Goes back to the snapshot if the prompt begins with its tokens, else to nothing. */
static void go_back(struct generation *g, struct turn *t)
{
    const struct config *c = &g->model.checkpoint->config;
    size_t n = g->snapshot.n_past;
    if (n && n < t->n_prompt && memcmp(g->kept, t->prompt, n * sizeof *g->kept) == 0) {
        snapshot_restore(&g->snapshot, &g->state, c);
        drafting_go_back(&g->drafting, n);
        t->n_cached = n;
        return;
    }
    sequence_state_clear(&g->state, c);
    drafting_go_back(&g->drafting, 0);
    g->snapshot.n_past = 0;
}

/* Where a snapshot is worth taking: 0 if nowhere. */
static size_t snapshot_place(const struct generation *g, const struct turn *t)
{
    size_t end = t->n_prompt - 1;
    if (!g->snapshot.delta_net)
        return 0;
    while (g->turn_id >= 0 && end > 0 && t->prompt[end] != g->turn_id)
        end--;
    return end / DELTA_CHUNK * DELTA_CHUNK;
}

static bool keep(struct generation *g, const struct turn *t, struct error *err)
{
    size_t n = g->state.n_past;
    if (!mem_grow(&g->kept, &g->kept_capacity, n, sizeof *g->kept, "the tokens of a snapshot",
                  err))
        return false;
    memcpy(g->kept, t->prompt, n * sizeof *g->kept);
    snapshot_take(&g->snapshot, &g->state, &g->model.checkpoint->config);
    drafting_keep(&g->drafting);
    return true;
}

static bool prefill(struct generation *g, struct turn *t, const struct decoder_sink *sink,
                    struct error *err)
{
    go_back(g, t);
    size_t begin = t->n_cached, place = snapshot_place(g, t);
    if (place > begin) {
        if (!decoder_prefill(g->decoder, &g->state, t->prompt + begin, place - begin,
                             place - begin, sink, err)
            || !keep(g, t, err))
            return false;
        begin = place;
    }
    size_t n = t->n_prompt - begin;
    return decoder_prefill(g->decoder, &g->state, t->prompt + begin, n, n - 1, sink, err);
}

/* ---- tokens -------------------------------------------------------------------- */

void generation_begin(const struct generation *g, struct turn *t, size_t otherwise)
{
    const struct surprisal_generate_options *o = g->o;
    struct continuation_limits l = {
        .tokenizer = g->model.tokenizer, .stop = o->stop, .n_stop = o->n_stop,
        .end_ids = g->publisher.end_ids, .n_end_ids = o->ignore_eos ? 0 : g->publisher.n_end_ids,
        .max_tokens = o->max_tokens ? o->max_tokens
                    : g->publisher.max_new_tokens ? g->publisher.max_new_tokens : otherwise,
        .at_most = SURPRISAL_FINISH_LENGTH,
    };
    if (g->context && l.max_tokens > g->context - t->n_prompt) {
        l.max_tokens = g->context - t->n_prompt;
        l.at_most = SURPRISAL_FINISH_CONTEXT;
    }
    continuation_init(&t->answer, &l);
}

/* A turn at work. */
struct work {
    struct generation *g;
    struct turn *t;
    struct sampler sampler;
};

static void give_token(struct work *w, const struct sampler_choice *choice)
{
    const struct surprisal_generate_options *o = w->g->o;
    struct continuation *answer = &w->t->answer;
    struct surprisal_token token = { .id = choice ? choice->id : -1,
                                     .logprob = choice ? choice->logprob : 0 };
    token.text = continuation_news(answer, &token.n_bytes);
    bool go_on = !o->token || (!choice && !token.n_bytes)
              || o->token(o->machine.progress.user, &token);
    if (!go_on || (w->t->reader && w->t->reader->stopped))
        continuation_stop(answer, SURPRISAL_FINISH_INTERRUPTED);
}

/* Draws the token that follows; the state holds all before it, except that its own last one has
 * given the logits. */
static bool draw(struct work *w, float *logits, struct error *err)
{
    struct sampler_choice choice;
    struct turn *t = w->t;
    size_t size = t->answer.text.text.size;
    if (!sampler_draw(&w->sampler, &choice, logits, t->n_prompt + t->answer.n, err)
        || !continuation_add(&t->answer, &choice, err)
        || (t->reader && !answer_reader_add(t->reader, &t->answer, choice.id, size, err)))
        return false;
    sampler_add(&w->sampler, choice.id);
    give_token(w, &choice);
    return true;
}

static bool draw_first(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)row, (void)n;
    return draw(user, logits, err);
}

/* Draws from the rows of a step [n + 1, V], as long as what is drawn are the n drafts; takes back
 * the rows after that. */
static bool draw_rows(struct work *w, const int32_t *drafts, size_t n, float *logits,
                      const float *hidden, struct error *err)
{
    struct generation *g = w->g;
    struct continuation *answer = &w->t->answer;
    size_t V = g->model.checkpoint->config.vocab_size, row = 0;
    bool drafted;
    do {
        if (!draw(w, logits + row * V, err))
            return false;
        drafted = row < n && answer->ids[answer->n - 1] == drafts[row];
        row++;
    } while (drafted && !answer->finished);
    sequence_state_take_back(&g->state, n + 1 - row);
    drafting_add(&g->drafting, answer, hidden, row, n, drafted);
    return true;
}

/* An interruption ends an answer that has begun. */
static bool step(struct work *w, struct error *err)
{
    struct generation *g = w->g;
    struct continuation *answer = &w->t->answer;
    int32_t ids[1 + DRAFTER_MOST] = { answer->ids[answer->n - 1] };
    const float *hidden;
    float *logits;
    size_t n;
    struct decoder_rows rows = { .state = &g->state, .ids = ids };
    if (drafting_next(&g->drafting, answer, ids + 1, &n, err)) {
        rows.n = 1 + n;
        if (decoder_step_rows(g->decoder, &rows, 1, &logits, &hidden, err))
            return draw_rows(w, ids + 1, n, logits, hidden, err);
    }
    if (!err->interrupted)
        return false;
    continuation_stop(answer, SURPRISAL_FINISH_INTERRUPTED);
    return true;
}

static bool run(struct work *w, struct error *err)
{
    struct turn *t = w->t;
    const struct decoder_sink sink = { draw_first, w };
    double begun = machine_seconds();
    sampler_add_prompt(&w->sampler, t->prompt, t->n_prompt);
    drafting_begin(&w->g->drafting);
    if (!prefill(w->g, t, &sink, err))
        return false;
    double first = machine_seconds();
    while (!t->answer.finished)
        if (!step(w, err))
            return false;
    t->prefill_seconds = first - begun;
    t->decode_seconds = machine_seconds() - first;
    if (!continuation_end(&t->answer, err)
        || (t->reader && !answer_reader_end(t->reader, &t->answer, err)))
        return false;
    give_token(w, NULL);
    return changed_inputs_refuse(&w->g->inputs, NULL, &w->g->o->machine.progress, err);
}

bool generation_run(struct generation *g, struct turn *t, struct error *err)
{
    struct work w = { .g = g, .t = t };
    struct sampler_settings sampling = g->sampling;
    if (g->o->sampling.random_seed
        && getrandom(&sampling.seed, sizeof sampling.seed, 0) < 0)
        return error_set(err, "no random seed can be had");
    t->seed = sampling.seed;
    bool ok = sampler_open(&w.sampler, &sampling, g->model.checkpoint->config.vocab_size, err)
           && run(&w, err);
    sampler_close(&w.sampler);
    return ok;
}
