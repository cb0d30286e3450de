/* weight_kind.h - what a weight is for; the rows of `inspect`. */
#ifndef SURPRISAL_FORMATS_WEIGHT_KIND_H
#define SURPRISAL_FORMATS_WEIGHT_KIND_H

#include <stdbool.h>

enum weight_kind {
    WEIGHT_EMBED_TOKENS,
    WEIGHT_LM_HEAD,
    WEIGHT_ATTENTION,           /* q, k, v, o projections of full attention */
    WEIGHT_DELTA_NET,           /* in and out projections of linear attention */
    WEIGHT_DELTA_NET_STATE,     /* conv1d, A_log, dt_bias */
    WEIGHT_NORM,
    WEIGHT_ROUTER,
    WEIGHT_SHARED_EXPERT,
    WEIGHT_SHARED_EXPERT_GATE,
    WEIGHT_EXPERTS,
    WEIGHT_DENSE_MLP,
    WEIGHT_KINDS,
    /* Not of the text model. */
    WEIGHT_VISUAL = WEIGHT_KINDS,
    WEIGHT_MTP,                 /* multi-token prediction */
    WEIGHT_OTHER,
    TENSOR_KINDS
};

const char *weight_kind_name(enum weight_kind kind);
/* VISUAL, MTP or OTHER, by the name of a tensor that is none of the text model's. */
enum weight_kind weight_kind_outside(const char *name);

#endif
