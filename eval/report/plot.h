/* plot.h - a plot by gnuplot, as an SVG that becomes part of a page.
 *
 * gnuplot runs as a child process, found by PATH, without a shell; it reads script and data from
 * standard input and writes the SVG to standard output.
 *
 * A page can be light or dark, so a plot names roles instead of colours: the colours of the script
 * are the string variables paper, ink, muted, rule, first and second, and each becomes the CSS
 * variable of that name (--ink and so on). */
#ifndef SURPRISAL_EVAL_REPORT_PLOT_H
#define SURPRISAL_EVAL_REPORT_PLOT_H

#include "eval/report/markup.h"

struct plot {
    const char *id;             /* [a-z0-9_]: of the SVG, and prefix of all ids in it */
    const char *title, *description;    /* for screen readers */
    const char *classes;        /* CSS classes of the svg element */
    unsigned width, height;     /* of its coordinates; the page scales it */
    const char *script;         /* gnuplot: data blocks, settings, plot */
};

/* Appends the svg element.  If gnuplot is missing, failed or took too long, appends nothing; err
 * says why. */
bool plot_append(struct markup *page, const struct plot *p, struct error *err);

#endif
