#include "decode/snapshot.h"

#include <stdlib.h>

/* On an arena that only measures, the states stay as they are. */
static void take(struct arena *a, struct delta_net_state *states, const struct config *c)
{
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        if (c->layer_types[i] == FULL_ATTENTION)
            continue;
        void *memory = arena_take(a, 1, delta_net_state_bytes(c));
        if (memory)
            delta_net_state_init(&states[i], c, memory);
    }
}

size_t snapshot_bytes(const struct config *c)
{
    struct arena measure = { 0 };
    take(&measure, NULL, c);
    return measure.peak < SIZE_MAX / 2 ? measure.peak : SIZE_MAX;
}

bool snapshot_open(struct snapshot *snapshot, const struct config *c, struct error *err)
{
    *snapshot = (struct snapshot){ 0 };
    snapshot->delta_net = mem_array(c->num_hidden_layers, sizeof *snapshot->delta_net,
                                    "a snapshot of the states of layers", err);
    if (snapshot->delta_net && arena_reserve(&snapshot->memory, snapshot_bytes(c), err)) {
        take(&snapshot->memory, snapshot->delta_net, c);
        return true;
    }
    snapshot_close(snapshot);
    return false;
}

void snapshot_close(struct snapshot *snapshot)
{
    free(snapshot->delta_net);
    arena_free(&snapshot->memory);
    *snapshot = (struct snapshot){ 0 };
}

void snapshot_take(struct snapshot *snapshot, const struct sequence_state *s,
                   const struct config *c)
{
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        if (c->layer_types[i] != FULL_ATTENTION)
            delta_net_state_copy(&snapshot->delta_net[i], &s->delta_net[i], c);
    snapshot->n_past = s->n_past;
}

void snapshot_restore(const struct snapshot *snapshot, struct sequence_state *s,
                      const struct config *c)
{
    sequence_state_cut(s, snapshot->n_past);
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        if (c->layer_types[i] != FULL_ATTENTION)
            delta_net_state_copy(&s->delta_net[i], &snapshot->delta_net[i], c);
}
