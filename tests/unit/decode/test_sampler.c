/* The sampler: what stays before the draw, its order, and the distribution of the draws against the
 * exact one. */
#include "decode/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"
#include "tests/random.h"

enum { V = 8, DRAWS = 100000 };

static const struct sampler_settings off = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 7,
};

/* temperature, top_p, repetition_penalty, then others. */
#define SET(t, p, r, ...) \
    { .temperature = t, .top_p = p, .repetition_penalty = r, __VA_ARGS__ }

static const struct sampler_bias to_5[] = { { 5, 100 } };
static const struct sampler_bias away_from_0[] = { { 0, -100 } };

/* ids that may be drawn, as bits, from logits 3 3 2 1 0 -1 -2 -3; prompt has 2, the answer 0 and
 * 0 */
static const struct {
    const char *name;
    struct sampler_settings settings;
    unsigned expected;
} kept[] = {
    { "nothing is off limits", SET(1, 1, 1, .top_k = 0), 0xFF },
    { "greedy takes the lowest id among equals", SET(0, 1, 1, .seed = 7), 0x01 },
    { "1e-6 is greedy", SET(1e-6, 1, 1, .seed = 7), 0x01 },
    { "top_k 3", SET(1, 1, 1, .top_k = 3), 0x07 },
    { "top_k 1 keeps what equals the first", SET(1, 1, 1, .top_k = 1), 0x03 },
    { "top_k of more than there are", SET(1, 1, 1, .top_k = 100), 0xFF },
    { "top_p never leaves nothing", SET(1, 1e-9, 1, .seed = 7), 0x01 },
    { "top_p 0.7 needs two", SET(1, 0.7, 1, .seed = 7), 0x03 },
    { "top_p 0.9 needs three", SET(1, 0.9, 1, .seed = 7), 0x07 },
    { "top_p counts what top_k has left", SET(1, 0.84, 1, .top_k = 3), 0x03 },
    { "min_p 0.3 keeps e^-1", SET(1, 1, 1, .min_p = 0.3), 0x07 },
    { "min_p 1 keeps the largest", SET(1, 1, 1, .min_p = 1), 0x03 },
    { "min_p after temperature", SET(2, 1, 1, .min_p = 0.3), 0x0F },
    { "bias comes first", SET(0, 1, 1, .bias = to_5, .n_bias = 1), 0x20 },
    { "bias away", SET(0, 1, 1, .bias = away_from_0, .n_bias = 1), 0x02 },
    { "frequency counts: 3 - 2 * 0.6 is below 2",
      SET(1, 1, 1, .frequency_penalty = 0.6, .top_k = 2), 0x06 },
    { "presence counts once: 3 - 0.6 is above 2", SET(1, 1, 1, .presence_penalty = 0.6, .top_k = 2),
      0x03 },
    { "repetition divides 3 and 2 by 4", SET(1, 1, 4, .top_k = 2), 0x0A },
    { "repetition below 1 multiplies them", SET(0, 1, 0.5, .seed = 7), 0x01 },
};

static struct sampler opened(const struct sampler_settings *settings, size_t n)
{
    struct sampler s;
    struct error err = { 0 };
    if (!sampler_settings_check(settings, n, &err) || !sampler_open(&s, settings, n, &err))
        check(false, "a sampler opens", "%s", err.message);
    return s;
}

static void test_kept(void)
{
    static const float logits[V] = { 3, 3, 2, 1, 0, -1, -2, -3 };
    const int32_t prompt[] = { 2 };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct sampler s = opened(&kept[i].settings, V);
        sampler_add_prompt(&s, prompt, 1);
        sampler_add(&s, 0);
        sampler_add(&s, 0);
        unsigned seen = 0;
        for (size_t position = 0; position < 20000; position++) {
            float copy[V];
            struct sampler_choice choice;
            memcpy(copy, logits, sizeof copy);
            if (sampler_draw(&s, &choice, copy, position, NULL))
                seen |= 1u << choice.id;
        }
        check(seen == kept[i].expected, kept[i].name, "ids %#x are drawn, expected %#x", seen,
              kept[i].expected);
        sampler_close(&s);
    }
}

/* ---- the distribution ------------------------------------------------------------ */

enum { LARGE = 300 };

