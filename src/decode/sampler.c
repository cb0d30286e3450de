#include "decode/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct sampler_candidate {
    double z;                       /* (logit - largest) / temperature */
    int32_t id;
};

/* ---- settings --------------------------------------------------------------- */

bool sampler_settings_check(const struct sampler_settings *s, size_t vocab_size, struct error *err)
{
    const struct {
        const char *name;
        double value, least, most;
        bool above_least;
        const char *expected;
    } ranges[] = {
        { "temperature", s->temperature, 0, 2, false, "0 to 2" },
        { "top_p", s->top_p, 0, 1, true, "above 0, at most 1" },
        { "min_p", s->min_p, 0, 1, false, "0 to 1" },
        { "presence_penalty", s->presence_penalty, -2, 2, false, "-2 to 2" },
        { "frequency_penalty", s->frequency_penalty, -2, 2, false, "-2 to 2" },
        { "repetition_penalty", s->repetition_penalty, 0, 1e6, true, "above 0, at most 1000000" },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        double x = ranges[i].value;
        if (!(x >= ranges[i].least && x <= ranges[i].most)
            || (ranges[i].above_least && x <= ranges[i].least))
            return error_set(err, "%s is out of range, expected %s", ranges[i].name,
                             ranges[i].expected);
    }
    for (size_t i = 0; i < s->n_bias; i++) {
        const struct sampler_bias *b = &s->bias[i];
        if (b->id < 0 || (size_t)b->id >= vocab_size)
            return error_set(err, "logit_bias: id %d, the vocabulary has %zu", (int)b->id,
                             vocab_size);
        if (!(b->value >= -100 && b->value <= 100))
            return error_set(err, "logit_bias: the value of id %d is out of range, expected -100 "
                             "to 100", (int)b->id);
    }
    return true;
}

bool sampler_open(struct sampler *s, const struct sampler_settings *settings, size_t vocab_size,
                  struct error *err)
{
    *s = (struct sampler){ .settings = *settings, .vocab_size = vocab_size };
    s->count = mem_array(vocab_size, sizeof *s->count, "counts of tokens", err);
    s->in_prompt = mem_array(vocab_size, sizeof *s->in_prompt, "tokens of the prompt", err);
    s->raw = mem_array(vocab_size, sizeof *s->raw, "logits", err);
    s->candidates = mem_array(vocab_size, 2 * sizeof *s->candidates, "candidates", err);
    return s->count && s->in_prompt && s->raw && s->candidates;
}

void sampler_close(struct sampler *s)
{
    free(s->count);
    free(s->in_prompt);
    free(s->raw);
    free(s->candidates);
    *s = (struct sampler){ 0 };
}

size_t sampler_bytes(size_t vocab_size)
{
    size_t bytes, of_token = sizeof(uint32_t) + sizeof(bool) + sizeof(float)
                           + 2 * sizeof(struct sampler_candidate);
    return size_product(&bytes, vocab_size, of_token) ? bytes : SIZE_MAX;
}

void sampler_add_prompt(struct sampler *s, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->in_prompt[ids[i]] = true;
}

void sampler_add(struct sampler *s, int32_t id)
{
    s->count[id]++;
}

/* ---- logits ------------------------------------------------------------------ */

static void penalize(const struct sampler *s, float *logits)
{
    const struct sampler_settings *o = &s->settings;
    for (size_t i = 0; i < o->n_bias; i++)
        logits[o->bias[i].id] += o->bias[i].value;
    if (o->repetition_penalty == 1 && o->frequency_penalty == 0 && o->presence_penalty == 0)
        return;
    for (size_t i = 0; i < s->vocab_size; i++) {
        double x = (double)logits[i];
        if (s->count[i] || s->in_prompt[i])
            x = x > 0 ? x / o->repetition_penalty : x * o->repetition_penalty;
        if (s->count[i])
            x -= o->frequency_penalty * s->count[i] + o->presence_penalty;
        logits[i] = (float)x;
    }
}

size_t sampler_largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

double sampler_logsumexp(const float *logits, size_t n)
{
    double max = (double)logits[sampler_largest(logits, n)], total = 0;
    for (size_t i = 0; i < n; i++)
        total += exp((double)logits[i] - max);
    return max + log(total);
}

/* ---- the candidates as a heap, the most probable on top ------------------------ */

/* Equal ones by id, so that the order is one. */
static bool before(const struct sampler_candidate *a, const struct sampler_candidate *b)
{
    return a->z > b->z || (a->z == b->z && a->id < b->id);
}

static void sift_down(struct sampler_candidate *heap, size_t n, size_t i)
{
    struct sampler_candidate moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &moved))
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

