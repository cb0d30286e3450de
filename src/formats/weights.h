/* weights.h - the text model's weights: its list, and each bound to the view of what is stored.
 *
 * One table (weights.c) lists each weight's name, its place below and its shape in terms of the
 * config; one loop walks it, so no tensor can miss its check.  Names as in FORMATS: prefix
 * `model.language_model.` or `model.`, lm_head without prefix.  How a weight is stored is the
 * business of weight.h.  Refused is what would change a linear's result unseen: a bias, a scale
 * without codes, a zero point.  The head is lm_head.weight where there is one, else, when tied, the
 * embedding.
 *
 * The layer of multi-token prediction (MTP), which drafts tokens, is not part of the text model: it
 * is bound by itself, where it is asked for, and no digest covers it.
 *
 * All views borrow from the checkpoint, which must outlive the weights.  Vectors are views with
 * rows == 1; conv1d.weight [C, 1, K] is the view [C, K]. */
#ifndef SURPRISAL_FORMATS_WEIGHTS_H
#define SURPRISAL_FORMATS_WEIGHTS_H

#include "base/matrix.h"
#include "formats/weight.h"

/* A gated MLP: down(silu(gate(x)) * up(x)). */
struct mlp_weights {
    struct matrix gate, up;             /* [I, D] */
    struct matrix down;                 /* [D, I] */
};

struct attention_weights {
    struct matrix q_proj;               /* [H * 2 * d, D]: head by head, query then gate */
    struct matrix k_proj, v_proj;       /* [KV * d, D] */
    struct matrix o_proj;               /* [D, H * d] */
    struct matrix q_norm, k_norm;       /* [1, d], offsets from 1 */
};

struct delta_net_weights {
    struct matrix in_proj_qkv;          /* [2 * HK * dk + HV * dv, D] */
    struct matrix in_proj_z;            /* [HV * dv, D] */
    struct matrix in_proj_a, in_proj_b; /* [HV, D] */
    struct matrix conv1d;               /* [2 * HK * dk + HV * dv, linear_conv_kernel_dim] */
    struct matrix A_log, dt_bias;       /* [1, HV] */
    struct matrix norm;                 /* [1, dv], a plain factor */
    struct matrix out_proj;             /* [D, HV * dv] */
};

struct layer_weights {
    struct matrix input_layernorm, post_attention_layernorm;    /* [1, D], offsets from 1 */
    struct attention_weights attention;     /* of FULL_ATTENTION layers   */
    struct delta_net_weights delta_net;     /* of LINEAR_ATTENTION layers */
    struct mlp_weights mlp;                 /* dense models               */
    struct matrix router;                   /* [E, D], mlp.gate           */
    struct mlp_weights shared_expert;
    struct matrix shared_expert_gate;       /* [1, D]                     */
    struct mlp_weights *experts;            /* owned [E]; NULL in dense models */
};

/* Multi-token prediction (model/mtp.h): norms and a projection around one full-attention layer. */
struct mtp_weights {
    struct matrix fc;                       /* [D, 2 D]: embedding first, then hidden state */
    struct matrix pre_fc_norm_embedding, pre_fc_norm_hidden, norm;      /* [1, D], offsets from 1 */
    struct layer_weights layer;             /* owns its experts */
    const char *prefix;                     /* "mtp.", or with "model." and the like before it */
};

/* A stored tensor that the weights are made of. */
struct bound_tensor {
    const struct tensor *tensor;
    enum weight_kind kind;
    enum dtype stored;          /* how the weight is stored: codes and scales alike */
    size_t parameters;          /* weights in it; 0 for scales */
};

struct weights {
    struct matrix embed_tokens;             /* [V, D] */
    struct matrix norm;                     /* [1, D], offset from 1 */
    struct matrix lm_head;                  /* [V, D]; the embedding when tied */
    struct layer_weights *layers;           /* owned [n_layers] */
    size_t n_layers;
    size_t parameters;                      /* elements of all views, a tied head once */
    size_t bytes;                           /* stored bytes of all views, scales included */
    size_t quantized_bytes;                 /* of these, in packed formats */
    uint64_t inexact_in_bf16;               /* formats of linears of which BF16 does not hold every
                                               value: WEIGHT_DTYPE of each */
    const char *prefix;                     /* "model.language_model." or "model." */
    struct bound_tensor *tensors;           /* owned; by name, a fused expert tensor once */
    size_t n_tensors;
};

bool weights_bind(struct weights *w, const struct checkpoint *ck, struct error *err);
void weights_free(struct weights *w);

/* The MTP layer.  A checkpoint without one is refused, as is one with several, or with embeddings
 * of the layer's own.  Zero-initialise; release with weights_free_mtp, also after a failure. */
bool weights_bind_mtp(struct mtp_weights *m, const struct checkpoint *ck, struct error *err);
void weights_free_mtp(struct mtp_weights *m);

/* ---- the list of weights ----------------------------------------------------- */

