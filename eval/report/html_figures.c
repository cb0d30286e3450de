#include "eval/report/html_figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/report/figure.h"
#include "eval/report/html_table.h"
#include "eval/report/plot.h"

/* About five marks: the numbers of gnuplot's own choice do not fit on a narrow screen. */
#define POSITION_AXIS \
    "stats $data using 2 nooutput\n" \
    "step = 10**floor(log10(STATS_max))\n" \
    "set xtics STATS_max < 3 * step ? step / 2 : step\n" \
    "set xrange [0:*]\n" \
    "set autoscale xfixmax\n" \
    "set xlabel 'position in the window (tokens)'\n"

struct figure {
    const char *id, *title;
    const char *array;          /* of the document: the rows of $data */
    const char *needed;         /* member of a row: rows without it are not shown */
    struct column columns[HTML_COLUMNS_MAX];     /* of the table and of $data */
    const char *description;
    const char *script;         /* gnuplot; colours as in plot.h, constants as in append_data */
    bool full_width;
    bool positive;              /* rows whose `needed` is 0 or less are not shown either */
};

static const struct figure figures[] = {
    { "front", "KL divergence against size", "candidates", "mean_kld",
      { { "number", "number", COLUMN_COUNT }, { "candidate", "candidate", COLUMN_TEXT },
        { "bytes", "size (GB)", COLUMN_GIGABYTES }, { "mean_kld", "mean KL", COLUMN_NUMBER },
        { "kld_stderr", "standard error", COLUMN_NUMBER },
        { "on_front", "on the front", COLUMN_TRUTH } },
      "Mean KL divergence from the original, in nats a token on a logarithmic axis, against the "
      "size of the weights, with two standard errors either way. Numbers are those of the table. "
      "The line joins the Pareto front: no other candidate is smaller and closer to the original.",
      "set datafile missing NaN\n"      /* the line goes on past candidates off the front */
      "shown(k) = k > 0 ? k : NaN\n"
      "low(k, e) = k > 2 * e ? k - 2 * e : k / 2\n"
      "stats $data using ($3 / 1e9):(shown($4)) nooutput\n"
      "set logscale y\n"
      "set format y '%g'\n"
      "set yrange [STATS_min_y / 1.6 : STATS_max_y * 1.8]\n"
      "span = STATS_max_x - STATS_min_x\n"
      "margin = span > 0 ? 0.08 * span : 0.1 * STATS_max_x\n"
      "set xrange [STATS_min_x - margin : STATS_max_x + margin]\n"
      "span = span + 2 * margin\n"
      "step = 10**floor(log10(span))\n"
      "set xtics span < 2 * step ? step / 2 : span < 5 * step ? step : 2 * step\n"
      "set xlabel 'size of the weights (GB)'\n"
      "set ylabel 'mean KL (nats/token)'\n"
      "plot $data using ($3 / 1e9):(shown($4)):(low($4, $5)):($4 + 2 * $5) with yerrorbars "
      "pointtype 0 linewidth 1 linecolor rgb muted notitle, \\\n"
      "     $data using ($6 == 1 ? $3 / 1e9 : NaN):(shown($4)) with lines linewidth 2 "
      "linecolor rgb second title 'Pareto front', \\\n"
      "     $data using ($3 / 1e9):(shown($4)) with points pointtype 7 pointsize 0.6 "
      "linecolor rgb first title 'candidate', \\\n"
      "     $data using ($6 == 1 ? $3 / 1e9 : NaN):(shown($4)) with points pointtype 7 "
      "pointsize 0.6 linecolor rgb second notitle, \\\n"
      /* Neighbours in rank are often near: their numbers stand on different sides. */
      "     $data using (int($1) % 2 ? $3 / 1e9 : NaN):(shown($4)):(sprintf('%d', $1)) "
      "with labels right offset -0.9, 0.2 font ',11' textcolor rgb ink notitle, \\\n"
      "     $data using (int($1) % 2 ? NaN : $3 / 1e9):(shown($4)):(sprintf('%d', $1)) "
      "with labels left offset 0.9, 0.2 font ',11' textcolor rgb ink notitle\n",
      true, true },
    { "windows", "Difference by window", "windows", "delta_nll",
      { { "window", "window", COLUMN_COUNT }, { "scored", "scored", COLUMN_COUNT },
        { "nll_a", "NLL A", COLUMN_NUMBER }, { "nll_b", "NLL B", COLUMN_NUMBER },
        { "delta_nll", "B \u2212 A", COLUMN_DIFFERENCE },
        { "mean_kld", "mean KL", COLUMN_NUMBER } },
      "Mean NLL of B less that of A, a dot for each window, in nats a token. Above zero A predicts "
      "the window better. The band is the 95 % interval of the mean.",
      "stats $data using 1 nooutput\n"
      "step = STATS_max > 1 ? 10**floor(log10(STATS_max)) : 1\n"
      "set xtics step > 1 && STATS_max < 3 * step ? step / 2 : step\n"
      "set xlabel 'window'\n"
      "set ylabel 'B − A (nats/token)'\n"
      "set autoscale xfix\n"
      "set yrange [*<0:0<*]\n"          /* show zero: is B different at all? */
      "set offsets 0.5, 0.5, 0, 0\n"
      "dot = |$data| < 100 ? 0.55 : 0.32\n"
      "set xzeroaxis linetype 1 linecolor rgb muted\n"
      "plot $data using 1:(low):(high) with filledcurves fillstyle solid 0.28 "
      "linecolor rgb second title '95 % interval of the mean', \\\n"
      "     $data using 1:5 with points pointtype 7 pointsize dot linecolor rgb first "
      "title 'one window', \\\n"
      "     $data using 1:(delta) with lines linewidth 2 linecolor rgb second title 'mean'\n",
      true, false },
    { "divergence", "KL divergence of the tokens", "kld_histogram", "scored",
      { { "from", "from", COLUMN_NUMBER }, { "to", "to", COLUMN_NUMBER },
        { "scored", "tokens", COLUMN_COUNT } },
      "How many tokens have which KL divergence of B from A, in nats, on a logarithmic axis. Lines "
      "mark the mean, and the mean of the noise floor where it was measured.",
      "set logscale x\n"
      "set format x '10^{%T}'\n"
      "set xtics font ',11'\n"
      "set xlabel 'KL(A ‖ B) of a token (nats)'\n"
      "set ylabel 'share of tokens (%)'\n"
      "set yrange [0:*]\n"
      "if (kld > 0) { set arrow 1 from kld, graph 0 to kld, graph 1 nohead front "
      "linewidth 2 linecolor rgb second }\n"
      "if (floor_kld > 0) { set arrow 2 from floor_kld, graph 0 to floor_kld, graph 1 nohead front "
      "linewidth 2 dashtype 2 linecolor rgb ink }\n"
      "share(n) = 100.0 * n / scored\n"
      /* The first bin begins at 0 and the last one has no end: draw them as wide as the others. */
      "plot $data using ($3 > 0 ? ($1 > 0 ? $1 : $2) : NaN):(share($3)):"
      "($3 == 0 ? NaN : $1 > 0 ? $1 : $2 / 10**0.25):"
      "($3 == 0 ? NaN : valid(2) ? $2 : $1 * 10**0.25):(0):(share($3)) "
      "with boxxyerror linecolor rgb first title 'tokens', \\\n"
      "     keyentry with lines linewidth 2 linecolor rgb second "
      "title (kld > 0 ? 'mean' : ''), \\\n"
      "     keyentry with lines linewidth 2 dashtype 2 linecolor rgb ink "
      "title (floor_kld > 0 ? 'noise floor' : '')\n",
      false, false },
    { "confidence", "KL by confidence of the original", "kld_by_confidence", "mean_kld",
      { { "from", "from", COLUMN_SHARE }, { "to", "to", COLUMN_SHARE },
        { "scored", "tokens", COLUMN_COUNT }, { "mean_kld", "mean KL", COLUMN_NUMBER },
        { "kld_stderr", "standard error", COLUMN_NUMBER },
        { "same_top1", "same top token", COLUMN_SHARE } },
      "Mean KL divergence of B from A, in nats a token, by the probability that A gives its most "
      "probable token. Bars are two standard errors either way.",
      "set xlabel 'probability of A’s top token (%)'\n"
      "set xtics font ',10'\n"
      "set ylabel 'mean KL (nats/token)'\n"
      "set yrange [0:*]\n"
      "set boxwidth 0.7\n"
      "set xrange [-0.6:*]\n"
      "set offsets 0, 0.6, 0, 0\n"
      "plot $data using 0:4:xtic(sprintf('%g–%g', 100 * $1, 100 * $2)) with boxes "
      "fillstyle solid 0.6 linecolor rgb first title 'mean, ± 2 standard errors', \\\n"
      "     $data using 0:($4 - 2 * $5):(0):(4 * $5) with vectors nohead linewidth 2 "
      "linecolor rgb ink notitle\n",
      false, false },
    { "layers", "Error by layer", "layers", "residual_error",
      { { "layer", "layer", COLUMN_COUNT }, { "type", "type", COLUMN_TEXT },
        { "residual_error", "residual stream", COLUMN_SHARE },
        { "output_error", "the layer\u2019s own output", COLUMN_SHARE } },
      "Relative error of B against A after each layer: of the residual stream, which gathers the "
      "errors of the layers before, and of the layer's own output given A's input.",
      "set autoscale xfix\n"
      "set xlabel 'layer'\n"
      "set ylabel 'relative error (%)'\n"
      "set yrange [0:*]\n"
      "plot $data using 1:(100 * $3) with linespoints pointtype 7 pointsize 0.4 linewidth 2 "
      "linecolor rgb first title 'residual stream', \\\n"
      "     $data using 1:(100 * $4) with linespoints pointtype 5 pointsize 0.4 linewidth 2 "
      "linecolor rgb second title 'own output'\n",
      false, false },
    { "routing", "Routing agreement by layer", "layers", "same_experts",
      { { "layer", "layer", COLUMN_COUNT }, { "same_experts", "tokens with the same experts",
          COLUMN_SHARE }, { "changed_experts", "experts changed", COLUMN_SHARE } },
      "Share of tokens that B sends to exactly the experts that A sends them to, and mean share of "
      "the chosen experts that differ.",
      "set autoscale xfix\n"
      "set xlabel 'layer'\n"
      "set ylabel 'share (%)'\n"
      "set yrange [0:100]\n"
      "plot $data using 1:(100 * $2) with linespoints pointtype 7 pointsize 0.4 linewidth 2 "
      "linecolor rgb first title 'same experts', \\\n"
      "     $data using 1:(100 * $3) with linespoints pointtype 5 pointsize 0.4 linewidth 2 "
      "linecolor rgb second title 'experts changed'\n",
      false, false },
    { "positions", "NLL by position in the window", "positions", "nll_a",
      { { "from", "from", COLUMN_COUNT }, { "to", "to", COLUMN_COUNT },
        { "scored", "tokens", COLUMN_COUNT }, { "nll_a", "NLL A", COLUMN_NUMBER },
        { "nll_b", "NLL B", COLUMN_NUMBER } },
      "Mean NLL of A and of B, in nats a token, by the place of the predicted token in its window.",
      POSITION_AXIS
      "set ylabel 'NLL (nats/token)'\n"
      "plot $data using (($1 + $2) / 2):4 with linespoints pointtype 7 pointsize 0.4 linewidth 2 "
      "linecolor rgb first title 'A', \\\n"
      "     $data using (($1 + $2) / 2):5 with linespoints pointtype 5 pointsize 0.4 linewidth 2 "
      "dashtype 2 linecolor rgb second title 'B'\n",
      false, false },
    { "position_difference", "Difference by position", "positions", "delta_nll",
      { { "from", "from", COLUMN_COUNT }, { "to", "to", COLUMN_COUNT },
        { "scored", "tokens", COLUMN_COUNT }, { "delta_nll", "B \u2212 A", COLUMN_DIFFERENCE },
        { "delta_nll_stderr", "standard error", COLUMN_NUMBER } },
      "Mean NLL of B less that of A by the place of the predicted token in its window, with two "
      "standard errors either way.",
      POSITION_AXIS
      "set ylabel 'B − A (nats/token)'\n"
      "set xzeroaxis linetype 1 linecolor rgb muted\n"
      "plot $data using (($1 + $2) / 2):($4 - 2 * $5):(0):(4 * $5) with vectors nohead "
      "linewidth 1.5 linecolor rgb first notitle, \\\n"
      "     $data using (($1 + $2) / 2):4 with points pointtype 7 pointsize 0.4 "
      "linecolor rgb first title 'B − A, ± 2 standard errors'\n",
      false, false },
};

