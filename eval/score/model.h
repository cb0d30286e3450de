/* model.h - a checkpoint made ready to run: files, weights and engine, checked and warned about. */
#ifndef SURPRISAL_EVAL_SCORE_MODEL_H
#define SURPRISAL_EVAL_SCORE_MODEL_H

#include "engine/engine.h"
#include "formats/weights.h"
#include "surprisal.h"

/* Zero-initialise; the members borrow from one another, so the struct stays where it is. */
struct model {
    struct checkpoint checkpoint;
    struct weights weights;
    struct engine *engine;              /* opened by model_open_engine */
    size_t held_bytes;                  /* of memory, by others than the engine */
    size_t peak_before;                 /* of memory, before anything was opened */
};

/* printf to progress->warn. */
__attribute__((format(printf, 2, 3)))
void progress_warn(const struct surprisal_progress *p, const char *format, ...);

/* Opens the folder and binds the weights; contradictions between config and files are warned about. */
bool model_open_checkpoint(struct model *o, const char *path, const struct surprisal_progress *progress,
                       struct error *err);
/* What a call may take of the machine, as the engine has it.  held_bytes: what the caller will take
 * beside the engine and does not hold yet. */
struct engine_options model_engine_options(const struct surprisal_machine *machine,
                                           size_t held_bytes);
bool model_open_engine(struct model *o, const struct engine_options *options, struct error *err);
void model_close(struct model *o);

#endif
