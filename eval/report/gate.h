/* gate.h - conditions on the figures of a comparison, for CI.
 *
 *     gate   = value ("<=" | "<" | ">=" | ">" | "==" | "!=") value
 *     value  = term [("*" | "/" | "+" | "-") term]
 *     term   = NUMBER | FIGURE | "abs(" FIGURE ")"
 *
 * with optional spaces: 'mean_kld<=0.02', 'abs(delta_nll) < 0.005', 'mean_kld/floor.mean_kld <=
 * 20', 'mean_kld <= baseline.mean_kld*1.05'.  FIGURE is a name that figure.h knows; a gate has at
 * least one.  NUMBER is decimal, with an optional sign and exponent.  == and != compare exactly. */
#ifndef SURPRISAL_EVAL_REPORT_GATE_H
#define SURPRISAL_EVAL_REPORT_GATE_H

#include "base/json.h"

struct gate_term {
    const char *figure;         /* borrows from the text; NULL: a number */
    size_t length;
    bool absolute;
    double number;
};

struct gate_value {
    const char *text;           /* borrows; as the user typed it */
    size_t length;
    struct gate_term first, second;
    char operator;              /* between them; 0: the first alone */
};

struct gate {
    const char *text;           /* borrows */
    struct gate_value left, right;
    const char *comparison;     /* "<=" and so on */
};

/* Refuses wrong syntax (the error names the place) and unknown figures (it names similar ones). */
bool gate_parse(struct gate *g, const char *text, struct error *err);
/* Does it contain a figure of the baseline? */
bool gate_needs_baseline(const struct gate *g);

/* Does the document meet the gate?  baseline may be NULL when the gate does not need it.  *found
 * names the figures in both cases ("mean_kld is 0.0213"), with enough digits to decide the gate.  A
 * figure that is null or absent, or a value that is not finite, fails every gate. */
bool gate_met(const struct gate *g, const cJSON *document, const cJSON *baseline,
              struct error *found);

#endif
