/* describe.h - the figures and settings of a comparison that reports show, their labels, and the
 * format of their numbers: one list for text, Markdown and HTML.
 *
 * Numbers are ASCII except for the sign ±.  The standard error of a figure decides its digits: the
 * last two are uncertain. */
#ifndef SURPRISAL_EVAL_REPORT_DESCRIBE_H
#define SURPRISAL_EVAL_REPORT_DESCRIBE_H

#include "base/json.h"

#define DESCRIBE_BYTES 96
#define DESCRIBE_NAME_BYTES 256         /* a file name has at most 255 */
#define DESCRIBE_NONE  "n/a"            /* null or absent */

enum number_kind {
    NUMBER_PLAIN,               /* four digits */
    NUMBER_FINE,                /* six */
    NUMBER_DIFFERENCE,          /* with its sign */
    NUMBER_SHARE,               /* in percent */
    NUMBER_COUNT,               /* whole, in groups of three digits */
    NUMBER_WHOLE,               /* digits only */
    NUMBER_GIGABYTES,
    NUMBER_GIGABYTES_MORE,      /* with its sign */
    NUMBER_INTERVAL,            /* [low, high] */
    NUMBER_WORD,                /* a string */
};

struct key_figure {
    const char *group;          /* heading above this figure; NULL: same as before */
    const char *label, *unit;
    const char *path, *error;   /* as in figure.h; error: its standard error, or NULL */
    enum number_kind kind;
};

extern const struct key_figure describe_key_figures[];      /* of a comparison */
extern const size_t describe_n_key_figures;
extern const struct key_figure describe_run_figures[];      /* of each run's summary */
extern const size_t describe_n_run_figures;

/* Settings that decide the numbers of a run: paths into its summary. */
struct setting {
    const char *label, *path;
    enum number_kind kind;
};

extern const struct setting describe_settings[];
extern const size_t describe_n_settings;

/* Writes a number; NaN as DESCRIBE_NONE. */
void describe_number(char out[DESCRIBE_BYTES], enum number_kind kind, double value);
/* Writes "value ± error", rounded according to the error; only the value if the error is NaN. */
void describe_pair(char out[DESCRIBE_BYTES], enum number_kind kind, double value, double error);
/* Writes a figure of a document, and with_error its error; false when the document lacks it. */
bool describe_figure(char out[DESCRIBE_BYTES], const struct key_figure *f, const cJSON *document,
                     bool with_error);
/* Writes its change since the baseline; false when one of the two lacks it, or it is not a
 * number. */
bool describe_change(char out[DESCRIBE_BYTES], const struct key_figure *f, const cJSON *document,
                     const cJSON *baseline);
/* The setting in a summary: a string borrowed from it, or a number written to `number`. */
const char *describe_setting(char number[DESCRIBE_BYTES], const struct setting *s,
                             const cJSON *summary);

/* The warnings of a comparison, one by one: those of both runs and its own (eval/compare/warned.h).
 * Zero-initialise; false after the last. */
struct describe_warning {
    const char *of;             /* "A", "B"; "" for the comparison */
    const char *line;           /* borrowed */
    const cJSON *item;
    size_t group;
};
bool describe_warning_next(struct describe_warning *w, const cJSON *document);

/* The name of a checkpoint: the last part of its path.  run: "a" or "b". */
void describe_name(char out[DESCRIBE_NAME_BYTES], const cJSON *document, const char *run);

#endif