struct rank {
    double p;
    size_t id;
};

static int by_probability(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p) - (x->p > y->p) : (x->id > y->id) - (x->id < y->id);
}

/* The definition, by sorting. */
static void exact(double *p, const float *logits, const struct sampler_settings *o)
{
    struct rank ranks[LARGE];
    double total = 0, reached = 0, largest = 0;
    for (size_t i = 0; i < LARGE; i++) {
        ranks[i] = (struct rank){ exp((double)logits[i] / o->temperature), i };
        largest = fmax(largest, ranks[i].p);
    }
    qsort(ranks, LARGE, sizeof *ranks, by_probability);
    for (size_t i = 0; i < LARGE; i++) {
        bool out = ranks[i].p < o->min_p * largest
                || (o->top_k && i >= o->top_k && ranks[i].p < ranks[o->top_k - 1].p);
        ranks[i].p = out ? 0 : ranks[i].p;
        total += ranks[i].p;
    }
    for (size_t i = 0; i < LARGE; i++) {
        double mine = ranks[i].p / total;
        ranks[i].p = reached < o->top_p ? mine : 0;
        reached += mine;
    }
    total = 0;
    for (size_t i = 0; i < LARGE; i++)
        total += ranks[i].p;
    for (size_t i = 0; i < LARGE; i++)
        p[ranks[i].id] = ranks[i].p / total;
}

static const struct {
    const char *name;
    struct sampler_settings settings;
} distributions[] = {
    { "chi-square: temperature 1",     SET(1, 1, 1, .top_k = 0) },
    { "chi-square: temperature 0.6",   SET(0.6, 1, 1, .seed = 1) },
    { "chi-square: top_k 20",          SET(1, 1, 1, .top_k = 20) },
    { "chi-square: top_p 0.8",         SET(1, 0.8, 1, .seed = 9007199254740992) },
    { "chi-square: min_p 0.05",        SET(1, 1, 1, .min_p = 0.05) },
    { "chi-square: all of them",       SET(1.5, 0.95, 1, .top_k = 20, .min_p = 0.01) },
    { "chi-square: another stream",    SET(1, 1, 1, .top_k = 20, .stream = 1) },
};

/* 100,000 draws at as many positions; classes of fewer than 5 expected draws are put together.  The
 * bound is mean plus five standard deviations: a right sampler exceeds it once in some million
 * tests, and the draws are the same in each run. */
static void test_distribution(void)
{
    static float logits[LARGE], copy[LARGE];
    static double p[LARGE];
    struct random r = { 11 };
    for (size_t i = 0; i < LARGE; i++)
        logits[i] = 3 * random_normal(&r);
    for (size_t d = 0; d < sizeof distributions / sizeof *distributions; d++) {
        const struct sampler_settings *o = &distributions[d].settings;
        size_t count[LARGE] = { 0 }, classes = 0, forbidden = 0;
        struct sampler s = opened(o, LARGE);
        for (size_t i = 0; i < DRAWS; i++) {
            struct sampler_choice choice;
            memcpy(copy, logits, sizeof copy);
            sampler_draw(&s, &choice, copy, i, NULL);
            count[choice.id]++;
        }
        exact(p, logits, o);
        double chi = 0, rest = 0, rest_count = 0;
        for (size_t i = 0; i < LARGE; i++) {
            double expected = p[i] * DRAWS, n = (double)count[i];
            forbidden += p[i] == 0 && count[i];
            if (expected >= 5) {
                chi += (n - expected) * (n - expected) / expected;
                classes++;
            } else {
                rest += expected;
                rest_count += n;
            }
        }
        if (rest >= 5) {
            chi += (rest_count - rest) * (rest_count - rest) / rest;
            classes++;
        }
        double freedom = (double)classes - 1, most = freedom + 5 * sqrt(2 * freedom);
        check(chi < most && !forbidden, distributions[d].name,
              "chi-square %.1f of %zu classes, expected below %.1f; %zu ids that had to go", chi,
              classes, most, forbidden);
        sampler_close(&s);
    }
}

/* ---- draws, refusals --------------------------------------------------------------- */

