#include "engine/pass_cost.h"

/* What n passes read, which begin with part `part`. */
static void add_reading(struct workload_reading *reading, const struct engine *e, size_t part,
                        double n, bool hashed)
{
    double first = 0, beside = 0;
    for (size_t i = part; i < e->parts.list.n_parts; i++)
        *(i < e->parts.layer[0] ? &first : &beside) +=
            (double)stream_part_bytes(&e->parts.list, i);
    reading->first += n * first;
    reading->beside += n * beside;
    reading->first_hashed += hashed ? first : 0;
    reading->beside_hashed += hashed ? beside : 0;
    reading->from_disk += (e->evict ? n : 1) * (first + beside);
}

static size_t bytes_from(const struct engine *e, size_t part)
{
    size_t bytes = e->parts.bytes;
    for (size_t i = 0; i < part; i++)
        bytes -= stream_part_bytes(&e->parts.list, i);
    return bytes;
}

bool pass_cost_add(struct engine_cost *cost, const struct engine *e, const struct pass_range *range,
                   struct error *err)
{
    const struct config *c = &e->ck->config;
    const struct engine_state *from = range->from;
    const struct compute cm = engine_compute(e);
    const struct workload_path path = {
        .cm = &cm, .ck = e->ck, .w = e->w, .layer = from ? from->layer : 0,
        .mixer_done = from && from->mixer_done, .head = range->head, .observed = range->observed,
    };
    struct workload_rows rows = { 0 };
    size_t part = from ? e->parts.layer[from->layer] : 0, bytes = bytes_from(e, part), next;
    for (size_t first = range->first; first < range->end; first = next, cost->passes++) {
        next = plan_pass_end(range->plan, range->windows, range->end, first);
        const struct workload_pass pass = {
            .windows = range->windows + first, .n_windows = next - first,
            .tile_tokens = range->plan->tile_tokens, .keep_all = range->plan->keep_all,
        };
        size_t tokens = plan_tokens(pass.windows, pass.n_windows);
        if (cost->passes == 0)
            cost->n_threads = pass_threads(e, pass.windows, pass.n_windows);
        cost->state_bytes = size_max(cost->state_bytes, tokens * c->hidden_size * sizeof(float));
        cost->bytes_read += bytes;
        if (!workload_rows_add(&rows, c, &pass, err))
            return false;
    }
    if (range->end > range->first) {
        workload_add(&cost->load, &path, &rows);
        add_reading(&cost->load.reading, e, part, rows.passes, range->hashed);
    }
    return true;
}
