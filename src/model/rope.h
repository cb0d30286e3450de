/* rope.h - rotary position embedding on the first rotary_dim channels of a head.
 *
 * RoFormer, arXiv 2104.09864, section 3; which channels are a pair is apply_rotary_pos_emb's choice
 * (rotate_half in modeling_qwen3_5_moe.py).
 *
 * Channels i and i + rotary_dim / 2 are rotated together by the angle
 *     position / theta^(2i / rotary_dim).
 * (For text the three position components of mrope are equal, so its interleaved sections make no
 * difference.)  Angles, sines and cosines are computed in double: at position 200,000 an f32
 * angle would be off by 0.01. */
#ifndef SURPRISAL_MODEL_ROPE_H
#define SURPRISAL_MODEL_ROPE_H

#include <stddef.h>

#include "kernels/kernels.h"

/* frequency [rotary_dim / 2]: theta^(-2i / rotary_dim). */
void rope_frequencies(double *frequency, size_t rotary_dim, double theta);
/* cosine, sine: [rotary_dim / 2] at one position. */
void rope_angles(float *cosine, float *sine, const double *frequency, size_t rotary_dim,
                 size_t position);
/* Rotates one head in place.  In BF16 compute it rounds as compute.h says; cosine and sine are
 * rounded already. */
void rope_apply(float *head, const float *cosine, const float *sine, size_t rotary_dim,
                enum compute_type type);

#endif
