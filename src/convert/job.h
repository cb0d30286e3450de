/* job.h - what quantizing and dequantizing share: a source, and the run into a new folder. */
#ifndef SURPRISAL_CONVERT_JOB_H
#define SURPRISAL_CONVERT_JOB_H

#include <surprisal.h>

#include "convert/unfinished_checkpoint.h"
#include "convert/quantize.h"
#include "formats/weights.h"

#define DEFAULT_SHARD_BYTES ((size_t)5000000000)

/* Zero-initialise; job_close also after a failure. */
struct job {
    struct input_files inputs;          /* owned */
    struct checkpoint ck; /* owned if is_open; else it holds the pointers of one that */
    struct weights w;                   /* owned if is_bound; the caller has opened */
    struct weight_list modules;         /* owned */
    struct progress progress;
    struct layout layout;               /* owned */
    struct stream stream;               /* owned; rule and importance are the caller's to set */
    struct unfinished_checkpoint folder;
    size_t peak_before;                 /* of memory, before anything was opened */
    bool is_open, is_bound;
};

/* Opens the checkpoint and binds its weights, unless it is open; lists its modules, and finds the
 * kernels. */
bool job_open(struct job *j, const char *checkpoint, const struct opened_checkpoint *opened,
              const struct surprisal_machine *machine, struct error *err);
/* Writes j->layout to `out` and adds what was done to result.  config: text of config.json;
 * settings: a digest of all that decides the bytes, but layout, config and checkpoint. */
bool job_run(struct job *j, const char *out, const char *config, const struct digest *settings,
             bool resume, cJSON *result, struct error *err);
void job_close(struct job *j);

#endif
