/* model.h - opened checkpoints: the handle of surprisal.h, and the model that a job works with.
 *
 *     struct surprisal_model      files, weights, tokenizer: they do not change once it is open, so
 *        ^                        that jobs in several threads can share it; and digests of the
 *        | borrows                weights
 *     struct model                of one job: a caller's handle, or a checkpoint that the job opens
 *                                 for itself; and the job's own engine */
#ifndef SURPRISAL_EVAL_SCORE_MODEL_H
#define SURPRISAL_EVAL_SCORE_MODEL_H

#include <pthread.h>

#include "engine/engine.h"
#include "eval/protocol/prefix.h"
#include "formats/weights.h"
#include "surprisal.h"
#include "tokenizer/tokenizer.h"

#define TOKENIZER_FILE "tokenizer.json"

/* ---- the handle ----------------------------------------------------------------- */

/* The members borrow from one another, so the struct stays where it is. */
struct surprisal_model {
    struct checkpoint checkpoint;       /* owned, like all that follows */
    struct weights weights;
    struct input_files inputs;          /* the folder and its files, as they were when they were
                                           read */
    struct input_files tokenizer_inputs;
    struct tokenizer *tokenizer;        /* the folder's; NULL: it cannot be had, */
    struct error why;                   /* and why */
    struct prefix prefix;               /* of rolling; without a source: it cannot be had, */
    struct error prefix_why;            /* and why */
    /* Digests of the weights that an earlier job has hashed.  They hold as long as the files have
     * the stamps that they were opened with; each job checks that at its beginning and after each
     * pass. */
    uint8_t *known;                     /* [weights.n_tensors * WEIGHTS_KNOWN_BYTES]; NULL:
                                           nothing */
    pthread_mutex_t lock;               /* guards known: one job sets it, others read it */
};

/* As surprisal.h documents them. */
struct surprisal_model *model_handle_open(const char *path,
                                          const struct surprisal_progress *progress,
                                          struct error *err);
void model_handle_close(struct surprisal_model *m);
/* The folder's tokenizer, borrowed; NULL with the reason. */
const struct tokenizer *model_handle_tokenizer(const struct surprisal_model *m, struct error *err);

/* Rolling's prefix by the folder's files, borrowed; NULL with the reason. */
const struct prefix *model_handle_prefix(const struct surprisal_model *m, struct error *err);

/* ---- what a caller names ---------------------------------------------------------- */

/* Gives the path of a checkpoint that may be named as on the hub (formats/hub_cache.h). */
char *model_find(const char *name, const struct surprisal_hub *hub, struct error *err);

/* The folder of a checkpoint, or one that is open. */
struct model_source {
    const char *path;
    struct surprisal_model *opened;
};

struct model_source model_source_of(const struct surprisal_eval_options *o);
/* The folder either way. */
const char *model_source_path(struct model_source from);
/* Refuses both at once. */
bool model_source_check(struct model_source from, struct error *err);
/* Lists what model_open reads of the folder before it reads it, or what the handle has read. */
bool model_source_list(struct input_files *in, struct model_source from, struct error *err);

/* ---- the model of a job ------------------------------------------------------------- */

/* Zero-initialise; the members borrow from one another, so the struct stays where it is. */
struct model {
    const struct checkpoint *checkpoint;
    const struct weights *weights;
    const struct tokenizer *tokenizer;  /* by model_open_tokenizer; NULL: none is needed */
    struct engine *engine;              /* owned; by model_open_engine */
    size_t held_bytes;                  /* of memory, by others than the engine */
    size_t peak_before;                 /* of memory, before anything was opened: peaks of
                                           other jobs do not count */
    struct surprisal_model *handle;     /* borrowed from the caller; NULL: none */
    struct surprisal_model own;         /* what the job opened itself */
};

/* printf to progress->warn. */
__attribute__((format(printf, 2, 3)))
void model_warn(const struct surprisal_progress *p, const char *format, ...);

/* Warns about a context beyond the positions that the model was made for. */
void model_warn_context(const struct surprisal_progress *p, const struct checkpoint *ck,
                        size_t context);

/* Opens a folder, binds its weights, warns about contradictions between config and files, and adds
 * the files of weights to `in`.  With a handle, opens nothing and refuses files in `in` that have
 * changed. in: the list that model_source_list filled; NULL: changes are not looked for. */
bool model_open(struct model *m, struct model_source from, struct input_files *in,
                const struct surprisal_progress *progress, struct error *err);
/* Opens the tokenizer that the options need: the one that they name, or the checkpoint's. */
bool model_open_tokenizer(struct model *m, const struct surprisal_eval_options *o,
                          struct error *err);
/* What a call may take of the machine, as the engine has it.  held_bytes: what the caller will take
 * beside the engine and does not hold yet. */
struct engine_options model_engine_options(const struct surprisal_machine *machine,
                                           size_t held_bytes);
bool model_open_engine(struct model *m, const struct engine_options *options, struct error *err);
void model_close(struct model *m);

/* A hash of the weights (weights.h), which begins with what the handle knows. */
struct weights_hash *model_hash_open(const struct model *m, struct error *err);
/* Gives the handle the digests of all weights.  Call it when all weights were hashed and no input
 * has changed.  If memory is out, the next job hashes again. */
void model_hash_keep(const struct model *m, struct weights_hash *h);

#endif
