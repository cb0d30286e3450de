#include "eval/score/trace_differences.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SUMS_FLOOR 128.0                 /* see the header */
#define RESIDUAL_FLOOR 4.0
#define END_FLOOR 8.0

static double unit_of(enum dtype rounding)
{
    return rounding == DTYPE_BF16 ? 0x1p-9 : rounding == DTYPE_F16 ? 0x1p-11 : 0x1p-24;
}

bool trace_differences_make(struct trace_differences *d, const struct trace_foreign *foreign,
                            const struct config *c, size_t T, enum compute_type compute,
                            struct error *err)
{
    size_t L = c->num_hidden_layers, widest = size_max(c->hidden_size, c->vocab_size);
    *d = (struct trace_differences){ .foreign = foreign, .config = c, .T = T, .n_steps = L + 2 };
    if (!trace_foreign_rounding(foreign, &d->rounding, err))
        return false;
    if (compute == COMPUTE_BF16)
        d->rounding = DTYPE_BF16;
    d->steps = mem_array(d->n_steps, sizeof *d->steps, "steps of a trace", err);
    d->theirs = mem_array(widest, sizeof *d->theirs, "a row of a trace", err);
    d->before = mem_array(c->hidden_size, sizeof *d->before, "a row of a trace", err);
    d->experts = mem_array(c->num_experts_per_tok, sizeof *d->experts, "a row of a trace", err);
    d->others = mem_array(T, sizeof *d->others, "tokens of a trace", err);
    if (!d->steps || !d->theirs || !d->before || !d->experts || !d->others)
        return false;
    bool hidden = foreign->hidden != NULL, residual = foreign->residual != NULL;
    for (size_t i = 0; i < L; i++)
        d->steps[i] = (struct trace_step){ .kind = TRACE_LAYER, .layer = i, .compared = residual,
                                           .steps = 1, .routed = foreign->routing != NULL };
    d->steps[L] = (struct trace_step){ .kind = TRACE_NORM, .compared = hidden,
                                       .steps = residual ? 1 : L + 1 };
    d->steps[L + 1] = (struct trace_step){ .kind = TRACE_HEAD, .compared = foreign->logits != NULL,
                                           .steps = hidden ? 1 : residual ? 2 : L + 2 };
    return true;
}

void trace_differences_free(struct trace_differences *d)
{
    free(d->steps);
    free(d->theirs);
    free(d->before);
    free(d->experts);
    free(d->others);
    *d = (struct trace_differences){ 0 };
}

double trace_differences_rms(const struct trace_size *s)
{
    return s->n ? sqrt(s->squares / (double)s->n) : 0;
}

/* ---- one token ------------------------------------------------------------------ */

/* RMS of a - b; b NULL: of a. */
static double rms(const float *a, const float *b, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)a[i] - (b ? (double)b[i] : 0);
        squares += x * x;
    }
    return sqrt(squares / (double)n);
}

/* Returns the RMS of this token's difference; infinite where theirs is no number. */
static double add_token(struct trace_size *s, const float *ours, const float *theirs, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double x = fabs((double)ours[i] - (double)theirs[i]);
        x = isfinite(x) ? x : INFINITY;
        s->largest = fmax(s->largest, x);
        squares += x * x;
    }
    s->squares += squares;
    s->n += n;
    return sqrt(squares / (double)n);
}

static void judge(struct trace_step *s, size_t token, double difference, double floor,
                  bool other_experts)
{
    double ratio = floor > 0 ? difference / floor : difference > 0 ? INFINITY : 0;
    s->ratio = fmax(s->ratio, ratio);
    if (ratio <= 1)
        return;
    if (s->beyond++ == 0) {
        s->first = token;
        s->first_rms = difference;
        s->first_floor = floor;
        s->first_other_experts = other_experts;
    }
}

static bool is_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* Members of b that are not in a.  The order does not count: weights may be equal. */
static size_t count_others(const int32_t *a, const int32_t *b, size_t k)
{
    size_t n = 0;
    for (size_t i = 0; i < k; i++) {
        size_t j = 0;
        while (j < k && a[j] != b[i])
            j++;
        n += j == k;
    }
    return n;
}

/* ---- steps ---------------------------------------------------------------------- */

