/* pass.h - one pass over the checkpoint: the residual stream of its windows, layer by layer. */
#ifndef SURPRISAL_ENGINE_PASS_H
#define SURPRISAL_ENGINE_PASS_H

#include "engine/engine.h"
#include "engine/weight_schedule.h"
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
    struct weight_schedule parts;             /* owned */
    const struct mtp_weights *mtp;  /* borrowed; NULL: nothing is drafted */
    struct weight_schedule draft_parts;       /* owned: of one draft */
    struct progress progress;
    int n_threads;
    struct budget budget;           /* what is left of it is for the engine */
    bool evict;                     /* weights leave the system's cache after their use */
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
    struct nonfinite *nonfinite;    /* [n_windows]: of the job; NULL: none is left out */
    struct stream *stream;          /* owned */
    struct weight_feed feed;
    size_t tile_tokens;
    bool keep_all;                  /* rows that are not scored stay to the end, too */
    struct engine_state at;         /* x and how far it has come */
    bool not_resumable;             /* x is within a step, from which no run can continue */
    size_t draft;                   /* in work, counted from 1; 0: none yet */
    size_t draft_bytes;             /* read for drafts */
    size_t ahead_bytes;             /* of weights in memory */
    /* For progress: */
    double done_before, tokens, all_tokens; /* model tokens of earlier passes, this one, all */
    size_t bytes_before;            /* read by earlier passes */
    double flop, flop_done, step_flop;
    double started;                 /* seconds */
};

/* How an engine computes. */
struct compute engine_compute(const struct engine *e);

/* Ids in the vocabulary, windows in the ids; an error names index and id. */
bool engine_check_input(const struct engine *e, const int32_t *ids, size_t n_ids,
                        const struct engine_window *windows, size_t n_windows, struct error *err);
/* Gives [times * n] windows: each one `times` in a row, without scored targets, for passes that end
 * before the head. */
struct engine_window *pass_windows_without_targets(const struct engine_window *windows, size_t n,
                                                   size_t times, struct error *err);

/* A plan for windows that one engine runs alone, and from which n_drafts are made.  Fails if its
 * budget does not suffice.  *least_bytes (may be NULL): the smallest budget of the process that
 * suffices. */
bool engine_plan(struct plan *plan, size_t *least_bytes, const struct engine *e,
                 const struct engine_window *windows, size_t n_windows, size_t n_drafts,
                 struct error *err);

/* Takes memory for at->n_windows windows from at->first_window on out of an arena, whose block is
 * used by one pass after another, and fills the residual stream with the state `at`; at the
 * beginning that is the embeddings of the windows. */
bool pass_open(struct pass *p, const struct engine *e, const struct plan *plan, struct arena *arena,
               const struct engine_job *job, const struct engine_state *at, struct error *err);
void pass_close(struct pass *p);

/* Runs the stream through layer at.layer, or the rest of it; after the last layer also through the
 * final norm. */
bool pass_layer(struct pass *p, struct error *err);
/* After the last layer of a pass that keeps all rows: hidden [n_tokens, D] gets the states after
 * the final norm, of which the scored ones stay in x. */
void pass_finish_all(struct pass *p, float *hidden);
/* Has every window with targets been left out? */
bool pass_is_empty(const struct pass *p);
/* Goes to the head at once, with the rows of the scored targets; what they hold is lost. */
void pass_drop_layers(struct pass *p);
/* Offers the state to the saver. */
bool pass_offer(struct pass *p, bool now, struct error *err);
/* Reports the fraction of the current step that is done; false: stop. */
bool pass_report(void *pass, double fraction);

#endif
