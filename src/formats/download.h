/* download.h - what the hub's own client says of the files that it downloaded into a folder.
 *
 * `hf download --local-dir` leaves .cache/huggingface/download/NAME.metadata for each file: three
 * lines, the commit, the file's ETag and a time.  In the client's cache a folder is
 * snapshots/COMMIT, and its files are links into blobs/ETAG.  An ETag of 40 hexadecimal digits is
 * the SHA-1 of git's blob, of 64 the file's SHA-256.
 * (huggingface_hub, _local_folder.py; huggingface.co/docs/hub/local-cache) */
#ifndef SURPRISAL_FORMATS_DOWNLOAD_H
#define SURPRISAL_FORMATS_DOWNLOAD_H

#include <stddef.h>

#include "base/error.h"

#define DOWNLOAD_REVISION_DIGITS 40
#define DOWNLOAD_DIGITS          64     /* of a digest, at most */

struct download_file {
    char *name;                         /* owned: below the folder */
    char digest[DOWNLOAD_DIGITS + 1];   /* lower case; 40 digits: of git's blob */
};

struct download {
    struct download_file *files;        /* owned [n] */
    size_t n, capacity;
    size_t n_unfinished;                /* files whose download was interrupted */
    char revision[DOWNLOAD_REVISION_DIGITS + 1];        /* a commit; "": none or several */
    bool has_several;                   /* revisions */
};

/* What cannot be read is left out: nothing is wrong with a checkpoint because of it.  False for
 * lack of memory or descriptors. */
bool download_read(struct download *d, const char *folder, struct error *err);
void download_free(struct download *d);

/* The revision alone, without a look at the files: "" where none is known, or several are. */
bool download_revision(char out[DOWNLOAD_REVISION_DIGITS + 1], const char *folder,
                       struct error *err);

/* Whether the file has the digest that was recorded. */
bool download_check(bool *same, const struct download_file *f, const char *path,
                    struct error *err);

#endif
