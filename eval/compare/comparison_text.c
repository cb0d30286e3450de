#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "eval/compare/comparable.h"
#include "eval/compare/comparison_json.h"
#include "eval/compare/excerpt.h"
#include "eval/compare/verdict.h"
#include "eval/compare/warned.h"

#define WINDOWS_SHOWN 5
#define TOKENS_SHOWN  10
#define POSITIONS_SHOWN 8
#define TEXT_AROUND   30                /* characters before and after a token */
#define TEXT_OF_WINDOW 50               /* from its begin */
#define DIGEST_SHOWN  12                /* hexadecimal digits */

/* ---- what was compared --------------------------------------------------------------- */

bool comparison_text_run(struct buffer *out, const char *name, const cJSON *summary,
                         struct error *err)
{
    static const char *const paths[] = { "checkpoint.path", "checkpoint.digest", "compute", "isa",
                                         "surprisal" };
    char values[5][512];
    for (int i = 0; i < 5; i++)
        comparable_value(values[i], sizeof values[i], summary, paths[i]);
    double bytes = cJSON_GetNumberValue(json_get(json_get(summary, "checkpoint"), "bytes"));
    return buffer_printf(out, err, "%-16s %s, digest %.*s, %.4g MB, computed in %s by %s, "
                         "surprisal %s\n", name, values[0], DIGEST_SHOWN, values[1], bytes / 1e6,
                         values[2], values[3], values[4]);
}

static bool add_protocol(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct record *r = c->a;
    char path[512], sha256[80], protocol[32], prefix[64], token[64];
    comparable_value(path, sizeof path, r->summary, "text.path");
    comparable_value(sha256, sizeof sha256, r->summary, "text.sha256");
    comparable_value(protocol, sizeof protocol, r->summary, "protocol");
    comparable_value(prefix, sizeof prefix, r->summary, "prefix_id");
    comparable_value(token, sizeof token, r->summary, "prefix_token");
    bool ok = buffer_printf(out, err, "%-16s %s, sha256 %.*s\n%-16s %s, context %zu, stride %zu",
                            "text", path, DIGEST_SHOWN, sha256, "protocol", protocol, r->context,
                            r->stride);
    if (ok && strcmp(prefix, "none") != 0)
        ok = buffer_printf(out, err, ", prefix token %s (id %s)", token, prefix);
    return ok
        && buffer_printf(out, err, "\n%-16s %zu of %zu tokens, in %zu %s%s\n", "scored", r->scored,
                         r->tokens, c->n_units, c->by_document ? "document" : "window",
                         c->n_units == 1 ? "" : "s");
}

/* ---- figures ---------------------------------------------------------------------------- */

static void put(char *out, size_t n, const char *format, double value)
{
    if (isfinite(value))
        format_text(out, n, fabs(value) < 1e9 ? format : format[1] == '+' ? "%+.6g" : "%.6g",
                    value);
    else
        format_text(out, n, "-");
}

static bool add_sides(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct paired *p = &c->paired;
    const struct {
        const char *name, *format, *delta_format;
        double a, b, delta;
    } rows[] = {
        { "mean NLL (nats/token)", "%.6f", "%+.6f", p->nll_a, p->nll_b, p->delta.value },
        { "perplexity", "%.6g", "%+.6g", p->perplexity_a, p->perplexity_b, p->difference.value },
    };
    bool ok = buffer_printf(out, err, "\n%-28s %14s %14s %14s\n", "", "A", "B", "B - A");
    for (size_t i = 0; ok && i < sizeof rows / sizeof *rows; i++) {
        char a[32], b[32], delta[32];
        put(a, sizeof a, rows[i].format, rows[i].a);
        put(b, sizeof b, rows[i].format, rows[i].b);
        put(delta, sizeof delta, rows[i].delta_format, rows[i].delta);
        ok = buffer_printf(out, err, "%-28s %14s %14s %14s\n", rows[i].name, a, b, delta);
    }
    return ok;
}

