#include "generate/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/machine.h"
#include "base/utf8.h"
#include "decode/decoder.h"
#include "engine/engine.h"
#include "eval/protocol/input.h"
#include "eval/protocol/text.h"
#include "eval/score/changed_inputs.h"
#include "eval/score/model.h"
#include "formats/generation_config.h"
#include "generate/generate_json.h"

#define DEFAULT_TOKENS 16               /* as in vLLM */
#define MOST_STOPS 64
#define LONGEST_STOP ((size_t)1024)

/* The members borrow from one another, so the struct stays where it is. */
struct job {
    const struct surprisal_generate_options *o;
    struct model model;
    struct input_files inputs;
    struct generation_config publisher;     /* what the checkpoint's publisher wants */
    int32_t *prompt;                        /* owned [n_prompt] */
    size_t n_prompt;
    size_t context;                         /* of the model; 0: unknown */
    struct error no_text;                   /* why the model has no tokenizer */
    struct sampler_settings sampling;
    struct sampler_bias *bias;              /* owned */
    struct sampler sampler;
    struct sequence_state state;
    struct decoder *decoder;
    struct continuation answer;
    struct surprisal_generate_result *result;
};

/* ---- options ---------------------------------------------------------------- */

struct surprisal_generate_options generate_defaults(void)
{
    return (struct surprisal_generate_options){
        .sampling = { .repetition_penalty = NAN, .frequency_penalty = NAN,
                      .presence_penalty = NAN, .temperature = NAN, .min_p = NAN,
                      .top_k = SURPRISAL_TOP_K_DEFAULT, .top_p = NAN, .random_seed = true },
    };
}

static double first_of(double option, double publisher, double otherwise)
{
    return !isnan(option) ? option : !isnan(publisher) ? publisher : otherwise;
}

