/* sampling.h - how tokens are drawn: what the options say, else the checkpoint's publisher, else
 * nobody wants anything. */
#ifndef SURPRISAL_GENERATE_SAMPLING_H
#define SURPRISAL_GENERATE_SAMPLING_H

#include "decode/sampler.h"
#include "formats/generation_config.h"
#include "surprisal.h"

/* Without biases. */
struct sampler_settings sampling_settings(const struct surprisal_sampling *s,
                                          const struct generation_config *g);
/* Refuses values out of range, without knowing the checkpoint. */
bool sampling_check(const struct surprisal_generate_options *o, struct error *err);

#endif
