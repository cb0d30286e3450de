/* verify_stand_ins.h - files beside the weights that are not what their names say: Git LFS
 * pointers, error pages, zeros (base/stand_in.h).  config.json, index and weights are named where
 * they are read. */
#ifndef SURPRISAL_VERIFY_VERIFY_STAND_INS_H
#define SURPRISAL_VERIFY_VERIFY_STAND_INS_H

#include "verify/verify_folder.h"

bool verify_stand_ins(const struct verify_folder *f, struct findings *found, struct error *err);

#endif