/* What the options say, else the publisher, else nobody wants anything. */
static struct sampler_settings settings_of(const struct surprisal_sampling *s,
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

bool generate_check(const struct surprisal_generate_options *o, struct error *err)
{
    const struct generation_config nothing = {
        .temperature = NAN, .top_p = NAN, .min_p = NAN, .presence_penalty = NAN,
        .frequency_penalty = NAN, .repetition_penalty = NAN, .top_k = NAN,
    };
    struct sampler_settings sampling = settings_of(&o->sampling, &nothing);
    bool ok = true;
    int sources = (o->prompt != NULL) + (o->text != NULL) + (o->ids != NULL);
    if (!o->checkpoint && !o->model)
        return error_set(err, "no checkpoint is given");
    if (sources != 1)
        return error_set(err, sources ? "more than one prompt is given" : "no prompt is given");
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
    return ok && model_source_check((struct model_source){ o->checkpoint, o->model }, err)
        && check_stops(o, err);
}

/* ---- the prompt --------------------------------------------------------------- */

/* Ids need no tokenizer; without one their answer has no text. */
static bool open_tokenizer(struct job *j, struct error *err)
{
    const struct surprisal_eval_options wanted = { .text = "", .tokenizer = j->o->tokenizer };
    if (model_open_tokenizer(&j->model, &wanted, &j->no_text))
        return true;
    if (j->o->ids && !j->o->tokenizer && !j->o->n_stop && !j->no_text.lacking)
        return true;
    *err = j->no_text;
    return false;
}

static bool encode_prompt(struct job *j, struct error *err)
{
    const struct surprisal_generate_options *o = j->o;
    struct buffer text = { 0 };
    bool ok = o->prompt ? buffer_append(&text, o->prompt, strlen(o->prompt), err)
                        : text_read(&text, o->text, SURPRISAL_JOIN_RAW, err);
    ok = ok && (tokenizer_encode(j->model.tokenizer, text.data, text.size, &j->prompt,
                                 &j->n_prompt, err)
                || error_prefix(err, "%s: ", o->text ? o->text : "the prompt"));
    buffer_free(&text);
    return ok;
}

static bool read_prompt(struct job *j, struct error *err)
{
    const struct surprisal_generate_options *o = j->o;
    const char *name = o->ids ? o->ids : o->text ? o->text : "the prompt";
    bool ok = o->ids ? input_read_ids(o->ids, &j->prompt, &j->n_prompt, NULL, err)
                     : encode_prompt(j, err);
    if (!ok)
        return false;
    j->context = j->model.checkpoint->config.max_position_embeddings;
    if (!j->n_prompt)
        return error_set(err, "%s: holds no tokens", name);
    if (j->context && j->n_prompt >= j->context)
        return error_set(err, "%s: %zu tokens, which leave no room for an answer in the context of "
                         "%zu of %s", name, j->n_prompt, j->context, j->model.checkpoint->path);
    return input_check_ids(j->prompt, j->n_prompt, name, j->model.checkpoint, err);
}

/* ---- opening ------------------------------------------------------------------- */

static bool open_files(struct job *j, struct error *err)
{
    const struct surprisal_generate_options *o = j->o;
    const struct model_source from = { o->checkpoint, o->model };
    bool ok = model_source_list(&j->inputs, from, err)
        && (!o->ids || input_files_add(&j->inputs, o->ids, err))
        && (!o->text || input_files_add(&j->inputs, o->text, err))
        && model_open(&j->model, from, &j->inputs, &o->machine.progress, err)
        && open_tokenizer(j, err) && generation_config_read(&j->publisher, j->model.checkpoint, err)
        && read_prompt(j, err);
    if (ok && !j->model.tokenizer)
        model_warn(&o->machine.progress, "the answer has no text: %s", j->no_text.message);
    return ok;
}

static bool make_settings(struct job *j, struct error *err)
{
    const struct surprisal_generate_options *o = j->o;
    size_t V = j->model.checkpoint->config.vocab_size;
    j->sampling = settings_of(&o->sampling, &j->publisher);
    if (o->sampling.random_seed
        && getrandom(&j->sampling.seed, sizeof j->sampling.seed, 0) < 0)
        return error_set(err, "no random seed can be had");
    j->bias = mem_array(o->n_bias, sizeof *j->bias, "biases", err);
    if (!j->bias)
        return false;
    for (size_t i = 0; i < o->n_bias; i++)
        j->bias[i] = (struct sampler_bias){ o->bias[i].id, o->bias[i].value };
    j->sampling.bias = j->bias;
    j->sampling.n_bias = o->n_bias;
    return sampler_settings_check(&j->sampling, V, err)
        && sampler_open(&j->sampler, &j->sampling, V, err);
}

/* The answer's limits, and the tokens that its sequence has to hold. */
static size_t set_limits(struct job *j)
{
    const struct surprisal_generate_options *o = j->o;
    struct continuation_limits l = {
        .tokenizer = j->model.tokenizer, .stop = o->stop, .n_stop = o->n_stop,
        .end_ids = j->publisher.end_ids, .n_end_ids = o->ignore_eos ? 0 : j->publisher.n_end_ids,
        .max_tokens = o->max_tokens ? o->max_tokens
                    : j->publisher.max_new_tokens ? j->publisher.max_new_tokens : DEFAULT_TOKENS,
        .at_most = SURPRISAL_FINISH_LENGTH,
    };
    size_t capacity;
    if (j->context && l.max_tokens > j->context - j->n_prompt) {
        l.max_tokens = j->context - j->n_prompt;
        l.at_most = SURPRISAL_FINISH_CONTEXT;
    }
    continuation_init(&j->answer, &l);
    return size_sum(&capacity, j->n_prompt, l.max_tokens) ? capacity : SIZE_MAX;
}

static bool open_decoder(struct job *j, size_t capacity, struct error *err)
{
    const struct surprisal_machine *machine = &j->o->machine;
    const struct config *c = &j->model.checkpoint->config;
    const struct engine_options engine = model_engine_options(machine, 0);
    struct decoder_options options = { .max_sequences = 1,
                                       .count_weights = machine->memory_bytes > 0 };
    if (!size_sum(&options.other_bytes, sequence_state_bytes(c, capacity),
                  sampler_bytes(c->vocab_size)))
        options.other_bytes = SIZE_MAX;
    if (!model_open_engine(&j->model, &engine, err))
        return false;
    j->decoder = decoder_open(j->model.engine, &options, err);
    return j->decoder && sequence_state_open(&j->state, c, capacity, err);
}

/* ---- tokens -------------------------------------------------------------------- */

static void give_token(struct job *j, const struct sampler_choice *choice)
{
    const struct surprisal_generate_options *o = j->o;
    struct surprisal_token token = { .id = choice ? choice->id : -1,
                                     .logprob = choice ? choice->logprob : 0 };
    token.text = continuation_news(&j->answer, &token.n_bytes);
    if (o->token && (choice || token.n_bytes) && !o->token(o->machine.progress.user, &token))
        continuation_stop(&j->answer, SURPRISAL_FINISH_INTERRUPTED);
}

/* Draws the token that follows; the state holds all before it, except that its own last one has
 * given the logits. */
static bool draw(struct job *j, float *logits, struct error *err)
{
    struct sampler_choice choice;
    if (!sampler_draw(&j->sampler, &choice, logits, j->n_prompt + j->answer.n, err)
        || !continuation_add(&j->answer, &choice, err))
        return false;
    sampler_add(&j->sampler, choice.id);
    give_token(j, &choice);
    return true;
}

static bool draw_first(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    (void)row, (void)n;
    struct job *j = user;
    return draw(j, logits, err);
}

/* An interruption ends an answer that has begun. */
static bool step(struct job *j, struct error *err)
{
    struct sequence_state *state = &j->state;
    float *logits;
    if (decoder_step(j->decoder, &state, &j->answer.ids[j->answer.n - 1], 1, &logits, err))
        return draw(j, logits, err);
    if (!err->interrupted)
        return false;
    continuation_stop(&j->answer, SURPRISAL_FINISH_INTERRUPTED);
    return true;
}

static bool run_tokens(struct job *j, struct error *err)
{
    const struct decoder_sink sink = { draw_first, j };
    double begun = machine_seconds();
    sampler_add_prompt(&j->sampler, j->prompt, j->n_prompt);
    if (!decoder_prefill(j->decoder, &j->state, j->prompt, j->n_prompt, j->n_prompt - 1, &sink,
                         err))
        return false;
    double first = machine_seconds();
    while (!j->answer.finished)
        if (!step(j, err))
            return false;
    j->result->prefill_seconds = first - begun;
    j->result->decode_seconds = machine_seconds() - first;
    if (!continuation_end(&j->answer, err))
        return false;
    give_token(j, NULL);
    return changed_inputs_refuse(&j->inputs, NULL, &j->o->machine.progress, err);
}

/* ---- the result ------------------------------------------------------------------ */

static bool fill_result(struct job *j, struct error *err)
{
    struct surprisal_generate_result *r = j->result;
    struct continuation *a = &j->answer;
    r->prompt_tokens = j->n_prompt;
    r->tokens = a->n;
    r->finish = a->finish;
    r->n_bytes = a->text.text.size;
    r->text = j->model.tokenizer ? a->text.text.data : NULL;
    const struct generate_json g = { &j->model, &j->o->machine, &j->sampling, a, r, j->context };
    r->json = generate_json(&g);
    if (!r->json) {
        r->text = NULL;
        return error_set(err, "out of memory: the answer as JSON");
    }
    /* The result owns them now. */
    if (r->text)
        a->text.text.data = NULL;
    r->ids = a->ids;
    r->logprobs = a->logprobs;
    a->ids = NULL;
    a->logprobs = NULL;
    return true;
}

static void close_job(struct job *j)
{
    continuation_free(&j->answer);
    decoder_close(j->decoder);
    sequence_state_close(&j->state);
    sampler_close(&j->sampler);
    free(j->bias);
    free(j->prompt);
    generation_config_free(&j->publisher);
    input_files_free(&j->inputs);
    model_close(&j->model);
}

bool generate_run(const struct surprisal_generate_options *o,
                  struct surprisal_generate_result *result, struct error *err)
{
    struct job j = { .o = o, .result = result };
    *result = (struct surprisal_generate_result){ 0 };
    bool ok = generate_check(o, err) && open_files(&j, err) && make_settings(&j, err)
           && open_decoder(&j, set_limits(&j), err) && run_tokens(&j, err) && fill_result(&j, err);
    close_job(&j);
    return ok;
}

void generate_result_free(struct surprisal_generate_result *result)
{
    free(result->ids);
    free(result->logprobs);
    free(result->text);
    free(result->json);
    *result = (struct surprisal_generate_result){ 0 };
}
