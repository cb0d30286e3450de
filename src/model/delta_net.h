/* delta_net.h - Gated DeltaNet, the linear attention of three layers in four
 * (Qwen3_5MoeGatedDeltaNet; Gated Delta Networks, arXiv 2412.06464).
 *
 * qkv and z by projection; qkv through a causal depthwise convolution and SiLU; q and k to unit
 * length; decay = exp(-exp(A_log) softplus(a + dt_bias)), beta = sigmoid(b); the delta rule head
 * by head (kernels/delta_rule.h); the output RMS-normed per head, times norm.weight, times
 * SiLU(z).  Key heads are repeated for consecutive value heads.
 *
 * A sequence that is computed in several calls keeps what later tokens need in a state, one for
 * each layer.  The caller owns the states and their memory, and chooses which sequences are in a
 * call.  Results do not depend on where a sequence is cut, if n_past is a multiple of DELTA_CHUNK
 * there.
 *
 * With few rows (struct compute) the delta rule takes each row by itself, so results do not depend
 * on where a sequence is cut at all.  A sequence cannot forget a token by arithmetic: a state that
 * may have to go back some rows has memory for the states before its last rows. */
#ifndef SURPRISAL_MODEL_DELTA_NET_H
#define SURPRISAL_MODEL_DELTA_NET_H

#include "formats/weights.h"
#include "model/buffers.h"
#include "model/linear.h"

/* Of one sequence in one layer. */
struct delta_net_state {
    float *recurrent_state;         /* [HV, dk, dv]: borrowed */
    float *conv_state;              /* [width - 1, channels]: qkv before the convolution, of the
                                       last tokens; borrowed */
    size_t n_past;                  /* tokens so far; 0: both count as zeros */
    /* After a call of r few rows, the states before the last r - 1 rows: before[0] without the last
     * row, before[1] without the last two.  A call has at most n_before + 1 rows then. */
    struct delta_net_state *before; /* [n_before]: borrowed */
    size_t n_before;
};

/* Memory of a state, however long the sequence is. */
size_t delta_net_state_bytes(const struct config *c);
/* No tokens yet; memory [delta_net_state_bytes], 64-byte aligned. */
void delta_net_state_init(struct delta_net_state *s, const struct config *c, void *memory);
/* Forgets the last n rows of the last call, n <= n_before and less than its rows. */
void delta_net_state_take_back(struct delta_net_state *s, size_t n);
/* The same tokens in the memory that *to has. */
void delta_net_state_copy(struct delta_net_state *to, const struct delta_net_state *from,
                          const struct config *c);

struct delta_net_buffers {
    float *qkv;                     /* [rows, channels] */
    float *a, *b, *beta;            /* [rows, HV] */
    double *decay;                  /* [rows, HV] */
    float *mixed;                   /* [rows, HV * dv] */
    float *z;                       /* [output_rows, HV * dv] */
    /* One after the other: */
    struct linear_buffers linear;
    struct delta_net_gates {
        float *A_log, *dt_bias;     /* [HV] */
    } gates;
    struct delta_net_convolution {
        float *row;                 /* [width] */
        float *weight;              /* [width, channels] */
        /* Of a block of channels: */
        struct thread_buffers inputs;       /* [width] rows */
        struct thread_buffers weights;      /* [width, channels] */
        struct thread_buffers next;         /* [width - 1, channels]: of the next conv_state */
    } convolution;
    struct thread_buffers state;    /* [dk, dv]: of a head of a sequence without a state */
    struct thread_buffers rule;     /* delta_rule_scratch() */
    float *norm;                    /* [dv] */
};

/* For tiles of up to `rows` tokens. */
struct delta_net_buffers delta_net_buffers_take(struct arena *a, const struct compute *cm,
                                                size_t rows, size_t output_rows);

/* out [n_output_rows, D] = delta net of h [n, D], the normed input of the tile, which is used up.
 * states [tile->n_windows]: rows of window w continue the sequence of states[w], which then holds
 * them too; NULL: each window is a whole sequence. */
void delta_net_forward(const struct compute *cm, const struct delta_net_buffers *b, float *out,
                       float *h, const struct delta_net_weights *w, const struct tile *tile,
                       struct delta_net_state *const *states);

#endif