/* Calls visit for every weight that a config asks for, experts one by one, until one call returns
 * false; the last result.  A config may ask for more experts than any file holds: visit must stop
 * in time. */
bool weights_each_of_model(const struct config *c, const char *prefix,
                           bool (*visit)(void *user, const struct model_weight *weight),
                           void *user);
/* The same for one layer, and of its experts the first (layer == num_hidden_layers: embedding, last
 * norm and head; layer == weights_mtp_layer: that of MTP with what is around it).  Names have no
 * prefix. */
size_t weights_mtp_layer(const struct config *c);
bool weights_of_layer(const struct config *c, size_t layer,
                      bool (*visit)(void *user, const struct model_weight *weight),
                      void *user);
/* The same for what is bound, all experts; a tied head once, as the embedding. */
bool weights_visit_layer(const struct checkpoint *ck, const struct weights *w, size_t layer,
                         bool (*visit)(void *user, const struct model_weight *weight), void *user);
bool weights_visit_mtp(const struct checkpoint *ck, const struct mtp_weights *m,
                       bool (*visit)(void *user, const struct model_weight *weight), void *user);

/* ---- the digest: SHA-256 that names what is evaluated -----------------------
 *
 * Over config.json's digest and, for each tensor in name order, its name, dtype, shape and the
 * SHA-256 of its bytes; it does not depend on how tensors are spread over files.  Exactly: SHA-256
 * of the 32 bytes of config_digest, then for each tensor its name and dtype (each with a NUL), the
 * number of dimensions and each of them (u64, little-endian), and the 32 bytes of its own SHA-256.
 *
 * A weights_hash takes bytes as they go by anyway, so that they need not be read once more. */

struct weights_hash;

/* Gives; ck and w stay borrowed. */
struct weights_hash *weights_hash_open(const struct checkpoint *ck, const struct weights *w,
                                       struct error *err);
void weights_hash_close(struct weights_hash *h);        /* NULL is fine */
/* Takes n bytes of the checkpoint's mapping, which may span tensors and what lies between them.
 * The bytes of one tensor come in order; what has been taken is not taken again. */
bool weights_hash_add(struct weights_hash *h, const uint8_t *data, size_t n, struct error *err);
/* Takes all that is missing, by n_threads in parallel, and releases it from memory.  progress may
 * be NULL; a report that returns false interrupts. */
bool weights_hash_rest(struct weights_hash *h, int n_threads, const struct progress *progress,
                       struct error *err);
/* What is known of the tensors so far, in the order of w->tensors: for each a byte (0 or 1: all of
 * it has been taken) and its 32 bytes of SHA-256, or zeros.  out: [w->n_tensors *
 * WEIGHTS_KNOWN_BYTES]. May be called while another thread adds. */
#define WEIGHTS_KNOWN_BYTES ((size_t)33)
void weights_hash_known(struct weights_hash *h, uint8_t *out);
/* Takes over what was known, before the first bytes: tensors that were taken then are not taken
 * again. The caller vouches that their bytes are the same. */
void weights_hash_assume(struct weights_hash *h, const uint8_t *known);
/* Refuses tensors whose digest is not the one that was known, by name.  All must have been
 * taken. */
bool weights_hash_check(const struct weights_hash *h, const uint8_t *known, struct error *err);
/* *same: the tensors of a file that have been taken whole still have their digests. */
bool weights_hash_again(struct weights_hash *h, const char *path, bool *same, struct error *err);
/* The digest, when all bytes have been taken. */
bool weights_hash_end(struct digest *out, const struct weights_hash *h, struct error *err);

/* The whole at once: open, rest, end. */
bool weights_digest(struct digest *out, const struct checkpoint *ck, const struct weights *w,
                    int n_threads, const struct progress *progress, struct error *err);

/* The head's own digest, once its bytes have been taken: the SHA-256 of the tensor's bytes; of a
 * packed head, that of the 32 bytes of the codes' and the 32 of the scales'.  A tied head is the
 * embedding. */
bool weights_hash_head(struct digest *out, const struct weights_hash *h, struct error *err);
/* The same, reading no more than the head; progress as above. */
bool weights_head_digest(struct digest *out, const struct checkpoint *ck, const struct weights *w,
                         const struct progress *progress, struct error *err);

/* ---- checks ------------------------------------------------------------------ */

/* Refuse a code or scale that is NaN (kernels/stored.h) in any packed matrix of the layer but its
 * experts (layer == num_hidden_layers: embedding and head), or in one expert, naming file and
 * tensor. */
bool weights_check_scales(const struct checkpoint *ck, const struct weights *w, size_t layer,
                          struct error *err);
bool weights_check_expert(const struct checkpoint *ck, const struct weights *w, size_t layer,
                          size_t expert, struct error *err);
/* The same of the MTP layer, experts included. */
bool weights_check_mtp(const struct checkpoint *ck, const struct mtp_weights *m, struct error *err);

#endif
