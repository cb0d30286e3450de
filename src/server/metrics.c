#include "server/metrics.h"

bool metrics_open(struct metrics *m, struct error *err)
{
    return pthread_mutex_init(&m->lock, NULL) == 0
        || error_set(err, "out of memory: a lock");
}

void metrics_close(struct metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

static const double bounds[METRICS_BUCKETS] = {     /* seconds */
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600,
};

void metrics_time(struct metrics *m, enum metrics_time which, double seconds)
{
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS && seconds > bounds[bucket])
        bucket++;
    pthread_mutex_lock(&m->lock);
    m->times[which].counts[bucket]++;
    m->times[which].sum += seconds;
    pthread_mutex_unlock(&m->lock);
}

void metrics_finish(struct metrics *m, enum metrics_finish how)
{
    pthread_mutex_lock(&m->lock);
    m->finished[how]++;
    pthread_mutex_unlock(&m->lock);
}

void metrics_grammar(struct metrics *m, double seconds)
{
    pthread_mutex_lock(&m->lock);
    m->grammars++;
    m->grammar_seconds += seconds;
    pthread_mutex_unlock(&m->lock);
}

void metrics_mask(struct metrics *m, const struct matcher_figures *f, double seconds)
{
    pthread_mutex_lock(&m->lock);
    m->masks += f->n_masks;
    m->mask_walks += f->n_walks;
    m->mask_seconds += seconds;
    pthread_mutex_unlock(&m->lock);
}

/* A label's value: backslash, quote and line end are escaped. */
static bool append_label(struct buffer *b, const char *text, struct error *err)
{
    bool ok = true;
    for (; ok && *text; text++)
        ok = *text == '\n' ? buffer_append(b, "\\n", 2, err)
           : ((*text != '"' && *text != '\\') || buffer_append(b, "\\", 1, err))
             && buffer_append(b, text, 1, err);
    return ok;
}

