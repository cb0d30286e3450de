#include "eval/compare/verdict.h"

#include <math.h>
#include <stdio.h>

#include "base/format.h"

void verdict_p(char out[VERDICT_P_BYTES], double p)
{
    if (p < 1e-4)
        format_text(out, VERDICT_P_BYTES, "p < 0.0001");
    else
        format_text(out, VERDICT_P_BYTES, "p = %.2g", p);
}

static const char *unit_name(const struct comparison *c, bool one)
{
    return c->by_document ? one ? "document" : "documents" : one ? "window" : "windows";
}

/* A ratio as a change in percent: two digits, from 100 % on all before the point, near -100 %
 * four. */
#define PERCENT_BYTES 32
static const char *percent(char out[PERCENT_BYTES], const char *sign, double ratio)
{
    double value = 100 * (ratio - 1);
    char format[16];
    snprintf(format, sizeof format, "%%%s.%s", sign,
             value <= -99.5 ? "4g" : value >= 99.5 && value < 1e6 ? "0f" : "2g");
    format_text(out, PERCENT_BYTES, format, *sign ? value : fabs(value));
    return out;
}

/* "perplexity 131.56 against 130.92, higher by 0.49 % (95 % interval -0.1 to +1.1 %)"; where a
 * perplexity or their ratio is beyond a double, the mean NLL and its difference in their place. */
static bool append_size(struct buffer *out, const struct paired *p, struct error *err)
{
    const struct estimate *r = &p->ratio, *d = &p->delta;
    const char *direction = d->value < 0 ? "lower" : "higher";
    char change[PERCENT_BYTES], low[PERCENT_BYTES], high[PERCENT_BYTES];
    if (!isfinite(p->perplexity_a) || !isfinite(p->perplexity_b) || !isfinite(r->value)
        || isinf(r->ci95[1]))
        return buffer_printf(out, err, "mean NLL %.6g against %.6g, %s by %.6g nats/token",
                             p->nll_b, p->nll_a, direction, fabs(d->value))
            && (!isfinite(d->ci95[0])
                || buffer_printf(out, err, " (95 %% interval %+.6g to %+.6g)", d->ci95[0],
                                 d->ci95[1]));
    return buffer_printf(out, err, "perplexity %.6g against %.6g, %s by %s %%", p->perplexity_b,
                         p->perplexity_a, direction, percent(change, "", r->value))
        && (!isfinite(r->ci95[0])
            || buffer_printf(out, err, " (95 %% interval %s to %s %%)",
                             percent(low, "+", r->ci95[0]), percent(high, "+", r->ci95[1])));
}

static bool append_significance(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct paired *p = &c->paired;
    char chance[VERDICT_P_BYTES];
    verdict_p(chance, p->delta.p);
    if (p->delta.p < 0.05)
        return buffer_printf(out, err, "; the difference is real at the 5 %% level (%s, paired "
                             "over %zu %s)", chance, p->units, unit_name(c, false));
    if (!buffer_printf(out, err, "; that may be chance: it is not significant at the 5 %% level "
                       "(%s, paired over %zu %s", chance, p->units, unit_name(c, false)))
        return false;
    if (isfinite(p->units_needed) && p->units_needed > (double)p->units)
        return buffer_printf(out, err, "; about %.0f would show an effect of this size)",
                             p->units_needed);
    return buffer_printf(out, err, ")");
}

static bool append_divergence(struct buffer *out, const struct comparison *c, struct error *err)
{
    double kld = comparison_mean_kld(c, 0, c->a->scored);
    if (isnan(kld))
        return true;
    return buffer_printf(out, err, "; its predictions are %.3g nats a token away from A's (mean KL "
                         "divergence)%s", kld,
                         c->paired.delta.value < 0 && kld > 0
                             ? ", so closer to the text is not closer to the original" : "");
}

bool verdict_append(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct paired *p = &c->paired;
    bool ok;
    if (c->n_worst_rows == 0)
        ok = buffer_printf(out, err, "B gives every scored token the same NLL as A: there is no "
                           "difference in perplexity");
    else if (p->units < 2)
        ok = buffer_printf(out, err, "B has ") && append_size(out, p, err)
          && buffer_printf(out, err, "; from one %s no standard error follows, so whether the "
                           "difference is real cannot be said", unit_name(c, true));
    else if (!isfinite(p->delta.p) && isfinite(p->delta.se))
        ok = buffer_printf(out, err, "B has ") && append_size(out, p, err)
          && buffer_printf(out, err, "; all %zu %s differ by the same amount, so no standard error "
                           "follows, and whether the difference is real cannot be said", p->units,
                           unit_name(c, false));
    else if (!isfinite(p->delta.p))
        ok = buffer_printf(out, err, "The difference is beyond the range of floating-point "
                           "numbers, so nothing can be said about it");
    else
        ok = buffer_printf(out, err, "B predicts this text %s than A: ",
                           p->delta.p >= 0.05 ? "no reliably better or worse"
                           : p->delta.value < 0 ? "better" : "worse")
          && append_size(out, p, err) && append_significance(out, c, err);
    return ok && append_divergence(out, c, err) && buffer_printf(out, err, ".");
}

bool verdict_append_rest(struct buffer *out, const cJSON *document, struct error *err)
{
    static const char *const parts[] = { "left_out", "experts" };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof parts / sizeof *parts; i++) {
        const char *line = cJSON_GetStringValue(json_get(json_get(document, parts[i]), "verdict"));
        ok = !line || buffer_printf(out, err, " %s", line);
    }
    return ok;
}
