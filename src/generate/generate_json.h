/* generate_json.h - an answer and what decided it, as JSON (docs/generate.md has the fields). */
#ifndef SURPRISAL_GENERATE_GENERATE_JSON_H
#define SURPRISAL_GENERATE_GENERATE_JSON_H

#include "generate/generation.h"

/* Gives the text; free().  NULL when memory is out.  A chat's is one line. */
char *generate_json(const struct generation *g, const struct turn *t);

#endif
