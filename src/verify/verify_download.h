/* verify_download.h - files against the digests that the hub's own client left in the folder
 * (formats/download.h), offline: proof that the download is whole, and that nothing has changed
 * since. */
#ifndef SURPRISAL_VERIFY_VERIFY_DOWNLOAD_H
#define SURPRISAL_VERIFY_VERIFY_DOWNLOAD_H

#include "base/progress.h"
#include "formats/download.h"
#include "verify/verify_folder.h"

struct verify_download {
    size_t n_files, n_equal;            /* with a digest, and of these those that have it */
    char revision[DOWNLOAD_REVISION_DIGITS + 1];        /* "": none, or several */
};

/* All threads read files. */
bool verify_download(struct verify_download *out, const struct verify_folder *f, int n_threads,
                     const struct progress *progress, struct findings *found, struct error *err);

#endif
