#include "server/choice_mask.h"

#include <math.h>
#include <string.h>

#include "base/machine.h"

bool choice_mask_open(struct choice *c, struct error *err)
{
    const struct job_host *host = c->job->host;
    const struct grammar *g = c->job->answer_form.grammars[c->prompt->thinks];
    if (!g)
        return true;
    c->matcher = grammar_match(g, host->trie, host->publisher->end_ids, host->publisher->n_end_ids,
                               err);
    return c->matcher != NULL;
}

void choice_mask_close(struct choice *c)
{
    struct matcher_figures f;
    if (!c->matcher)
        return;
    matcher_read_figures(c->matcher, &f);
    metrics_mask(c->job->host->metrics, &f, c->mask_seconds);
    matcher_free(c->matcher);
    c->matcher = NULL;
}

/* ---- what is forced ---------------------------------------------------------------------- */

static bool may_come(const struct choice *c, int32_t id)
{
    return !c->allowed || (c->allowed[id / 64] >> (id % 64) & 1);
}

/* The end of thinking that took its budget; not inside of a call that a form binds. */
static void force_next(struct choice *c)
{
    const struct job_chat *chat = &c->job->chat;
    const struct request_word *end = &chat->end_thinking;
    if (c->forced || !c->thinking || chat->thinking_budget == REQUEST_NOT_GIVEN
        || (int64_t)c->reasoning_tokens < chat->thinking_budget || !end->n
        || !may_come(c, end->ids[0]))
        return;
    c->forced = true;
    c->forced_from = c->answer.n;
}

bool choice_mask_prepare(struct choice *c, struct error *err)
{
    if (c->matcher) {
        double begun = machine_seconds();
        c->allowed = matcher_allowed(c->matcher, err);
        c->mask_seconds += machine_seconds() - begun;
        if (!c->allowed)
            return false;
    }
    force_next(c);
    return true;
}

/* ---- masks ------------------------------------------------------------------------------- */

static void mask_all_but(const struct choice *c, float *logits, size_t vocab_size,
                         const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < vocab_size; i++)
        logits[i] = -INFINITY;
    for (size_t i = 0; i < n; i++)
        logits[ids[i]] = c->sampler.raw[ids[i]];
}

/* The last id of a word, where the answer ends with those before it. */
static void mask_word(const struct choice *c, const struct request_word *word, float *logits)
{
    size_t before = word->n - 1;
    const struct continuation *a = &c->answer;
    if (word->n == 0 || before > a->n)
        return;
    if (before == 0 || memcmp(a->ids + a->n - before, word->ids, before * sizeof *word->ids) == 0)
        logits[word->ids[before]] = -INFINITY;
}

static void mask_ids(float *logits, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        logits[ids[i]] = -INFINITY;
}

/* The others have been masked.  A set does not depend on the order. */
static void mask_form(struct choice *c, float *logits, size_t vocab_size)
{
    const struct generation_config *publisher = c->job->host->publisher;
    bool any = false;
    for (size_t i = 0; i < vocab_size; i++) {
        if (!may_come(c, (int32_t)i))
            logits[i] = -INFINITY;
        any = any || logits[i] > -INFINITY;
    }
    bool over = matcher_has_ended(c->matcher) || matcher_is_complete(c->matcher);
    for (size_t i = 0; !any && over && i < publisher->n_end_ids; i++)
        logits[publisher->end_ids[i]] = c->sampler.raw[publisher->end_ids[i]];
    c->stuck = !any && !over;
}

void choice_mask_apply(void *user, float *logits, size_t vocab_size)
{
    struct choice *c = user;
    const struct continuation_limits *l = &c->answer.limits;
    const struct request *r = &c->job->request;
    if (c->forced) {
        const int32_t *end = c->job->chat.end_thinking.ids;
        mask_all_but(c, logits, vocab_size, end + c->answer.n - c->forced_from, 1);
        return;
    }
    if (r->allowed_ids)
        mask_all_but(c, logits, vocab_size, r->allowed_ids, r->n_allowed);
    for (size_t i = 0; i < r->n_bad_words; i++)
        mask_word(c, &r->bad_words[i], logits);
    if (c->answer.n < l->min_tokens) {
        mask_ids(logits, l->end_ids, l->n_end_ids);
        mask_ids(logits, l->stop_ids, l->n_stop_ids);
    }
    if (c->matcher)
        mask_form(c, logits, vocab_size);
}

/* ---- after a token ------------------------------------------------------------------------- */

bool choice_mask_add(struct choice *c, int32_t id, struct error *err)
{
    if (c->answer.n - c->forced_from == c->job->chat.end_thinking.n)
        c->forced = false;
    if (!c->matcher || matcher_has_ended(c->matcher))
        return true;
    double begun = machine_seconds();
    bool ok = matcher_advance(c->matcher, id, err);
    c->mask_seconds += machine_seconds() - begun;
    return ok;
}

void choice_mask_explain(struct choice *c)
{
    struct job *j = c->job;
    const struct request *r = &j->request;
    if (!c->stuck)
        return;
    pthread_mutex_lock(&j->lock);
    if (!j->problem.status)
        problem_set(&j->problem, 400, r->allowed_ids ? "allowed_token_ids"
                                    : r->n_bad_words ? "bad_words" : "min_tokens",
                    "after %zu tokens of the answer, allowed_token_ids, bad_words and min_tokens "
                    "leave no token that its form allows", c->answer.n);
    pthread_mutex_unlock(&j->lock);
}
