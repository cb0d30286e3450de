/* plot.h - a plot by gnuplot, as an SVG that becomes part of a page.
 *
 * gnuplot runs as a child process of its own, found by PATH, without a shell; script and data go in by
 * its standard input, the SVG comes back by its standard output.
 *
 * A page has a light and a dark side, so a plot names roles instead of colours: the script's colours
 * are the string variables paper, ink, muted, rule, first, second, and each becomes the CSS variable
 * of that name (--ink and so on). */
#ifndef SURPRISAL_EVAL_REPORT_PLOT_H
#define SURPRISAL_EVAL_REPORT_PLOT_H

#include "eval/report/markup.h"

struct plot {
    const char *id;             /* of the SVG; all ids inside begin with it; [a-z_] */
    const char *title, *description;    /* for those who cannot see it */
    const char *classes;        /* CSS classes of the svg element */
    unsigned width, height;     /* of its coordinates; the page scales it */
    const char *script;         /* gnuplot: data blocks, settings, plot */
};

/* Appends the svg element.  False when there is no gnuplot, or it failed or took too long: nothing is
 * appended then, and err says why. */
bool plot_append(struct markup *page, const struct plot *p, struct error *err);

#endif
