#include "eval/score/model.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/machine.h"
#include "base/memory.h"
#include "eval/score/changed_inputs.h"
#include "formats/hub_cache.h"
#include "formats/notes.h"
#include "formats/quantization.h"

#define CONTRADICTIONS_SHOWN 4
#define TENSOR_BYTES ((size_t)160)          /* of its digest, while it is made and as a state has
                                               it */

void model_warn(const struct surprisal_progress *p, const char *format, ...)
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

void model_warn_context(const struct surprisal_progress *p, const struct checkpoint *ck,
                        size_t context)
{
    size_t most = ck->config.max_position_embeddings;
    if (most && context > most)
        model_warn(p, "%s: context %zu is longer than max_position_embeddings %zu", ck->path,
                   context, most);
}

/* ---- the handle ----------------------------------------------------------------- */

static bool warn_contradictions(const struct surprisal_model *m,
                                const struct surprisal_progress *progress, struct error *err)
{
    const char *path = m->checkpoint.path;
    struct contradictions found;
    if (!quantization_contradictions(&found, &m->checkpoint, &m->weights, err))
        return false;
    const char *line = found.text.data;
    for (size_t i = 0; i < found.count && i < CONTRADICTIONS_SHOWN && line && *line; i++) {
        size_t n = strcspn(line, "\n");
        model_warn(progress, "%s: %.*s", path, (int)n, line);
        line += n + (line[n] == '\n');
    }
    if (found.count > CONTRADICTIONS_SHOWN)
        model_warn(progress, "%s: %zu more contradictions between config and files (`surprisal "
                   "inspect` lists them)", path, found.count - CONTRADICTIONS_SHOWN);
    quantization_contradictions_free(&found);
    return true;
}

static bool warn_notes(const struct surprisal_model *m, const struct surprisal_progress *progress,
                       struct error *err)
{
    struct buffer notes = { 0 };
    bool ok = notes_list(&notes, &m->checkpoint, &m->weights, err);
    const char *rest = ok ? notes.data : NULL, *line;
    size_t n;
    while ((line = notes_next(&rest, &n)))
        model_warn(progress, "%.*s", (int)n, line);
    buffer_free(&notes);
    return ok;
}

static bool open_checkpoint(struct surprisal_model *m, const char *path,
                            const struct surprisal_progress *progress, struct error *err)
{
    return checkpoint_open(&m->checkpoint, path, err)
        && quantization_check(&m->checkpoint, err)
        && weights_bind(&m->weights, &m->checkpoint, err)
        && warn_notes(m, progress, err)
        && warn_contradictions(m, progress, err);
}

/* Refuses a lack of memory or descriptors; any other reason is kept for the call that needs what
 * could not be had. */
static bool not_lacking(const struct error *why, struct error *err)
{
    if (why->lacking && err)
        *err = *why;
    return !why->lacking;
}

/* A folder without a tokenizer can be opened, because ids need none; a call that needs it gets the
 * reason. */
static bool open_tokenizer(struct surprisal_model *m, struct error *err)
{
    char *path = checkpoint_tokenizer(m->checkpoint.path, err);
    char *config = path ? prefix_config_path(path, err) : NULL;
    bool ok = config && input_files_add(&m->tokenizer_inputs, path, err)
           && input_files_add(&m->tokenizer_inputs, config, err);
    if (ok) {
        m->tokenizer = tokenizer_open(path, &m->why);
        ok = not_lacking(&m->why, err);
    }
    if (ok) {
        prefix_default(&m->prefix, path, m->tokenizer, &m->checkpoint, &m->prefix_why);
        ok = not_lacking(&m->prefix_why, err);
    }
    free(config);
    free(path);
    return ok;
}

static void close_all(struct surprisal_model *m)
{
    tokenizer_close(m->tokenizer);
    prefix_free(&m->prefix);
    weights_free(&m->weights);
    checkpoint_close(&m->checkpoint);
    input_files_free(&m->inputs);
    input_files_free(&m->tokenizer_inputs);
    free(m->known);
}

struct surprisal_model *model_handle_open(const char *path,
                                          const struct surprisal_progress *progress,
                                          struct error *err)
{
    const struct surprisal_progress silent = { 0 };
    struct surprisal_model *m = NULL;
    if (!path)
        error_set(err, "no checkpoint is given");
    else
        m = mem_array(1, sizeof *m, "the model", err);
    if (!m)
        return NULL;
    pthread_mutex_init(&m->lock, NULL);
    if (checkpoint_list_folder(&m->inputs, path, err)
        && open_checkpoint(m, path, progress ? progress : &silent, err)
        && checkpoint_list_weights(&m->inputs, &m->checkpoint, err) && open_tokenizer(m, err))
        return m;
    model_handle_close(m);
    return NULL;
}

