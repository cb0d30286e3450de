#include "verify/verify_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"

/* ---- figures ---------------------------------------------------------------------- */

const char *verify_report_number(char text[VERIFY_NUMBER_BYTES], double x, int digits)
{
    format_text(text, VERIFY_NUMBER_BYTES, "%.*f", digits, x);
    return isfinite(x) ? text : isinf(x) ? "exact" : "-";
}

double verify_report_share(size_t n, size_t of)
{
    return of ? (double)n / (double)of : NAN;
}

size_t verify_report_worst(size_t out[VERIFY_WORST], const struct verify_result *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->weights.n; i++) {
        double sqnr = tally_sqnr(&r->tallies[i]);
        if (!verify_table_is_quantized(r, i) || !isfinite(sqnr))
            continue;
        size_t at = n;                  /* insertion into a short list that stays sorted */
        for (; at > 0 && tally_sqnr(&r->tallies[out[at - 1]]) > sqnr; at--)
            if (at < VERIFY_WORST)
                out[at] = out[at - 1];
        if (at < VERIFY_WORST)
            out[at] = i;
        n += n < VERIFY_WORST;
    }
    return n;
}

size_t verify_report_bytes(const struct verify_result *r)
{
    size_t bytes = 0;
    for (size_t i = 0; i < r->folder.ck.n_tensors; i++)
        bytes += r->folder.ck.tensors[i]->n_bytes;
    return bytes;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

bool verify_report_closing(struct buffer *out, const struct verify_result *r, size_t n_lines,
                           struct error *err)
{
    static const char *const names[] = { "finding", "suspicion", "note" };
    const struct findings *f = &r->findings;
    size_t n_all = 0;
    bool ok = f->counts[LEVEL_FINDING] || buffer_printf(out, err, "no findings");
    for (size_t i = 0; ok && i < FINDING_LEVELS; i++) {
        if (f->counts[i])
            ok = buffer_printf(out, err, "%s%zu %s%s", i ? ", " : "", f->counts[i], names[i],
                               plural(f->counts[i]));
        n_all += f->counts[i];
    }
    return ok && (f->n == n_all || buffer_printf(out, err, " (%zu of them are kept)", f->n))
        && (n_lines == f->n || buffer_printf(out, err, " (%zu lines; --all lists them)", n_lines))
        && buffer_printf(out, err, ": %zu tensors, %.4g MB, %.1f s\n", r->folder.ck.n_tensors,
                         (double)verify_report_bytes(r) / 1e6, r->seconds);
}

bool verify_report_download(struct buffer *out, const struct verify_result *r, struct error *err)
{
    const struct verify_download *d = &r->download;
    return !d->n_files
        || (buffer_printf(out, err, "download: %zu of %zu files have the digests that the hub's"
                          " client recorded", d->n_equal, d->n_files)
            && (!*d->revision || buffer_printf(out, err, ", revision %s", d->revision))
            && buffer_printf(out, err, "\n"));
}

/* ---- text --------------------------------------------------------------------------- */

static bool add_groups(struct buffer *out, const struct verify_groups *g, struct error *err)
{
    static const char *const marks[] = { "", "suspicion ", "note " };
    bool ok = true;
    for (size_t i = 0; ok && i < g->n; i++) {
        const struct verify_group *x = &g->list[i];
        const struct finding *first = x->first;
        ok = buffer_printf(out, err, "%s%s: %s%s%s%s", marks[finding_level(first->code)],
                           finding_code_name(first->code), first->file, *first->file ? ": " : "",
                           x->tensor, *x->tensor ? ": " : "")
          && (x->n == 1 || buffer_printf(out, err, VERIFY_GROUP_COUNT, x->n))
          && buffer_printf(out, err, "%s\n", first->text);
    }
    return ok;
}

/* The kinds, numbered, and what all layers of each have. */
static bool add_kinds(struct buffer *out, const struct verify_table *t, struct error *err)
{
    char text[VERIFY_NUMBER_BYTES];
    bool ok = buffer_printf(out, err, "%-44s %8s %10s %15s\n", "kind", "weights", "SQNR (dB)",
                            "relative error");
    for (size_t j = 0; ok && j < t->n_kinds; j++) {
        const struct verify_cell *cell = &t->totals[j];
        struct error kind = { 0 };
        ok = buffer_printf(out, err, "[%2zu] %-39s %8zu", j + 1,
                           error_clean(&kind, t->kinds[j].text), cell->tensors)
          && buffer_printf(out, err, " %10s", verify_report_number(text, tally_sqnr(&cell->sum), 2))
          && buffer_printf(out, err, " %15s\n",
                           verify_report_number(text, tally_relative_error(&cell->sum), 5));
    }
    return ok;
}

static bool add_layer(struct buffer *out, const struct verify_table *t, size_t layer,
                      struct error *err)
{
    char text[VERIFY_NUMBER_BYTES];
    bool ok =
        buffer_printf(out, err, "%-9s", error_clean(&(struct error){ 0 }, t->layers[layer].text));
    for (size_t j = 0; ok && j < t->n_kinds; j++) {
        const struct verify_cell *cell = verify_table_cell(t, layer, j);
        ok = buffer_printf(out, err, " %6s", cell->tensors
                           ? verify_report_number(text, tally_sqnr(&cell->sum), 2) : "");
    }
    return ok && buffer_printf(out, err, "\n");
}

static bool add_distances(struct buffer *out, const struct verify_result *r,
                          const struct verify_table *t, struct error *err)
{
    size_t worst[VERIFY_WORST], n = verify_report_worst(worst, r);
    bool ok = add_kinds(out, t, err) && buffer_printf(out, err, "\n%-9s", "layer");
    for (size_t j = 0; ok && j < t->n_kinds; j++)
        ok = buffer_printf(out, err, "   [%2zu]", j + 1);
    ok = ok && buffer_printf(out, err, "\n");
    for (size_t i = 0; ok && i < t->n_layers; i++)
        ok = add_layer(out, t, i, err);
    ok = ok && (!n || buffer_printf(out, err, "\nlowest SQNR\n"));
    for (size_t i = 0; ok && i < n && i < 3; i++)
        ok = buffer_printf(out, err, "%8.2f dB  %s\n", tally_sqnr(&r->tallies[worst[i]]),
                           error_clean(&(struct error){ 0 }, r->weights.list[worst[i]].name));
    return ok;
}

static bool add_summary(struct buffer *out, const struct verify_table *t, struct error *err)
{
    const struct tally *s = &t->all.sum;
    char text[VERIFY_NUMBER_BYTES];
    size_t codes = s->codes;
    bool ok = buffer_printf(out, err, "%zu quantized weight%s", t->all.tensors,
                            plural(t->all.tensors));
    if (ok && codes)
        ok = buffer_printf(
            out, err, ", %zu blocks: %zu of zeros, %s %% of the codes at 6", s->blocks,
            s->zero_blocks,
            verify_report_number(text, 100 * verify_report_share(s->largest_codes, codes), 2));
    ok = ok && buffer_printf(out, err, "\n");
    if (!ok || isnan(tally_sqnr(s)))
        return ok;
    ok = buffer_printf(out, err, "SQNR (dB) %s", verify_report_number(text, tally_sqnr(s), 2))
      && buffer_printf(out, err, ", relative error %s",
                       verify_report_number(text, tally_relative_error(s), 5));
    if (ok && codes)
        ok = buffer_printf(
            out, err, ", %s %% of the weights clipped",
            verify_report_number(text, 100 * verify_report_share(s->clipped, codes), 2));
    return ok && buffer_printf(out, err, "\n");
}

bool verify_report_text(struct buffer *out, const struct verify_result *r,
                        const struct verify_table *t, struct error *err)
{
    const struct findings *found = &r->findings;
    struct verify_groups groups;
    if (!verify_groups_make(&groups, found, r->lists_all, err))
        return false;
    bool ok = add_groups(out, &groups, err);
    if (ok && t->all.tensors) {
        ok = !found->n || buffer_printf(out, err, "\n");
        if (ok && !isnan(tally_sqnr(&t->all.sum)))
            ok = add_distances(out, r, t, err) && buffer_printf(out, err, "\n");
        ok = ok && add_summary(out, t, err);
    }
    ok = ok && verify_report_download(out, r, err)
      && verify_report_closing(out, r, groups.n, err);
    verify_groups_free(&groups);
    return ok;
}