static bool token_of_layer(struct trace_differences *d, struct trace_step *s, size_t token,
                           float *residual, struct error *err)
{
    const struct tensor *states = d->foreign->residual;
    size_t D = d->config->hidden_size, row = s->layer * d->T + token;
    double u = unit_of(d->rounding);
    if (!trace_foreign_rows(d->foreign, d->theirs, states, row, 1, err))
        return false;
    if (!d->alone) {
        add_token(&s->whole, residual, d->theirs, D);
        return true;
    }
    bool first = s->layer == 0;                 /* of the embedding there is no state */
    if (!first && !trace_foreign_rows(d->foreign, d->before, states, row - d->T, 1, err))
        return false;
    double size = rms(residual, NULL, D), change = rms(residual, first ? NULL : d->before, D);
    double floor = u * (SUMS_FLOOR * (isfinite(change) ? change : size) + RESIDUAL_FLOOR * size);
    double difference = add_token(&s->alone, residual, d->theirs, D);
    if (s->reroutes || d->others[token] != 1 || !isfinite(difference))
        judge(s, token, difference, floor, d->others[token] > 0);
    if (is_finite(d->theirs, D))
        memcpy(residual, d->theirs, D * sizeof *residual);
    return true;
}

/* Counts the tokens for which other experts were chosen. */
static bool compare_routing(struct trace_differences *d, struct trace_step *s,
                            const int32_t *routing, struct error *err)
{
    size_t k = d->config->num_experts_per_tok;
    s->other_experts = 0;
    for (size_t t = 0; t < d->T; t++) {
        if (!trace_foreign_experts(d->foreign, d->experts, s->layer * d->T + t, err))
            return false;
        d->others[t] = count_others(routing + t * k, d->experts, k);
        s->other_experts += d->others[t] > 0;
    }
    s->reroutes = s->other_experts > 1 + d->T / 4;
    return true;
}

bool trace_differences_layer(struct trace_differences *d, size_t layer, float *residual,
                             const int32_t *routing, struct error *err)
{
    struct trace_step *s = &d->steps[layer];
    if (s->routed && !compare_routing(d, s, routing, err))
        return false;
    for (size_t t = 0; s->compared && t < d->T; t++)
        if (!token_of_layer(d, s, t, residual + t * d->config->hidden_size, err))
            return false;
    return true;
}

/* Norm and head: a row of their states in d->theirs is compared with ours. */
static bool token_of_end(struct trace_differences *d, struct trace_step *s, size_t token,
                         const float *ours, const struct tensor *states, size_t n,
                         struct error *err)
{
    if (!trace_foreign_rows(d->foreign, d->theirs, states, token, 1, err))
        return false;
    double difference = add_token(d->alone ? &s->alone : &s->whole, ours, d->theirs, n);
    bool sums_count = d->rounding == DTYPE_F32 || s->steps > 1;
    double floor = unit_of(d->rounding) * (sums_count ? SUMS_FLOOR : END_FLOOR) * (double)s->steps
                 * rms(ours, NULL, n);
    if (d->alone)
        judge(s, token, difference, floor, false);
    return true;
}

bool trace_differences_hidden(struct trace_differences *d, size_t row, size_t n, float *hidden,
                              struct error *err)
{
    struct trace_step *s = &d->steps[d->config->num_hidden_layers];
    size_t D = d->config->hidden_size;
    for (size_t i = 0; s->compared && i < n; i++) {
        float *ours = hidden + i * D;
        if (!token_of_end(d, s, row + i, ours, d->foreign->hidden, D, err))
            return false;
        if (d->alone && is_finite(d->theirs, D))
            memcpy(ours, d->theirs, D * sizeof *ours);
    }
    return true;
}

bool trace_differences_logits(struct trace_differences *d, size_t row, size_t n,
                              const float *logits, struct error *err)
{
    struct trace_step *s = &d->steps[d->config->num_hidden_layers + 1];
    size_t V = d->config->vocab_size;
    for (size_t i = 0; s->compared && i < n; i++)
        if (!token_of_end(d, s, row + i, logits + i * V, d->foreign->logits, V, err))
            return false;
    return true;
}

const struct trace_step *trace_differences_first(const struct trace_differences *d)
{
    for (size_t i = 0; i < d->n_steps; i++)
        if (d->steps[i].beyond)
            return &d->steps[i];
    return NULL;
}
