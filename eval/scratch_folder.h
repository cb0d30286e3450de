/* scratch_folder.h - a folder for the time of a job. */
#ifndef SURPRISAL_EVAL_SCRATCH_FOLDER_H
#define SURPRISAL_EVAL_SCRATCH_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Gives the path of a new folder of our own in `parent`, NULL on failure. */
char *scratch_folder_make(const char *parent, struct error *err);
/* Removes it with all that is in it, and frees the path; NULL is fine. */
void scratch_folder_remove(char *path);

/* Bytes that can still be written where `folder` is. */
bool scratch_folder_space(size_t *bytes, const char *folder, struct error *err);

#endif
