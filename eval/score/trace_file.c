#include "eval/score/trace_file.h"

size_t trace_file_bytes(const struct config *c, size_t n_ids)
{
    size_t a, b, per_layer, per_token = c->num_experts ? c->num_experts_per_tok : 0;
    bool ok = size_sum(&per_layer, c->hidden_size, per_token)
           && size_product(&a, per_layer, c->num_hidden_layers)
           && size_sum(&b, c->vocab_size, 1) && size_sum(&b, b, c->hidden_size)
           && size_sum(&a, a, b) && size_product(&a, a, n_ids)
           && size_product(&a, a, sizeof(float));
    return ok ? a : SIZE_MAX;
}

bool trace_file_create(struct trace_file *f, const char *path, const struct config *c,
                       const int32_t *ids, size_t n_ids, struct error *err)
{
    *f = (struct trace_file){ .T = n_ids, .D = c->hidden_size, .k = c->num_experts_per_tok,
                              .V = c->vocab_size };
    struct safetensors_entry entries[5];
    size_t n = 0, L = c->num_hidden_layers;
    entries[n++] = (struct safetensors_entry){ "ids", DTYPE_I32, 1, { f->T } };
    f->residual = n;
    entries[n++] = (struct safetensors_entry){ "residual", DTYPE_F32, 3, { L, f->T, f->D } };
    f->routing = n;
    if (c->num_experts)
        entries[n++] = (struct safetensors_entry){ "routing", DTYPE_I32, 3, { L, f->T, f->k } };
    f->hidden = n;
    entries[n++] = (struct safetensors_entry){ "hidden", DTYPE_F32, 2, { f->T, f->D } };
    f->logits = n;
    entries[n++] = (struct safetensors_entry){ "logits", DTYPE_F32, 2, { f->T, f->V } };
    if (!safetensors_create(&f->writer, path, entries, n, err))
        return false;
    if (safetensors_write(&f->writer, 0, 0, ids, n_ids * sizeof *ids, err))
        return true;
    safetensors_abandon(&f->writer);
    return false;
}

bool trace_file_layer(struct trace_file *f, size_t layer, const float *residual,
                      const int32_t *routing, struct error *err)
{
    size_t bytes = f->T * f->D * sizeof *residual;
    if (!safetensors_write(&f->writer, f->residual, layer * bytes, residual, bytes, err))
        return false;
    bytes = f->T * f->k * sizeof *routing;
    return !routing || safetensors_write(&f->writer, f->routing, layer * bytes, routing, bytes,
                                         err);
}

bool trace_file_hidden(struct trace_file *f, size_t row, size_t n, const float *hidden,
                       struct error *err)
{
    size_t bytes = f->D * sizeof *hidden;
    return safetensors_write(&f->writer, f->hidden, row * bytes, hidden, n * bytes, err);
}

bool trace_file_logits(struct trace_file *f, size_t row, size_t n, const float *logits,
                       struct error *err)
{
    size_t bytes = f->V * sizeof *logits;
    return safetensors_write(&f->writer, f->logits, row * bytes, logits, n * bytes, err);
}
