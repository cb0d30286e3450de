/* pass.h - one pass over the checkpoint: the residual stream of its windows, layer by layer. */
#ifndef SURPRISAL_ENGINE_PASS_H
#define SURPRISAL_ENGINE_PASS_H

#include "engine/engine.h"
#include "engine/parts.h"
#include "engine/plan.h"
#include "formats/weights.h"
#include "kernels/kernels.h"
#include "model/compute.h"
#include "model/moe.h"

struct engine {
    const struct checkpoint *ck;    /* borrowed */
    const struct weights *w;        /* borrowed */
    const struct kernels *kernels;
    enum compute_type compute;
    struct parts parts;             /* owned */
    struct progress progress;
    int n_threads;
    struct budget budget;           /* left of it: for all that the engine holds */
    bool evict;                     /* weights from the system's cache behind their use */
};

struct pass {
    const struct engine *e;
    const struct engine_job *job;
    struct compute cm;
    struct arena *arena;            /* borrowed; in it: */
    struct batch batch;
    size_t *start, *skipped;        /* [n_windows + 1] */
    size_t *scored;                 /* [n_windows + 1]: scored targets before each window */
    float *x;                       /* [n_tokens, D]: the residual stream */
    struct routing routing;         /* of the last layer done */
    struct stream *stream;          /* owned */
    struct weight_feed feed;
    size_t tile_tokens;
    bool keep_all;                  /* rows that are not scored too, to the end */
    struct engine_state at;         /* x and what has been done to it */
    bool not_resumable;             /* x stands within a step, and could not go on from there */
    /* For progress: */
    double done_before, tokens, all_tokens; /* model tokens: of earlier passes; of this one; of all */
    size_t bytes_before;            /* read by earlier passes */
    double flop, flop_done, step_flop;
    double started;                 /* seconds */
};

/* How an engine computes, with the given scratch. */
struct compute engine_compute(const struct engine *e, struct arena *arena);

/* Ids in the vocabulary, windows in the ids; an error names index and id. */
bool engine_check_input(const struct engine *e, const int32_t *ids, size_t n_ids,
                        const struct engine_window *windows, size_t n_windows, struct error *err);
/* Gives [times * n]: each window `times` in a row, and no target of it scored, for passes that end
 * before the head. */
struct engine_window *pass_windows_without_targets(const struct engine_window *windows, size_t n,
                                                   size_t times, struct error *err);

/* A plan for windows that an engine runs by themselves.  An error when its budget does not suffice.
 * *least_bytes (NULL: not asked): the smallest budget of the process that does. */
bool engine_plan(struct plan *plan, size_t *least_bytes, const struct engine *e,
                 const struct engine_window *windows, size_t n_windows, struct error *err);

/* Takes the memory for the windows of at->first_window and n_windows from an arena, whose block serves
 * one pass after another, and brings the stream to where `at` stands: at the beginning that is the
 * windows' embeddings. */
bool pass_open(struct pass *p, const struct engine *e, const struct plan *plan, struct arena *arena,
               const struct engine_job *job, const struct engine_state *at, struct error *err);
void pass_close(struct pass *p);

/* Takes the stream through the layer at.layer, or what is left of it; after the last one through the
 * final norm, too. */
bool pass_layer(struct pass *p, struct error *err);
/* Offers the state to the saver. */
bool pass_offer(struct pass *p, bool now, struct error *err);
/* Reports that `share` of the step in work is done; false: stop. */
bool pass_report(void *pass, double share);

#endif
