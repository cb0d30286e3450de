/* opened.h - a checkpoint made ready to run: files, weights and engine, checked and warned about. */
#ifndef SURPRISAL_EVAL_SCORE_OPENED_H
#define SURPRISAL_EVAL_SCORE_OPENED_H

#include "engine/engine.h"
#include "formats/weights.h"
#include "surprisal.h"

/* Zero-initialise; the members borrow from one another, so the struct stays where it is. */
struct opened {
    struct checkpoint checkpoint;
    struct weights weights;
    struct engine *engine;              /* opened by opened_engine */
    size_t held_bytes;                  /* of memory, by others than the engine */
    size_t peak_before;                 /* of memory, before anything was opened */
};

/* printf to progress->warn. */
__attribute__((format(printf, 2, 3)))
void opened_warn(const struct surprisal_progress *p, const char *format, ...);

/* Opens the folder and binds the weights; contradictions between config and files are warned about. */
bool opened_checkpoint(struct opened *o, const char *path, const struct surprisal_progress *progress,
                       struct error *err);
/* options->held_bytes: what the caller will take beside the engine and does not hold yet. */
bool opened_engine(struct opened *o, const struct engine_options *options, struct error *err);
void opened_close(struct opened *o);

#endif
