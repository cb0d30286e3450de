#include "decode/decoder_weights.h"

#include <stdlib.h>

#include "base/memory.h"
#include "engine/pass.h"

/* What the system brings in around a byte of a file that is in its cache (fault_around_bytes): rows
 * of the embedding may lie on two such pieces. */
#define ROW_BYTES ((size_t)128 << 10)

bool decoder_weights_open(struct decoder_weights *w, const struct engine *e,
                          bool shares_vocabulary, struct error *err)
{
    *w = (struct decoder_weights){ .e = e, .shares_vocabulary = shares_vocabulary };
    w->checked = mem_array(e->parts.list.n_parts, sizeof *w->checked, "the list of weights", err);
    return w->checked != NULL;
}

void decoder_weights_close(struct decoder_weights *w)
{
    kept_weights_close(w->kept);
    free(w->checked);
}

/* ---- memory ---------------------------------------------------------------- */

static size_t vocabulary_bytes(const struct decoder_weights *w, size_t n_rows)
{
    const struct weight_schedule *parts = &w->e->parts;
    size_t bytes = stream_parts_bytes(&parts->list, 0, parts->layer[0]);
    bytes = size_min(bytes, n_rows * ROW_BYTES);
    return bytes + (w->shares_vocabulary ? kept_weights_head_bytes(parts, w->e->w->n_layers) : 0);
}

static size_t used_at_once(const struct decoder_weights *w, size_t n_experts)
{
    return kept_weights_least(&w->e->parts, w->e->w->n_layers, n_experts, !w->shares_vocabulary);
}

size_t decoder_weights_least(const struct decoder_weights *w, size_t n_experts, size_t n_rows)
{
    return used_at_once(w, n_experts) + vocabulary_bytes(w, n_rows);
}

bool decoder_weights_limit(struct decoder_weights *w, size_t bytes, size_t n_experts,
                           size_t n_rows, struct error *err)
{
    w->kept = kept_weights_open(&w->e->parts, used_at_once(w, n_experts),
                                bytes - vocabulary_bytes(w, n_rows), err);
    return w->kept != NULL;
}

/* ---- layers ---------------------------------------------------------------- */

/* Scales that are NaN are refused before their first use, as in an evaluation. */
static bool need(void *user, size_t part, struct error *err)
{
    struct decoder_weights *w = user;
    const struct engine *e = w->e;
    size_t first = e->parts.layer[w->layer];
    if (w->kept && !kept_weights_need(w->kept, part, err))
        return false;
    if (w->checked[part])
        return true;
    if (part == first ? !weights_check_scales(e->ck, e->w, w->layer, err)
                      : e->w->layers[w->layer].experts
                            && !weights_check_expert(e->ck, e->w, w->layer, part - first - 1, err))
        return false;
    w->checked[part] = true;
    return true;
}

static void done(void *user, size_t part)
{
    struct decoder_weights *w = user;
    if (w->kept)
        kept_weights_done(w->kept, part);
}

struct weight_feed decoder_weights_feed(struct decoder_weights *w)
{
    return (struct weight_feed){ need, done, w };
}

/* ---- embedding and head ------------------------------------------------------ */

bool decoder_weights_begin(struct decoder_weights *w, struct error *err)
{
    const struct engine *e = w->e;
    if (w->kept)
        kept_weights_step(w->kept);
    if (!w->checked[0] && !weights_check_scales(e->ck, e->w, e->w->n_layers, err))
        return false;
    w->checked[0] = true;
    return true;
}

/* An embedding that is the head, too, goes with that. */
void decoder_weights_embedded(const struct decoder_weights *w)
{
    const struct weight_schedule *parts = &w->e->parts;
    bool is_head = w->e->w->embed_tokens.data == w->e->w->lm_head.data;
    for (size_t part = 0; w->kept && !is_head && part < parts->layer[0]; part++)
        stream_part_release(&parts->list, part, false);
}

bool decoder_weights_need_head(struct decoder_weights *w, struct error *err)
{
    const struct weight_schedule *parts = &w->e->parts;
    bool ok = true;
    if (!w->kept || w->shares_vocabulary)
        return true;
    for (size_t part = parts->layer[w->e->w->n_layers]; ok && part < parts->list.n_parts; part++)
        ok = kept_weights_need(w->kept, part, err);
    return ok;
}

void decoder_weights_head_done(struct decoder_weights *w)
{
    const struct weight_schedule *parts = &w->e->parts;
    if (!w->kept || w->shares_vocabulary)
        return;
    for (size_t part = parts->layer[w->e->w->n_layers]; part < parts->list.n_parts; part++)
        kept_weights_done(w->kept, part);
}
