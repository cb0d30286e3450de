/* new_config.h - config.json of a checkpoint that was quantized, or no longer is. */
#ifndef SURPRISAL_CONVERT_NEW_CONFIG_H
#define SURPRISAL_CONVERT_NEW_CONFIG_H

#include "convert/selection.h"

/* Gives the text of config.json with the quantization_config of compressed-tensors: target
 * "Linear", weights alone, and every module that is not packed in `ignore`; free with
 * cJSON_free. */
char *new_config_quantized(const struct checkpoint *ck, const struct weight_list *m,
                           const struct selection *s, struct error *err);
/* The same without quantization_config. */
char *new_config_plain(const struct checkpoint *ck, struct error *err);

/* Does the config say that the checkpoint is quantized? */
bool new_config_is_quantized(const struct checkpoint *ck);

#endif
