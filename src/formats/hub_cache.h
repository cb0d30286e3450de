/* hub_cache.h - checkpoints by the name that they have on the hub, from its client's local cache.
 *
 * The cache has for each repository a folder models--OWNER--NAME: refs/REVISION is a file with a
 * commit, snapshots/COMMIT a folder of links into blobs/.  Nothing is downloaded here.
 * (huggingface.co/docs/hub/local-cache) */
#ifndef SURPRISAL_FORMATS_HUB_CACHE_H
#define SURPRISAL_FORMATS_HUB_CACHE_H

#include "base/error.h"

/* Gives the path of a checkpoint: the name itself if something is there, or it is not of the form
 * OWNER/NAME; else the folder of the snapshot.  Refuses a name that is not in the cache, and a
 * snapshot that lacks files, with the command that gets them.  cache: its folder, NULL: there is
 * none; revision: a branch, tag or commit, NULL: main. */
char *hub_cache_find(const char *name, const char *cache, const char *revision, struct error *err);

#endif
