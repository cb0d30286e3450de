/* verify_files.h - what is beside the weights, against the original: tokenizer.json, chat
 * template, generation_config.json and the like byte for byte; config.json setting by setting, but
 * for quantization_config. */
#ifndef SURPRISAL_VERIFY_VERIFY_FILES_H
#define SURPRISAL_VERIFY_VERIFY_FILES_H

#include "verify/verify_folder.h"

bool verify_files(const struct verify_folder *f, const struct verify_folder *original,
                  struct findings *found, struct error *err);

#endif
