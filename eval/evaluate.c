#include "eval/evaluate.h"

#include <assert.h>
#include <stdlib.h>

#include "base/machine.h"
#include "eval/input.h"
#include "eval/opened.h"
#include "eval/run_folder.h"
#include "eval/run_state.h"
#include "eval/scoring.h"
#include "eval/sequence.h"
#include "eval/statistics.h"
#include "eval/summary.h"

/* ---- the job ---------------------------------------------------------------- */

struct job {
    const struct surprisal_eval_options *options;
    struct opened opened;
    struct tokenizer *tokenizer;        /* NULL when none is needed */
    struct input input;
    struct sequence sequence;
    struct run_folder folder;
    struct scoring scoring;
    struct weights_hash *hash;
    struct summary summary;
    /* Saving and resuming: */
    struct buffer settings;
    struct run_state state;             /* that it was resumed from */
    uint8_t *known;                     /* digests of tensors, to be saved */
    double started, saved, save_seconds;
};

static void job_close(struct job *j)
{
    weights_hash_close(j->hash);
    run_state_close(&j->state);
    buffer_free(&j->settings);
    free(j->known);
    scoring_free(&j->scoring);
    run_folder_abandon(&j->folder);
    sequence_free(&j->sequence);
    input_free(&j->input);
    if (j->tokenizer)
        tokenizer_close(j->tokenizer);
    opened_close(&j->opened);
}

static bool open_tokenizer(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    if (!o->text && !o->tokenizer)
        return true;
    j->tokenizer = tokenizer_open(o->tokenizer ? o->tokenizer : o->checkpoint, err);
    return j->tokenizer != NULL;
}

/* Rolling's prefix; see surprisal.h, prefix_id.  -1 for the other protocols. */
static bool find_prefix(const struct job *j, int32_t *prefix, struct error *err)
{
    const struct config *c = &j->opened.checkpoint.config;
    *prefix = -1;
    if (j->options->protocol != SURPRISAL_ROLLING)
        return true;
    int64_t id = j->options->prefix_id;
    if (id < 0 && j->tokenizer)
        id = tokenizer_token_id(j->tokenizer, "<|endoftext|>");
    if (id < 0)
        id = c->bos_token_id >= 0 ? c->bos_token_id : c->eos_token_id;
    if (id < 0)
        return error_set(err, "%s: no prefix token for rolling: neither a tokenizer with "
                         "<|endoftext|> nor bos_token_id or eos_token_id in the config",
                         j->opened.checkpoint.path);
    if ((uint64_t)id >= c->vocab_size)
        return error_set(err, "%s: the prefix token has id %lld, but the vocabulary has %zu",
                         j->opened.checkpoint.path, (long long)id, c->vocab_size);
    *prefix = (int32_t)id;
    return true;
}

static void warn(const struct job *j)
{
    const struct surprisal_eval_options *o = j->options;
    size_t most = j->opened.checkpoint.config.max_position_embeddings;
    if (most && o->context > most)
        opened_warn(&o->progress, "%s: context %zu is longer than max_position_embeddings %zu",
                    o->checkpoint, o->context, most);
    if (j->input.has_crlf)
        opened_warn(&o->progress, "%s: lines end in CR LF, which changes the tokens and the result",
                    j->input.path);
}

/* The state to go on from, if there is one; before anything in its folder is touched. */
static bool find_state(struct job *j, struct error *err)
{
    const struct summary *s = &j->summary;
    size_t n = s->weights->n_tensors, D = s->checkpoint->config.hidden_size;
    j->known = mem_array(n, WEIGHTS_KNOWN_BYTES, "digests", err);
    return j->known && summary_settings(s, &j->settings, err)
        && (!run_folder_has_state(&j->folder)
            || run_state_load(&j->state, j->folder.state, j->settings.data, n, D, err));
}