/* p NAN: the row has none. */
static bool add_estimate(struct buffer *out, const char *name, const struct estimate *e, double p,
                         const char *kind, struct error *err)
{
    char value[32], error[32], low[32], high[32], chance[VERDICT_P_BYTES] = "";
    put(value, sizeof value, "%+.6f", e->value);
    put(error, sizeof error, "%.6f", e->se);
    put(low, sizeof low, "%+.6f", e->ci95[0]);
    put(high, sizeof high, "%+.6f", e->ci95[1]);
    if (isfinite(p))
        verdict_p(chance, p);
    return buffer_printf(out, err, "%-28s %12s %12s %12s %12s  %-10s  %s\n", name, value, error,
                         low, high, chance, kind);
}

static bool add_estimates(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct paired *p = &c->paired;
    const char *unit = c->by_document ? "document" : "window";
    const struct estimate drawn = {
        .value = p->delta.value, .se = p->bootstrap.samples ? p->bootstrap.se : (double)NAN,
        .ci95 = { p->bootstrap.samples ? p->bootstrap.ci95[0] : (double)NAN,
                  p->bootstrap.samples ? p->bootstrap.ci95[1] : (double)NAN },
    };
    const struct estimate apart = {
        .value = p->delta.value, .se = p->unpaired_se, .ci95 = { (double)NAN, (double)NAN },
    };
    char paired[96], bootstrap[96];
    if (p->units > 1)
        snprintf(paired, sizeof paired, "paired by %s, t with %zu degree%s of freedom", unit,
                 p->units - 1, p->units == 2 ? "" : "s");
    else
        snprintf(paired, sizeof paired, "one %s has none", unit);
    snprintf(bootstrap, sizeof bootstrap, "%zu samples of %ss, seed %llu",
             p->bootstrap.samples, unit, (unsigned long long)p->bootstrap.seed);
    const double none = (double)NAN;
    return buffer_printf(out, err, "\n%-28s %12s %12s %25s\n", "B - A (NLL: nats/token)", "value",
                         "std. error", "95 % interval")
        && add_estimate(out, "difference of mean NLL", &p->delta, p->delta.p, paired, err)
        && add_estimate(out, "  by bootstrap", &drawn, none, p->bootstrap.samples ? bootstrap : "",
                        err)
        && add_estimate(out, "  naive", &p->naive, p->naive.p,
                        "per token, as if tokens were independent", err)
        && add_estimate(out, "  unpaired", &apart, none, "from the two runs' own errors", err)
        && add_estimate(out, "ratio of perplexity", &p->ratio, none, "delta method", err)
        && add_estimate(out, "difference of perplexity", &p->difference, none, "delta method", err)
        && (!(p->units_needed > 0) || !isfinite(p->units_needed)
            || buffer_printf(out, err, "%-28s %.0f, to show such a difference at 5 %% in 80 %% of "
                             "texts\n", c->by_document ? "documents needed" : "windows needed",
                             p->units_needed));
}

static bool add_agreement(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct delta_p *d = &c->delta_p;
    bool ok = buffer_printf(out, err, "\n%-28s %.2f %% of tokens\n%-28s mean %+.4f %%, RMS %.4f %%",
                            "same most probable token", 100 * c->same_top1,
                            "probability of right token", 100 * d->mean, 100 * d->rms);
    ok = ok && (!isfinite(d->correlation)
                || buffer_printf(out, err, ", correlation %.6f", d->correlation))
      && buffer_printf(out, err, "\n%-28s least %+.2f %%", "  its quantiles",
                       100 * d->quantiles[0]);
    for (size_t i = 1; ok && i < DELTA_P_QUANTILES - 1; i++)
        ok = buffer_printf(out, err, ", %g: %+.2f", delta_p_quantiles[i].share,
                           100 * d->quantiles[i]);
    return ok && buffer_printf(out, err, ", most %+.2f %%\n",
                               100 * d->quantiles[DELTA_P_QUANTILES - 1]);
}

