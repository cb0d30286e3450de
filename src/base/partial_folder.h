/* partial_folder.h - a folder that appears under its name when it is complete.
 *
 * It is built as PATH.partial, locked against a second process that builds the same, and renamed at
 * the end.  What an interrupted process left there stays, and is the caller's to judge. */
#ifndef SURPRISAL_BASE_PARTIAL_FOLDER_H
#define SURPRISAL_BASE_PARTIAL_FOLDER_H

#include <stdbool.h>

#include "base/error.h"

/* Zero-initialise. */
struct partial_folder {
    char *path, *temporary;     /* owned */
    int lock;                   /* descriptor of the folder, or 0 */
};

/* Refuses a path at which something stands.  Creates PATH.partial, or takes the one that is there. */
bool partial_folder_begin(struct partial_folder *p, const char *path, struct error *err);
/* Makes the names in it durable and renames it, which ends it.  Where that fails it is still to end. */
bool partial_folder_commit(struct partial_folder *p, struct error *err);
/* Lets go of it, and removes it when it is empty. */
void partial_folder_end(struct partial_folder *p);

#endif
