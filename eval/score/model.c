#include "eval/score/model.h"

#include <stdarg.h>
#include <string.h>

#include "base/format.h"
#include "base/machine.h"
#include "formats/quantization.h"

#define CONTRADICTIONS_SHOWN 4
#define TENSOR_BYTES ((size_t)160)          /* of its digest, while it is made and as a state has it */

void progress_warn(const struct surprisal_progress *p, const char *format, ...)
{
    va_list args;
    if (!p->warn)
        return;
    /* Names come from files: this makes them safe to print. */
    struct error safe = { 0 };
    va_start(args, format);
    error_vset(&safe, format, args);
    va_end(args);
    p->warn(p->user, safe.message);
}

static bool warn_contradictions(const struct model *o, const struct surprisal_progress *progress,
                                struct error *err)
{
    struct contradictions found;
    if (!quantization_contradictions(&found, &o->checkpoint, &o->weights, err))
        return false;
    const char *line = found.text.data;
    for (size_t i = 0; i < found.count && i < CONTRADICTIONS_SHOWN && line && *line; i++) {
        size_t n = strcspn(line, "\n");
        progress_warn(progress, "%s: %.*s", o->checkpoint.path, (int)n, line);
        line += n + (line[n] == '\n');
    }
    if (found.count > CONTRADICTIONS_SHOWN)
        progress_warn(progress, "%s: %zu more contradictions between config and files (`surprisal "
                      "inspect` lists them)", o->checkpoint.path, found.count - CONTRADICTIONS_SHOWN);
    contradictions_free(&found);
    return true;
}

bool model_open_checkpoint(struct model *o, const char *path, const struct surprisal_progress *progress,
                       struct error *err)
{
    o->peak_before = machine_peak_memory();
    return checkpoint_open(&o->checkpoint, path, err)
        && quantization_check(&o->checkpoint, err)
        && weights_bind(&o->weights, &o->checkpoint, err)
        && warn_contradictions(o, progress, err);
}

struct engine_options model_engine_options(const struct surprisal_machine *machine,
                                           size_t held_bytes)
{
    return (struct engine_options){
        .n_threads = machine->threads, .memory_bytes = machine->memory_bytes, .isa = machine->isa,
        .held_bytes = held_bytes,
        .compute = machine->compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
        .progress = PROGRESS_OF(&machine->progress),
    };
}

bool model_open_engine(struct model *o, const struct engine_options *options, struct error *err)
{
    struct engine_options mine = *options;
    mine.held_bytes += budget_held_now() + o->weights.n_tensors * TENSOR_BYTES;
    size_t peak = machine_peak_memory();
    if (peak > o->peak_before)                  /* what was reached before is not this work's */
        mine.reached_bytes = peak;
    o->held_bytes = mine.held_bytes;
    o->engine = engine_open(&o->checkpoint, &o->weights, &mine, err);
    return o->engine != NULL;
}

void model_close(struct model *o)
{
    if (o->engine)
        engine_close(o->engine);
    weights_free(&o->weights);
    checkpoint_close(&o->checkpoint);
}