/* Everything that can be known before the long work. */
static bool prepare(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    int32_t prefix;
    if ((o->out && !run_folder_begin(&j->folder, o->out, o->resume, err))
        || !opened_checkpoint(&j->opened, o->checkpoint, &o->progress, err)
        || !open_tokenizer(j, err)
        || !input_read(&j->input, o, j->tokenizer, &j->opened.checkpoint, err)
        || !find_prefix(j, &prefix, err)
        || !sequence_make(&j->sequence, &j->input, o, prefix, err))
        return false;
    warn(j);
    j->summary = (struct summary){
        .options = o, .checkpoint = &j->opened.checkpoint, .weights = &j->opened.weights,
        .input = &j->input, .tokenizer = j->tokenizer, .prefix_id = prefix,
        .windows = j->sequence.windows.n, .scored = windows_scored(&j->sequence.windows),
    };
    size_t D = j->opened.checkpoint.config.hidden_size;
    const struct engine_options engine = {
        .n_threads = o->threads, .memory_bytes = o->memory_bytes, .isa = o->isa,
        .compute = o->compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
        .progress = opened_progress(&o->progress),
    };
    if (!opened_engine(&j->opened, &engine, err))
        return false;
    j->summary.isa = engine_isa(j->opened.engine);
    j->summary.threads = engine_threads(j->opened.engine);
    return (!o->out
            || (find_state(j, err)
                && run_folder_tokens(&j->folder, j->summary.scored, o->hidden, D, err)))
        && scoring_begin(&j->scoring, &j->sequence, o->out ? &j->folder : NULL, err);
}

static bool tell_plan(const struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    const struct windows *w = &j->sequence.windows;
    struct engine_cost cost;
    if (!engine_cost(j->opened.engine, w->list, w->n, &cost, err))
        return false;
    const struct surprisal_plan plan = {
        .windows = j->summary.windows, .tokens = j->input.n_ids, .scored = j->summary.scored,
        .model_tokens = windows_model_tokens(w), .passes = cost.passes,
        .bytes_read = cost.bytes_read, .memory_bytes = cost.memory_bytes + j->opened.held_bytes,
        .flop = cost.flop, .state_bytes = o->out ? cost.state_bytes : 0,
        .seconds = o->plan ? engine_seconds(j->opened.engine, cost.flop) : 0,
    };
    if (o->plan)
        o->plan(o->progress.user, &plan);
    return true;
}

/* ---- saving and resuming ------------------------------------------------------ */

/* Saving may cost a fiftieth of the time. */
#define SAVE_SHARE 50.0
#define FIRST_SAVE_RATE 1e9             /* bytes a second, until one has been measured */

static double seconds_so_far(const struct job *j)
{
    return j->state.seconds + machine_seconds() - j->started;
}

static bool save(struct job *j, const struct engine_state *state, struct error *err)
{
    weights_hash_known(j->hash, j->known);
    return run_folder_sync(&j->folder, err)
        && run_state_save(j->folder.state, j->settings.data, state, seconds_so_far(j), j->known,
                          j->opened.weights.n_tensors, j->opened.checkpoint.config.hidden_size, err);
}

/* A disk that is full costs the state, not the run: the older one stands. */
static bool offer(void *user, const struct engine_state *state, bool now, struct error *err)
{
    struct job *j = user;
    (void)err;
    size_t bytes = state->n_rows * j->opened.checkpoint.config.hidden_size * sizeof(float);
    double begin = machine_seconds(), cost = j->save_seconds;
    if (cost <= 0)
        cost = 0.005 + (double)bytes / FIRST_SAVE_RATE;
    if (!now && begin - j->saved < SAVE_SHARE * cost)
        return true;
    struct error why = { 0 };
    if (!save(j, state, &why))
        opened_warn(&j->options->progress, "the state is not saved: %s", why.message);
    j->saved = machine_seconds();
    j->save_seconds = j->saved - begin;
    return true;
}