static struct sampler_candidate pop(struct sampler_candidate *heap, size_t *n)
{
    struct sampler_candidate top = heap[0];
    heap[0] = heap[--*n];
    if (*n)
        sift_down(heap, *n, 0);
    return top;
}

/* ---- what is left to draw from -------------------------------------------------- */

static size_t fill_candidates(const struct sampler *s, const float *logits)
{
    const struct sampler_settings *o = &s->settings;
    double max = (double)logits[sampler_largest(logits, s->vocab_size)], least = log(o->min_p);
    size_t n = 0;
    for (size_t i = 0; i < s->vocab_size; i++) {
        double z = ((double)logits[i] - max) / o->temperature;
        if (z >= least && z > -INFINITY)
            s->candidates[n++] = (struct sampler_candidate){ z, (int32_t)i };
    }
    return n;
}

static double weight_of(const struct sampler_candidate *c, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += exp(c[i].z);
    return total;
}

/* The k first, and those that equal the last of them, sorted to `out`. */
static size_t take_top_k(struct sampler_candidate *out, struct sampler_candidate *heap, size_t n,
                         size_t k)
{
    size_t taken = 0;
    while (n && (taken < k || heap[0].z == out[taken - 1].z))
        out[taken++] = pop(heap, &n);
    return taken;
}

/* Those that reach top_p of n together. */
static size_t take_top_p(struct sampler_candidate *out, struct sampler_candidate *heap, size_t n,
                         double top_p)
{
    double enough = top_p * weight_of(heap, n), total = 0;
    size_t taken = 0;
    while (n && (taken == 0 || total < enough)) {
        out[taken] = pop(heap, &n);
        total += exp(out[taken++].z);
    }
    return taken;
}

/* Sorted candidates already are a heap. */
static size_t choose_candidates(const struct sampler *s, size_t n,
                                struct sampler_candidate **chosen)
{
    const struct sampler_settings *o = &s->settings;
    struct sampler_candidate *from = s->candidates, *to = s->candidates + s->vocab_size, *swap;
    bool top_k = o->top_k > 0 && o->top_k < n, top_p = o->top_p < 1;
    for (size_t i = n / 2; (top_k || top_p) && i-- > 0;)
        sift_down(from, n, i);
    if (top_k) {
        n = take_top_k(to, from, n, o->top_k);
        swap = from, from = to, to = swap;
    }
    if (top_p) {
        n = take_top_p(to, from, n, o->top_p);
        from = to;
    }
    *chosen = from;
    return n;
}

/* ---- drawing --------------------------------------------------------------------- */

/* The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): each bit of x changes half of
 * the result's. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* In [0, 1), of 53 bits. */
static double uniform(const struct sampler_settings *o, size_t position)
{
    const uint64_t golden = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = mix(o->seed + golden);
    x = mix((x ^ o->stream) + golden);
    x = mix((x ^ position) + golden);
    return (double)(x >> 11) * 0x1p-53;
}

static int32_t draw(const struct sampler_candidate *c, size_t n, double u)
{
    double at = u * weight_of(c, n), total = 0;
    size_t i = 0;
    for (; i + 1 < n; i++) {
        total += exp(c[i].z);
        if (total > at)
            break;
    }
    return c[i].id;
}

static int32_t choose(const struct sampler *s, const float *logits, size_t position)
{
    struct sampler_candidate *chosen;
    if (s->settings.temperature < SAMPLER_GREEDY)
        return (int32_t)sampler_largest(logits, s->vocab_size);
    size_t n = choose_candidates(s, fill_candidates(s, logits), &chosen);
    return draw(chosen, n, uniform(&s->settings, position));
}

bool sampler_check_logits(const float *logits, size_t n, size_t position, struct error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(logits[i]))
            return error_set(err, "head: NaN or infinity among the logits at position %zu",
                             position);
    return true;
}

bool sampler_draw(const struct sampler *s, struct sampler_choice *choice, float *logits,
                  size_t position, struct error *err)
{
    size_t V = s->vocab_size;
    if (!sampler_check_logits(logits, V, position, err))
        return false;
    double lse = sampler_logsumexp(logits, V);
    memcpy(s->raw, logits, V * sizeof *logits);
    if (s->settings.mask) {
        s->settings.mask->apply(s->settings.mask->user, logits, V);
        if (logits[sampler_largest(logits, V)] == -INFINITY)
            return error_set(err, "no token may follow at position %zu: each is masked", position);
    }
    penalize(s, logits);
    choice->id = choose(s, logits, position);
    choice->logprob = (double)s->raw[choice->id] - lse;
    choice->logsumexp = lse;
    return true;
}