static bool add_direction(struct buffer *out, const char *name,
                          const struct divergence_direction *d, struct error *err)
{
    char error[32];
    put(error, sizeof error, "%.6f", d->se);
    bool ok = buffer_printf(out, err, "%-28s mean %.6f, std. error %s", name, d->mean, error);
    for (size_t i = 0; ok && i < DIVERGENCE_QUANTILES; i++)
        ok = buffer_printf(out, err, ", %s %.5f", divergence_figures_quantiles[i].name,
                           d->quantiles[i]);
    return ok && buffer_printf(out, err, "\n");
}

/* The part of the divergence that is the head's: what is left of it with A's head on the hidden
 * states of both. */
static bool add_head_part(struct buffer *out, const struct divergence_figures *f,
                          struct error *err)
{
    char error[32], part[32], share[32];
    double of_head = divergence_figures_of_head(f);
    if (!isfinite(of_head))
        return true;
    put(error, sizeof error, "%.6f", f->same_head.se);
    put(part, sizeof part, "%+.6f", of_head);
    put(share, sizeof share, "%+.1f", f->forward.mean > 0 ? 100 * of_head / f->forward.mean : 0);
    return buffer_printf(out, err, "%-28s mean %.6f, std. error %s; the head's part is %s "
                         "(%s %%)\n", "  with A's head on both", f->same_head.mean, error, part,
                         share);
}

static bool add_divergence(struct buffer *out, const struct comparison *c, struct error *err)
{
    const struct divergence_figures *f = &c->kl;
    if (!c->divergence)
        return true;
    bool ok = buffer_printf(out, err, "\n%-28s %s, std. error by %s\n", "KL divergence",
                            "nats/token", c->by_document ? "document" : "window")
           && add_direction(out, "  of B from A", &f->forward, err)
           && add_direction(out, "  of A from B", &f->reverse, err)
           && add_head_part(out, f, err)
           && buffer_printf(out, err, "%-28s", "  by A's top probability");
    for (size_t i = 0; ok && i < DIVERGENCE_BINS; i++)
        if (f->bins[i].scored)
            ok = buffer_printf(out, err, " %g-%g: %.5f (%zu)", f->bins[i].from, f->bins[i].to,
                               f->bins[i].mean, f->bins[i].scored);
    return ok && buffer_printf(out, err, "\n%-28s %.2f %%\n", "five most probable shared",
                               100 * f->top5_overlap);
}

static bool add_floor(struct buffer *out, const struct comparison *floor, struct error *err)
{
    char compute[16], chance[VERDICT_P_BYTES] = "no p-value", error[32];
    if (!floor)
        return true;
    const struct estimate *e = &floor->paired.delta;
    comparable_value(compute, sizeof compute, floor->b->summary, "compute");
    put(error, sizeof error, "%.6f", e->se);
    if (isfinite(e->p))
        verdict_p(chance, e->p);
    return buffer_printf(out, err, "\nnoise floor: A against itself in %s compute\n"
                         "%-28s %+.6f, std. error %s, %s\n%-28s %.2f %% of tokens\n"
                         "%-28s RMS %.4f %%\n",
                         compute, "  difference of mean NLL", e->value, error, chance,
                         "  same most probable token", 100 * floor->same_top1,
                         "  probability of right token", 100 * floor->delta_p.rms)
        && (!floor->divergence
            || add_direction(out, "  KL divergence", &floor->kl.forward, err));
}

/* ---- where they differ -------------------------------------------------------------------- */

/* On one line, safe for a terminal.  Takes the text; NULL is nothing. */
static bool add_line(struct buffer *out, char *text, struct error *err)
{
    for (char *s = text; s && *s; s++)
        if (ascii_space(*s))
            *s = ' ';
    if (text)
        error_printable(text);
    bool ok = !text || buffer_append(out, text, strlen(text), err);
    free(text);
    return ok;
}

