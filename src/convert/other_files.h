/* other_files.h - the files of a checkpoint folder that hold no weights. */
#ifndef SURPRISAL_CONVERT_OTHER_FILES_H
#define SURPRISAL_CONVERT_OTHER_FILES_H

#include "base/progress.h"
#include "formats/checkpoint.h"

struct other_files {
    char **names;               /* owned [n], sorted; "folder/name" below the checkpoint's */
    size_t n;
    size_t bytes;               /* of all of them */
};

/* All, links followed, but config.json, the index, the mark of a folder under construction and
 * *.safetensors; those in folders too, but hidden ones (.git, .cache), which belong to the copy at
 * hand.  Weights that the checkpoint does not use, links to folders, and hidden files or those in
 * folders that cannot be read are left out with a warning (progress may be NULL), anything else is
 * refused. */
bool other_files_list(struct other_files *o, const struct checkpoint *ck,
                      const struct progress *progress, struct error *err);
/* Copies them into a folder, durably. */
bool other_files_copy(const struct other_files *o, const char *from, const char *to,
                      const struct progress *progress, struct error *err);
void other_files_free(struct other_files *o);

#endif
