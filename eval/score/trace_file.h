/* trace_file.h - writes a trace (trace.h has the tensors) as the engine gives it, layer by layer,
 * so that no tensor need fit into memory. */
#ifndef SURPRISAL_EVAL_SCORE_TRACE_FILE_H
#define SURPRISAL_EVAL_SCORE_TRACE_FILE_H

#include <stdint.h>

#include "formats/config.h"
#include "formats/safetensors.h"

struct trace_file {
    struct safetensors_writer writer;
    size_t residual, routing, hidden, logits;   /* numbers of the tensors */
    size_t T, D, k, V;
};

/* Bytes of all tensors; SIZE_MAX when they are too many. */
size_t trace_file_bytes(const struct config *c, size_t n_ids);
/* Nothing is at `path` until the commit.  End with safetensors_commit or safetensors_abandon. */
bool trace_file_create(struct trace_file *f, const char *path, const struct config *c,
                       const int32_t *ids, size_t n_ids, struct error *err);
/* As struct engine_tracer gives them; routing NULL: none. */
bool trace_file_layer(struct trace_file *f, size_t layer, const float *residual,
                      const int32_t *routing, struct error *err);
bool trace_file_hidden(struct trace_file *f, size_t row, size_t n, const float *hidden,
                       struct error *err);
bool trace_file_logits(struct trace_file *f, size_t row, size_t n, const float *logits,
                       struct error *err);

#endif
