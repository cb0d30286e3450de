/* scoring.h - takes the engine's scores as they come: into windows' sums and the run folder. */
#ifndef SURPRISAL_EVAL_SCORE_SCORING_H
#define SURPRISAL_EVAL_SCORE_SCORING_H

#include "engine/types.h"
#include "eval/run/run_folder.h"
#include "eval/protocol/sequence.h"
#include "eval/statistics/statistics.h"

struct scoring {
    const struct sequence *sequence;
    struct window_score *windows;       /* owned [sequence->windows.n] */
    struct token_place *places;         /* owned; of the rows in work */
    size_t capacity;
    size_t window, target, row;         /* the next one to come */
    struct run_folder *out;             /* NULL: none */
};

/* sequence and out (NULL: none) stay borrowed. */
bool scoring_begin(struct scoring *s, const struct sequence *sequence, struct run_folder *out,
                   struct error *err);
void scoring_free(struct scoring *s);
/* The engine's sink; user is the struct scoring. */
bool scoring_consume(void *user, size_t row, size_t n, const struct engine_score *scores,
                     const float *hidden, struct error *err);
/* Takes in the first rows, which an earlier process wrote into the folder. */
bool scoring_replay(struct scoring *s, size_t rows, struct error *err);

#endif
