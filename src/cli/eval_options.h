/* eval_options.h - the options that say how a checkpoint is evaluated, and what eval's plan looks
 * like: shared by the commands that evaluate. */
#ifndef SURPRISAL_CLI_EVAL_OPTIONS_H
#define SURPRISAL_CLI_EVAL_OPTIONS_H

#include <surprisal.h>

#include "hub.h"
#include "options.h"
#include "progress.h"

/* The first member of the settings of a command that has these options. */
struct eval_settings {
    struct surprisal_eval_options eval;
    struct progress_line progress;
    struct hub hub;
};

/* Of the commands that score. */
#define OPTION_SKIP_NONFINITE(place) \
    { .name = "skip-nonfinite", \
      .help = "a NaN or infinity does not end the run: its window is left out of all\n" \
              "figures, and that is said", \
      .parse = parse_switch, place }

#define EVAL_OPTIONS 18
extern const struct option eval_options[EVAL_OPTIONS];

/* For parse_choice: kinds of hidden states, protocols, tasks. */
extern const struct choice eval_options_hidden[], eval_options_protocols[], eval_options_tasks[];

/* surprisal_eval_options.plan; user: the struct progress_line. */
void eval_options_show_plan(void *user, const struct surprisal_plan *plan);

#endif
