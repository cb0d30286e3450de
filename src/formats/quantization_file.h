/* quantization_file.h - the quantization_config of a folder whose config.json has none, where its
 * writer put it into a file of its own: quantize_config.json (GPTQ's writers) or
 * hf_quant_config.json (modelopt). */
#ifndef SURPRISAL_FORMATS_QUANTIZATION_FILE_H
#define SURPRISAL_FORMATS_QUANTIZATION_FILE_H

#include "formats/checkpoint.h"

/* Names in a checkpoint's folder; NULL after the last. */
extern const char *const quantization_file_names[];

/* Adds what the first one that is there holds to ck->config_json, which has none, and its name to
 * ck->quantization_path.  Refuses a file that does not hold it. */
bool quantization_file_add(struct checkpoint *ck, struct error *err);

#endif