static bool score(struct job *j, struct error *err)
{
    struct summary *s = &j->summary;
    struct engine *e = j->opened.engine;
    const struct windows *w = &j->sequence.windows;
    const struct progress progress = opened_progress(&j->options->progress);
    bool saves = j->options->out != NULL;
    bool resumed = j->state.engine.x != NULL;
    j->hash = weights_hash_open(s->checkpoint, s->weights, err);
    if (!j->hash || !tell_plan(j, err))
        return false;
    if (resumed && !(weights_hash_rest(j->hash, s->threads, &progress, err)
                     && weights_hash_check(j->hash, j->state.known, err)
                     && scoring_replay(&j->scoring, j->state.engine.row, err)))
        return false;
    const struct engine_job job = {
        .ids = j->sequence.ids, .n_ids = j->sequence.n_ids, .windows = w->list, .n_windows = w->n,
        .sink = { scoring_take, &j->scoring }, .hash = resumed ? NULL : j->hash,
        .saver = { saves ? offer : NULL, j }, .resume = resumed ? &j->state.engine : NULL,
    };
    j->started = j->saved = machine_seconds();
    if (!engine_score_windows(e, &job, &s->work, err))
        return false;
    s->seconds = seconds_so_far(j);
    assert(j->scoring.row == s->scored);
    return weights_hash_rest(j->hash, s->threads, &progress, err)
        && weights_hash_end(&s->checkpoint_digest, j->hash, err);
}

static bool conclude(struct job *j, struct surprisal_result *result, struct error *err)
{
    struct summary *s = &j->summary;
    s->figures = statistics_figures(j->scoring.windows, s->windows);
    if (j->input.is_text)
        statistics_by_text(&s->figures, j->input.n_ids, j->input.words, j->input.bytes);
    char *json = summary_json(s, err);
    if (!json)
        return false;
    if (j->options->out && !run_folder_commit(&j->folder, json, err)) {
        free(json);
        return false;
    }
    const struct figures *f = &s->figures;
    *result = (struct surprisal_result){
        .windows = s->windows, .tokens = j->input.n_ids, .scored = s->scored,
        .mean_nll = f->mean_nll, .perplexity = f->perplexity,
        .nll_stderr = f->nll_stderr, .perplexity_stderr = f->perplexity_stderr,
        .word_perplexity = f->word_perplexity, .byte_perplexity = f->byte_perplexity,
        .bits_per_byte = f->bits_per_byte, .seconds = s->seconds,
        .tokens_per_second = summary_tokens_per_second(s), .summary_json = json,
    };
    return true;
}

bool evaluate_check(const struct surprisal_eval_options *o, struct error *err)
{
    if (!o->checkpoint)
        return error_set(err, "no checkpoint is given");
    if (!o->text == !o->ids)
        return error_set(err, "%s, expected one of them",
                         o->text ? "both a text and ids are given" : "neither text nor ids are given");
    if (!protocol_check(o->protocol, o->context, o->stride ? o->stride : o->context, err))
        return false;
    bool rolling = o->protocol == SURPRISAL_ROLLING, wikitext = o->documents != SURPRISAL_DOCUMENTS_ONE;
    const struct {
        bool wrong;
        const char *why;
    } rules[] = {
        { o->stride && o->protocol != SURPRISAL_STRIDED, "a stride belongs to the protocol strided" },
        { o->join != SURPRISAL_JOIN_RAW && !o->text, "rows to join need a text, not ids" },
        { o->hidden != SURPRISAL_HIDDEN_NONE && !o->out,
          "hidden states are kept in a run folder, and none is given" },
        { o->resume && !o->out, "a run is resumed by its folder, and none is given" },
        { o->prefix_id < -1, "a prefix id is negative" },
        { o->prefix_id >= 0 && !rolling, "a prefix id belongs to the protocol rolling" },
        { wikitext && !(rolling && o->text),
          "documents belong to the protocol rolling and need a text" },
        { wikitext && o->join != SURPRISAL_JOIN_RAW,
          "documents are found in the file as it is, not in joined rows" },
        { o->max_documents && !wikitext, "a number of documents needs documents" },
        { o->threads < 0, "the number of threads is negative" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].wrong)
            return error_set(err, "%s", rules[i].why);
    return true;
}

bool evaluate(const struct surprisal_eval_options *o, struct surprisal_result *result,
              struct error *err)
{
    struct job j = { .options = o };
    bool ok = evaluate_check(o, err) && prepare(&j, err) && score(&j, err)
           && conclude(&j, result, err);
    job_close(&j);
    return ok;
}