static bool write_head(struct buffer *b, const char *name, const char *type, const char *help,
                       struct error *err)
{
    return buffer_printf(b, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static bool write_histogram(struct buffer *b, const struct metrics_histogram *h, const char *name,
                            const char *help, const char *label, struct error *err)
{
    size_t total = 0;
    bool ok = write_head(b, name, "histogram", help, err);
    for (size_t i = 0; ok && i <= METRICS_BUCKETS; i++) {
        total += h->counts[i];
        ok = i < METRICS_BUCKETS
           ? buffer_printf(b, err, "%s_bucket{model_name=\"%s\",le=\"%g\"} %zu\n", name, label,
                           bounds[i], total)
           : buffer_printf(b, err, "%s_bucket{model_name=\"%s\",le=\"+Inf\"} %zu\n", name, label,
                           total);
    }
    return ok
        && buffer_printf(b, err, "%s_sum{model_name=\"%s\"} %.9g\n", name, label, h->sum)
        && buffer_printf(b, err, "%s_count{model_name=\"%s\"} %zu\n", name, label, total);
}

/* vLLM's, by the place of a draft in its step. */
static bool write_accepted(struct buffer *b, const struct scheduler_figures *f, const char *label,
                           struct error *err)
{
    static const char name[] = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
    bool ok = f->n_drafts == 0
           || write_head(b, name, "counter", "Drafts that were right, by their place.", err);
    for (size_t i = 0; ok && i < f->n_drafts; i++)
        ok = buffer_printf(b, err, "%s{model_name=\"%s\",position=\"%zu\"} %zu\n", name, label, i,
                           f->accepted_tokens[i]);
    return ok;
}

static size_t count_accepted(const struct scheduler_figures *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_drafts; i++)
        n += f->accepted_tokens[i];
    return n;
}

static bool write_all(const struct metrics *m, const struct scheduler_figures *f,
                      const char *label, struct buffer *b, struct error *err)
{
    static const struct {
        const char *name, *help;
    } times[METRICS_TIMES] = {
        { "vllm:time_to_first_token_seconds", "From a request's arrival to its first token." },
        { "vllm:inter_token_latency_seconds", "From a token to the next of the same answer." },
        { "vllm:e2e_request_latency_seconds", "From a request's arrival to its end." },
        { "vllm:request_queue_time_seconds", "From a request's arrival to its prefill." },
    };
    static const char *const finishes[METRICS_FINISHES] = { "stop", "length", "abort" };
    const struct {
        const char *name, *type, *help;
        double value;
    } values[] = {
        { "vllm:num_requests_running", "gauge", "Choices that are being computed.",
          (double)f->running },
        { "vllm:num_requests_waiting", "gauge", "Choices that wait.", (double)f->waiting },
        { "vllm:kv_cache_usage_perc", "gauge", "Share of the keys and values in use, 0 to 1.",
          f->kv_total ? (double)f->kv_used / (double)f->kv_total : 0 },
        { "vllm:prompt_tokens_total", "counter", "Tokens of prompts.", (double)f->prompt_tokens },
        { "vllm:generation_tokens_total", "counter", "Tokens of answers.",
          (double)f->generated_tokens },
        { "vllm:prefix_cache_queries_total", "counter", "Tokens looked for in the prefix cache.",
          (double)f->prompt_tokens },
        { "vllm:prefix_cache_hits_total", "counter", "Tokens found in the prefix cache.",
          (double)f->cache_hits },
        { "vllm:num_preemptions_total", "counter", "Requests that had to wait again.",
          (double)f->waited_again },
        { "vllm:spec_decode_num_drafts_total", "counter", "Steps of an answer with drafts.",
          (double)f->drafts },
        { "vllm:spec_decode_num_draft_tokens_total", "counter", "Drafts of the MTP layer.",
          (double)f->drafted_tokens },
        { "vllm:spec_decode_num_accepted_tokens_total", "counter", "Drafts that were right.",
          (double)count_accepted(f) },
        { "surprisal:steps_total", "counter", "Steps of the engine.", (double)f->steps },
        { "surprisal:prefilled_tokens_total", "counter", "Tokens that went through a prefill.",
          (double)f->prefilled_tokens },
        { "surprisal:grammars_total", "counter", "Demanded forms of answers that were compiled.",
          (double)m->grammars },
        { "surprisal:grammar_seconds_total", "counter", "Time to compile them.",
          m->grammar_seconds },
        { "surprisal:masks_total", "counter", "Tokens of answers that had a demanded form.",
          (double)m->masks },
        { "surprisal:mask_walks_total", "counter", "Walks over the vocabulary for their masks.",
          (double)m->mask_walks },
        { "surprisal:mask_seconds_total", "counter", "Time of the engine for their masks.",
          m->mask_seconds },
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof values / sizeof *values; i++)
        ok = write_head(b, values[i].name, values[i].type, values[i].help, err)
          && buffer_printf(b, err, "%s{model_name=\"%s\"} %.17g\n", values[i].name, label,
                           values[i].value);
    ok = ok && write_accepted(b, f, label, err)
      && write_head(b, "vllm:request_success_total", "counter", "Requests that ended.", err);
    for (size_t i = 0; ok && i < METRICS_FINISHES; i++)
        ok = buffer_printf(b, err, "vllm:request_success_total{model_name=\"%s\","
                           "finished_reason=\"%s\"} %zu\n", label, finishes[i], m->finished[i]);
    for (size_t i = 0; ok && i < METRICS_TIMES; i++)
        ok = write_histogram(b, &m->times[i], times[i].name, times[i].help, label, err);
    return ok;
}

bool metrics_write(struct metrics *m, const struct scheduler_figures *figures, const char *model,
                   struct buffer *b, struct error *err)
{
    struct buffer label = { 0 };
    bool ok = append_label(&label, model, err) && buffer_append(&label, "", 0, err);
    pthread_mutex_lock(&m->lock);
    ok = ok && write_all(m, figures, label.data, b, err);
    pthread_mutex_unlock(&m->lock);
    buffer_free(&label);
    return ok;
}