void model_handle_close(struct surprisal_model *m)
{
    if (!m)
        return;
    close_all(m);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

const struct tokenizer *model_handle_tokenizer(const struct surprisal_model *m, struct error *err)
{
    if (!m->tokenizer && err)
        *err = m->why;
    return m->tokenizer;
}

const struct prefix *model_handle_prefix(const struct surprisal_model *m, struct error *err)
{
    if (!m->prefix.source && err)
        *err = m->prefix_why;
    return m->prefix.source ? &m->prefix : NULL;
}

/* ---- what a caller names ---------------------------------------------------------- */

char *model_find(const char *name, const struct surprisal_hub *hub, struct error *err)
{
    return hub_cache_find(name, hub->cache, hub->revision, err);
}

struct model_source model_source_of(const struct surprisal_eval_options *o)
{
    return (struct model_source){ .path = o->checkpoint, .opened = o->model };
}

const char *model_source_path(struct model_source from)
{
    return from.opened ? from.opened->checkpoint.path : from.path;
}

bool model_source_check(struct model_source from, struct error *err)
{
    return !from.path || !from.opened
        || error_set(err, "both a checkpoint (%s) and a model that is open are given, expected one "
                     "of them", from.path);
}

bool model_source_list(struct input_files *in, struct model_source from, struct error *err)
{
    return from.opened ? input_files_add_all(in, &from.opened->inputs, err)
                       : checkpoint_list_folder(in, from.path, err);
}

/* ---- the model of a job ------------------------------------------------------------- */

static bool knows_digests(struct surprisal_model *handle)
{
    pthread_mutex_lock(&handle->lock);
    bool known = handle->known != NULL;
    pthread_mutex_unlock(&handle->lock);
    return known;
}

/* Finds out before the work whether the handle's files have changed since it was opened.  If only
 * an inode's time changed, the known digests decide; without them the file counts as changed. */
static bool borrow(struct model *m, struct surprisal_model *handle, struct input_files *in,
                   const struct surprisal_progress *progress, struct error *err)
{
    m->handle = handle;
    m->checkpoint = &handle->checkpoint;
    m->weights = &handle->weights;
    if (!in)
        return true;
    struct weights_hash *h = knows_digests(handle) ? model_hash_open(m, NULL) : NULL;
    bool ok = changed_inputs_refuse(in, h, progress, err);
    weights_hash_close(h);
    return ok;
}

bool model_open(struct model *m, struct model_source from, struct input_files *in,
                const struct surprisal_progress *progress, struct error *err)
{
    m->peak_before = machine_peak_memory();
    if (from.opened)
        return borrow(m, from.opened, in, progress, err);
    m->checkpoint = &m->own.checkpoint;
    m->weights = &m->own.weights;
    return open_checkpoint(&m->own, from.path, progress, err)
        && (!in || checkpoint_list_weights(in, m->checkpoint, err));
}

bool model_open_tokenizer(struct model *m, const struct surprisal_eval_options *o,
                          struct error *err)
{
    if (!o->text && !o->tokenizer)
        return true;
    if (m->handle && !o->tokenizer) {
        m->tokenizer = model_handle_tokenizer(m->handle, err);
        return m->tokenizer != NULL;
    }
    char *own = o->tokenizer ? NULL : checkpoint_tokenizer(m->checkpoint->path, err);
    const char *path = o->tokenizer ? o->tokenizer : own;
    m->tokenizer = m->own.tokenizer = path ? tokenizer_open(path, err) : NULL;
    free(own);
    return m->tokenizer != NULL;
}

struct engine_options model_engine_options(const struct surprisal_machine *machine,
                                           size_t held_bytes)
{
    return (struct engine_options){
        .n_threads = machine->threads, .memory_bytes = machine->memory_bytes, .isa = machine->isa,
        .held_bytes = held_bytes, .processes = (size_t)(machine->processes > 0
                                                        ? machine->processes : 1),
        .compute = machine->compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
        .progress = PROGRESS_OF(&machine->progress),
    };
}

bool model_open_engine(struct model *m, const struct engine_options *options, struct error *err)
{
    struct engine_options mine = *options;
    mine.held_bytes += budget_held_now() + m->weights->n_tensors * TENSOR_BYTES;
    mine.reached_bytes = machine_peak_memory_since(m->peak_before);
    m->held_bytes = mine.held_bytes;
    m->engine = engine_open(m->checkpoint, m->weights, &mine, err);
    return m->engine != NULL;
}

void model_close(struct model *m)
{
    engine_close(m->engine);
    close_all(&m->own);
}

/* ---- digests ------------------------------------------------------------------------- */

struct weights_hash *model_hash_open(const struct model *m, struct error *err)
{
    struct weights_hash *h = weights_hash_open(m->checkpoint, m->weights, err);
    if (!h || !m->handle)
        return h;
    pthread_mutex_lock(&m->handle->lock);
    if (m->handle->known)
        weights_hash_assume(h, m->handle->known);
    pthread_mutex_unlock(&m->handle->lock);
    return h;
}

void model_hash_keep(const struct model *m, struct weights_hash *h)
{
    struct surprisal_model *handle = m->handle;
    if (!handle || knows_digests(handle))
        return;
    uint8_t *known = mem_array(m->weights->n_tensors, WEIGHTS_KNOWN_BYTES, "digests", NULL);
    if (!known)
        return;
    weights_hash_known(h, known);
    pthread_mutex_lock(&handle->lock);
    if (!handle->known) {
        handle->known = known;
        known = NULL;
    }
    pthread_mutex_unlock(&handle->lock);
    free(known);
}