/* ---- data -------------------------------------------------------------------------- */

static void append_number(struct markup *m, double value)
{
    if (isfinite(value))
        markup_printf(m, "%.9g", value);
    else
        markup_raw(m, "?");
}

static void append_constant(struct markup *m, const char *name, const cJSON *document,
                            const char *path)
{
    double value = figure_value(document, path, strlen(path));
    markup_printf(m, "%s = ", name);
    if (isfinite(value))
        markup_printf(m, "real(%.17g)\n", value);
    else
        markup_raw(m, "NaN\n");
}

/* Writes $data and the constants.  Numbers only: gnuplot sees no text of a checkpoint or data
 * set. */
static void append_data(struct markup *m, const struct figure *f, const cJSON *document)
{
    append_constant(m, "scored", document, "scored");
    append_constant(m, "delta", document, "delta_nll");
    append_constant(m, "low", document, "delta_nll_ci95.0");
    append_constant(m, "high", document, "delta_nll_ci95.1");
    append_constant(m, "kld", document, "mean_kld");
    append_constant(m, "floor_kld", document, "floor.mean_kld");
    markup_raw(m, "$data << END\n");
    const cJSON *row;
    cJSON_ArrayForEach(row, json_get(document, f->array)) {
        for (size_t i = 0; i < HTML_COLUMNS_MAX && f->columns[i].key; i++) {
            append_number(m, html_table_value(json_get(row, f->columns[i].key)));
            markup_raw(m, " ");
        }
        markup_raw(m, "\n");
    }
    markup_raw(m, "END\n");
}

