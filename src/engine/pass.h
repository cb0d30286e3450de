/* pass.h - one pass over the checkpoint: the residual stream of its windows, layer by layer. */
#ifndef SURPRISAL_ENGINE_PASS_H
#define SURPRISAL_ENGINE_PASS_H

#include "engine/engine.h"
#include "engine/plan.h"
#include "model/compute.h"
#include "model/moe.h"

struct engine {
    const struct checkpoint *ck;    /* borrowed */
    const struct weights *w;        /* borrowed */
    const struct kernels *kernels;
    struct progress progress;
    int n_threads;
    size_t memory_bytes;
};

/* What the model is run on; borrowed. */
struct engine_input {
    const int32_t *ids;
    const struct engine_window *windows;
    double model_tokens;            /* of all windows, for progress */
};

struct pass {
    const struct engine *e;
    const struct engine_input *input;
    struct compute cm;
    struct arena arena;             /* owned */
    struct batch batch;
    size_t *start;                  /* owned [n_windows + 1] */
    float *x;                       /* owned [n_tokens, D]: the residual stream */
    struct routing routing;         /* owned: of the last layer done */
    size_t tile_tokens;
    size_t layer;                   /* the one in work; num_hidden_layers: the head */
    double done_before;             /* tokens of earlier passes, for progress */
};

/* How an engine computes, with the given scratch. */
struct compute engine_compute(const struct engine *e, struct arena *arena);

/* Takes the memory for windows [first, first + n) of the input. */
bool pass_open(struct pass *p, const struct engine *e, const struct plan *plan,
               const struct engine_input *input, size_t first, size_t n, struct error *err);
void pass_close(struct pass *p);

/* Fills the stream with the windows' embeddings. */
void pass_embed(struct pass *p);
/* Takes the stream through one layer. */
bool pass_layer(struct pass *p, size_t layer, struct error *err);
/* Reports that `share` of the layer in work is done; false: stop. */
bool pass_report(void *pass, double share);

#endif