/* The document's ranges, some together: there are too many for a page. */
static bool add_positions(struct buffer *out, const struct comparison *c, struct error *err)
{
    size_t together = (c->n_ranges + POSITIONS_SHOWN - 1) / POSITIONS_SHOWN;
    bool ok = c->n_ranges < 2
           || buffer_printf(out, err,
                            "\nby position in the window, nats/token\n"
                            "  %-15s %10s %10s %10s %10s\n",
                            "tokens", "scored", "A", "B", "B - A");
    for (size_t i = 0; ok && c->n_ranges > 1 && i < c->n_ranges; i += together) {
        size_t end = size_min(i + together, c->n_ranges), scored = 0;
        double a = 0, b = 0, delta = 0;
        for (const struct comparison_range *r = &c->ranges[i]; r < &c->ranges[end]; r++) {
            double n = (double)r->scored;
            scored += r->scored;
            a += n * r->nll_a;
            b += n * r->nll_b;
            delta += n * r->delta.value;
        }
        double n = (double)scored;
        ok = buffer_printf(out, err, "  %6d - %-6d %10zu %10.4f %10.4f %+10.4f\n",
                           (int)c->ranges[i].from, (int)c->ranges[end - 1].to, scored, a / n,
                           b / n, delta / n);
    }
    return ok;
}

static bool add_worst_windows(struct buffer *out, const struct comparison_view *v,
                              struct error *err)
{
    const struct comparison *c = v->comparison;
    size_t n = size_min(c->n_worst_units, WINDOWS_SHOWN);
    bool ok = n == 0 || buffer_printf(out, err, "\nlargest changes by %s, nats/token\n",
                                      c->by_document ? "document" : "window");
    for (size_t i = 0; ok && i < n; i++) {
        const struct comparison_unit *u = &c->units[c->worst_units[i]];
        const struct paired_unit *s = &c->sums[c->worst_units[i]];
        ok = buffer_printf(out, err, "%+9.4f  %s %d, tokens %d to %d%s",
                           compensated_value(&s->delta) / (double)s->scored,
                           c->by_document ? "document" : "window", (int)u->number,
                           (int)c->a->position[u->begin], (int)c->a->position[u->end - 1],
                           v->tokenizer ? ": " : "")
          && add_line(out, excerpt_rows(v->tokenizer, c->a, u->begin, u->end, TEXT_OF_WINDOW), err)
          && buffer_printf(out, err, "\n");
    }
    return ok;
}

static bool add_worst_tokens(struct buffer *out, const struct comparison_view *v, struct error *err)
{
    const struct comparison *c = v->comparison;
    const struct tokenizer *t = v->tokenizer;
    size_t n = size_min(c->n_worst_rows, TOKENS_SHOWN);
    bool ok = n == 0 || buffer_printf(out, err, "\nlargest changes by token, nats: A, B, B - A, "
                                      "position, id%s\n", t ? ", text [token] text" : "");
    for (size_t i = 0; ok && i < n; i++) {
        size_t row = c->worst_rows[i];
        double a = c->a->nll[row], b = c->b->nll[row];
        ok = buffer_printf(out, err, "%8.3f %8.3f %+8.3f  %8d %7d", a, b, b - a,
                           (int)c->a->position[row], (int)c->a->id[row]);
        if (ok && t)
            ok = buffer_printf(out, err, "  ")
              && add_line(out, excerpt_before(t, c->a, row, TEXT_AROUND), err)
              && buffer_printf(out, err, "[") && add_line(out, excerpt_token(t, c->a, row), err)
              && buffer_printf(out, err, "]")
              && add_line(out, excerpt_after(t, c->a, row, TEXT_AROUND), err);
        ok = ok && buffer_printf(out, err, "\n");
    }
    return ok;
}

bool comparison_text(struct buffer *out, const struct comparison_view *v, struct error *err)
{
    const struct comparison *c = v->comparison;
    return comparison_text_run(out, "A", c->a->summary, err)
        && comparison_text_run(out, "B", c->b->summary, err) && add_protocol(out, c, err)
        && add_sides(out, c, err) && add_estimates(out, c, err) && add_divergence(out, c, err)
        && add_agreement(out, c, err) && add_floor(out, v->floor, err)
        && (!v->by_layer || buffer_printf(out, err, "%s", v->by_layer))
        && add_positions(out, c, err) && add_worst_windows(out, v, err)
        && add_worst_tokens(out, v, err) && warned_text(out, v->document, err)
        && buffer_printf(out, err, "\n") && verdict_append(out, c, err)
        && verdict_append_rest(out, v->document, err)
        && buffer_printf(out, err, "\n");
}