/* The number of rows that can be shown. */
static size_t rows_with_data(const struct figure *f, const cJSON *document)
{
    const cJSON *row;
    size_t n = 0;
    cJSON_ArrayForEach(row, json_get(document, f->array)) {
        const cJSON *item = json_get(row, f->needed);
        n += cJSON_IsNumber(item) && (!f->positive || item->valuedouble > 0) ? 1 : 0;
    }
    return n;
}

/* ---- the figure ---------------------------------------------------------------------- */

static bool append_plots(struct markup *m, const struct figure *f, const cJSON *document,
                         const char *scope, struct error *missing)
{
    static const struct {
        const char *suffix, *classes;
        unsigned width, height;         /* of a figure of full width */
        unsigned half_width, half_height;
    } sizes[] = {
        { "wide", "plot wide", 960, 300, 464, 280 },
        { "narrow", "plot narrow", 352, 260, 352, 250 },
    };
    struct markup script = { .err = missing };
    append_data(&script, f, document);
    markup_raw(&script, f->script);
    bool ok = !script.failed;
    for (size_t i = 0; ok && i < sizeof sizes / sizeof *sizes; i++) {
        char id[128];
        snprintf(id, sizeof id, "%s%s_%s", scope, f->id, sizes[i].suffix);
        struct plot p = {
            .id = id, .title = f->title, .description = f->description,
            .classes = sizes[i].classes, .script = script.out.data,
            .width = f->full_width ? sizes[i].width : sizes[i].half_width,
            .height = f->full_width ? sizes[i].height : sizes[i].half_height,
        };
        ok = plot_append(m, &p, missing);
    }
    markup_free(&script);
    return ok;
}

static void append_figure(struct markup *m, const struct figure *f, const cJSON *document,
                          const char *scope, struct error *missing)
{
    size_t n_rows = rows_with_data(f, document), n_columns = 0;
    if (n_rows == 0)
        return;
    while (n_columns < HTML_COLUMNS_MAX && f->columns[n_columns].key)
        n_columns++;
    markup_printf(m, "<figure id=\"%s%s\"%s>\n<h3>%s</h3>\n", scope, f->id,
                  f->full_width ? " class=\"full\"" : "", f->title);
    /* One row does not make a plot. */
    bool drawn = n_rows > 1 && !missing->message[0] && append_plots(m, f, document, scope, missing);
    markup_printf(m, "<figcaption>%s</figcaption>\n<details%s><summary>Numbers</summary>\n",
                  f->description, drawn ? "" : " open");
    html_table(m, json_get(document, f->array), f->columns, n_columns, f->title);
    markup_raw(m, "</details>\n</figure>\n");
}

void html_figures(struct markup *m, const cJSON *document, const char *scope,
                  struct error *missing)
{
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        append_figure(m, &figures[i], document, scope, missing);
}
