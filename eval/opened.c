#include "eval/opened.h"

#include <stdarg.h>
#include <string.h>

#include "base/format.h"
#include "base/machine.h"
#include "formats/quantization.h"

#define CONTRADICTIONS_SHOWN 4
#define RESERVE_BYTES ((size_t)8 << 20)     /* for what grows beside the engine: stacks, results */

void opened_warn(const struct surprisal_progress *p, const char *format, ...)
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

static bool warn_contradictions(const struct opened *o, const struct surprisal_progress *progress,
                                struct error *err)
{
    struct contradictions found;
    if (!quantization_contradictions(&found, &o->checkpoint, &o->weights, err))
        return false;
    const char *line = found.text.data;
    for (size_t i = 0; i < found.count && i < CONTRADICTIONS_SHOWN && line && *line; i++) {
        size_t n = strcspn(line, "\n");
        opened_warn(progress, "%s: %.*s", o->checkpoint.path, (int)n, line);
        line += n + (line[n] == '\n');
    }
    if (found.count > CONTRADICTIONS_SHOWN)
        opened_warn(progress, "%s: %zu more contradictions between config and files (`surprisal "
                    "inspect` lists them)", o->checkpoint.path, found.count - CONTRADICTIONS_SHOWN);
    contradictions_free(&found);
    return true;
}

bool opened_checkpoint(struct opened *o, const char *path, const struct surprisal_progress *progress,
                       struct error *err)
{
    return checkpoint_open(&o->checkpoint, path, err)
        && quantization_check(&o->checkpoint, err)
        && weights_bind(&o->weights, &o->checkpoint, err)
        && warn_contradictions(o, progress, err);
}

bool opened_engine(struct opened *o, const struct engine_options *options, struct error *err)
{
    struct engine_options mine = *options;
    /* The budget is the whole process's; the engine gets what is not taken yet. */
    o->held_bytes = machine_resident_memory() + RESERVE_BYTES;
    if (options->memory_bytes && options->memory_bytes <= o->held_bytes)
        return error_set(err, "memory budget of %zu MB is too small: %zu MB are needed before any "
                         "work", options->memory_bytes >> 20, (o->held_bytes >> 20) + 1);
    if (options->memory_bytes)
        mine.memory_bytes -= o->held_bytes;
    o->engine = engine_open(&o->checkpoint, &o->weights, &mine, err);
    return o->engine != NULL;
}

void opened_close(struct opened *o)
{
    if (o->engine)
        engine_close(o->engine);
    weights_free(&o->weights);
    checkpoint_close(&o->checkpoint);
}
