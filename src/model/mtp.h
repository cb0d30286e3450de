/* mtp.h - the layer of multi-token prediction (MTP): it drafts the tokens after the next one.
 *
 * Slot i of a sequence belongs to position i and sees the token after it.  With h[i] the model's
 * hidden state after its last norm and E the model's embedding,
 *
 *     x[i] = fc [ norm(E[ids[i + 1]]) ; norm(h[i]) ]       pre_fc_norm_embedding,
 *                                                          pre_fc_norm_hidden
 *     y[i] = one full-attention layer of x, rotary position i
 *     m[i] = norm(y[i])                                    mtp.norm
 *
 * and the head on m[i] drafts ids[i + 2].  A second draft takes m[i] in place of h[i + 1], and the
 * first draft in place of ids[i + 2], in slot i + 1; and so on: a chain.  Its attention sees the
 * keys of true hidden states up to slot i, and then those of its own slots.  (vLLM,
 * vllm/model_executor/models/qwen3_5_mtp.py: Qwen3_5MultiTokenPredictor.)  In BF16 compute it
 * rounds where compute.h says of norms, linear layers and layers.
 *
 * A call computes one slot of each row.  Without a chain a row is the next slot of its window's
 * sequence, in order, and the states get its keys.  With a chain all rows of a window are there,
 * row i being the chain that begins after slot i; the states hold all slots of the window and stay
 * as they are. */
#ifndef SURPRISAL_MODEL_MTP_H
#define SURPRISAL_MODEL_MTP_H

#include "model/layer.h"

struct mtp_task {
    const struct mtp_weights *weights;
    struct batch batch;             /* without output_rows */
    float *x;                       /* [n_tokens, D]: embeddings of the slots' tokens -> m */
    const float *hidden;            /* [n_tokens, D]: h, or m of the slots before */
    struct routing routing;         /* [n_tokens, k] */
    size_t tile_tokens;             /* a multiple of DELTA_CHUNK */
    struct attention_state *const *states;      /* [n_windows] */
    struct attention_chain chain;   /* n > 0: there is one */
    /* Part first_part is all but experts or MLP, the others follow as in layer.h. */
    const struct weight_feed *feed;
    size_t first_part;
    struct step_progress progress;  /* told the fraction of the step that is done */
};

struct mtp_buffers {
    float *embedding_norm, *hidden_norm, *norm;     /* [D] */
    /* One after the other: */
    float *pair;                    /* [rows of a tile, 2 D] */
    struct linear_buffers fc;
    struct layer_buffers layer;
};

/* For tasks of up to n_tokens in windows of up to `longest`. */
struct mtp_buffers mtp_buffers_take(struct arena *a, const struct compute *cm, size_t n_tokens,
                                    size_t longest, size_t tile_tokens);

/* A NaN or infinity is an error that names step, window and token, which is the first of the
 * chain. */
bool mtp_forward(const struct compute *cm, const struct mtp_task *task, struct mtp_buffers *b,
                 struct error *err);

#endif
