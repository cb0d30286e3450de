/* describe.h - which figures and settings of a comparison people are shown, under which names, and
 * how their numbers are written: one list for text, Markdown and HTML.
 *
 * Numbers are plain ASCII but for the sign ±.  A figure with a standard error has the digits that the
 * error leaves it, two of them uncertain. */
#ifndef SURPRISAL_EVAL_REPORT_DESCRIBE_H
#define SURPRISAL_EVAL_REPORT_DESCRIBE_H

#include "base/json.h"

#define DESCRIBE_BYTES 96
#define DESCRIBE_NAME_BYTES 256         /* a file name has at most 255 */
#define DESCRIBE_NONE  "n/a"            /* of what is null or absent */

enum number_kind {
    NUMBER_PLAIN,               /* four digits */
    NUMBER_FINE,                /* six */
    NUMBER_DIFFERENCE,          /* with its sign */
    NUMBER_SHARE,               /* in percent */
    NUMBER_COUNT,               /* whole, in groups of three digits */
    NUMBER_WHOLE,               /* digits alone */
    NUMBER_GIGABYTES,
    NUMBER_INTERVAL,            /* [low, high] */
    NUMBER_WORD,                /* a string */
};

struct key_figure {
    const char *group;          /* heading above this figure and those that follow; NULL: as before */
    const char *label, *unit;
    const char *path, *error;   /* as in figure.h; error: its standard error, or NULL */
    enum number_kind kind;
};

extern const struct key_figure describe_key_figures[];      /* of a comparison */
extern const size_t describe_n_key_figures;
extern const struct key_figure describe_run_figures[];      /* of each run's summary */
extern const size_t describe_n_run_figures;

/* What decides the numbers of a run: paths into its summary. */
struct setting {
    const char *label, *path;
    enum number_kind kind;
};

extern const struct setting describe_settings[];
extern const size_t describe_n_settings;

/* A number by itself; NaN is DESCRIBE_NONE. */
void describe_number(char out[DESCRIBE_BYTES], enum number_kind kind, double value);
/* "value ± error", rounded to the error; without one where that is NaN. */
void describe_pair(char out[DESCRIBE_BYTES], enum number_kind kind, double value, double error);
/* The figure as it stands in a document (with_error: and its error); false when it is not there. */
bool describe_figure(char out[DESCRIBE_BYTES], const struct key_figure *f, const cJSON *document,
                     bool with_error);
/* Its change since the baseline; false when one of the two lacks it, or it cannot be subtracted. */
bool describe_change(char out[DESCRIBE_BYTES], const struct key_figure *f, const cJSON *document,
                     const cJSON *baseline);
/* The setting in a summary; strings are borrowed from it, numbers stand in `number`. */
const char *describe_setting(char number[DESCRIBE_BYTES], const struct setting *s,
                             const cJSON *summary);

/* The last part of a checkpoint's path, by which it is called.  run: "a" or "b". */
void describe_name(char out[DESCRIBE_NAME_BYTES], const cJSON *document, const char *run);

#endif
