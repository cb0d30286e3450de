/* generate_json.h - an answer and what decided it, as JSON (docs/generate.md has the fields). */
#ifndef SURPRISAL_GENERATE_GENERATE_JSON_H
#define SURPRISAL_GENERATE_GENERATE_JSON_H

#include "eval/score/model.h"
#include "generate/continuation.h"

struct generate_json {
    const struct model *model;
    const struct surprisal_machine *machine;
    const struct sampler_settings *sampling;
    const struct continuation *answer;
    const struct surprisal_generate_result *result;
    size_t context;                     /* of the model; 0: unknown */
};

/* Gives the text (free with cJSON_free); NULL when memory is out. */
char *generate_json(const struct generate_json *g);

#endif