static void test_draws(void)
{
    float logits[V] = { 0 };
    size_t same_seed = 0, same_stream = 0, same = 0;
    struct sampler_settings other = off, stream = off;
    other.seed++;
    stream.stream++;
    struct sampler a = opened(&off, V), b = opened(&other, V), c = opened(&stream, V);
    for (size_t i = 0; i < 8000; i++) {
        struct sampler_choice x, again, y, z;
        sampler_draw(&a, &x, logits, i, NULL);
        sampler_draw(&a, &again, logits, i, NULL);
        sampler_draw(&b, &y, logits, i, NULL);
        sampler_draw(&c, &z, logits, i, NULL);
        same += x.id == again.id;
        same_seed += x.id == y.id;
        same_stream += x.id == z.id;
    }
    check(same == 8000, "a position always draws the same", "%zu of 8000", same);
    check(same_seed > 800 && same_seed < 1200, "another seed draws independently",
          "%zu of 8000 equal, expected near 1000", same_seed);
    check(same_stream > 800 && same_stream < 1200, "another stream draws independently",
          "%zu of 8000 equal, expected near 1000", same_stream);
    sampler_close(&a), sampler_close(&b), sampler_close(&c);
}

static void test_logprob(void)
{
    const struct sampler_settings settings = SET(0, 1, 2, .bias = to_5, .n_bias = 1);
    float logits[V] = { 3, 3, 2, 1, 0, -1, -2, -3 };
    struct sampler s = opened(&settings, V);
    struct sampler_choice choice = { 0 };
    double total = 0;
    for (size_t i = 0; i < V; i++)
        total += exp((double)logits[i]);
    sampler_draw(&s, &choice, logits, 0, NULL);
    check(choice.id == 5 && fabs(choice.logprob - (-1 - log(total))) < 1e-12,
          "the log-probability is that of the logits as they came", "id %d, %.17g", choice.id,
          choice.logprob);
    sampler_close(&s);
}

static void test_bad_logits(void)
{
    static const struct {
        const char *name;
        float value;
    } cases[] = { { "a NaN names the position", NAN }, { "an infinity too", INFINITY },
                  { "a negative one too", -INFINITY } };
    struct sampler s = opened(&off, V);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float logits[V] = { [V - 1] = cases[i].value };
        struct sampler_choice choice;
        struct error err = { 0 };
        bool ok = sampler_draw(&s, &choice, logits, 1234, &err);
        check(!ok && strstr(err.message, "position 1234"), cases[i].name, "%s", err.message);
    }
    sampler_close(&s);
}

static const struct sampler_bias wrong_id[] = { { V, 1 } }, wrong_value[] = { { 0, 101 } };

static const struct {
    const char *word;                   /* in the message; NULL: accepted */
    struct sampler_settings settings;
} ranges[] = {
    { NULL,                 SET(2, 1, 1, .seed = 7) },
    { "temperature",        SET(2.01, 1, 1, .seed = 7) },
    { "temperature",        SET(-0.1, 1, 1, .seed = 7) },
    { "temperature",        SET(NAN, 1, 1, .seed = 7) },
    { "top_p",              SET(1, 0, 1, .seed = 7) },
    { "top_p",              SET(1, 1.01, 1, .seed = 7) },
    { "min_p",              SET(1, 1, 1, .min_p = -0.1) },
    { "min_p",              SET(1, 1, 1, .min_p = 1.1) },
    { "presence_penalty",   SET(1, 1, 1, .presence_penalty = 2.1) },
    { "frequency_penalty",  SET(1, 1, 1, .frequency_penalty = -2.1) },
    { "repetition_penalty", SET(1, 1, 0, .seed = 7) },
    { "id 8",               SET(1, 1, 1, .bias = wrong_id, .n_bias = 1) },
    { "-100 to 100",        SET(1, 1, 1, .bias = wrong_value, .n_bias = 1) },
};

static void test_ranges(void)
{
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        char name[80];
        struct error err = { 0 };
        bool ok = sampler_settings_check(&ranges[i].settings, V, &err);
        const char *word = ranges[i].word;
        snprintf(name, sizeof name, "settings %zu: %s", i, word ? word : "accepted");
        check(word ? !ok && strstr(err.message, word) : ok, name, "%s", err.message);
    }
}

int main(void)
{
    test_kept();
    test_distribution();
    test_draws();
    test_logprob();
    test_bad_logits();
    test_ranges();
    return check_done();
}
