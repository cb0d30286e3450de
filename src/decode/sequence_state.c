#include "decode/sequence_state.h"

#include <stdlib.h>

/* On an arena that only measures, the states stay as they are. */
static void take(struct arena *a, struct sequence_state *s, const struct config *c,
                 size_t capacity)
{
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        bool attention = c->layer_types[i] == FULL_ATTENTION;
        void *memory = arena_take(a, 1, attention ? attention_state_bytes(c, capacity)
                                                  : delta_net_state_bytes(c));
        if (memory && attention)
            attention_state_init(&s->attention[i], c, capacity, memory);
        else if (memory)
            delta_net_state_init(&s->delta_net[i], c, memory);
    }
}

size_t sequence_state_bytes(const struct config *c, size_t capacity)
{
    struct arena measure = { 0 };
    take(&measure, NULL, c, capacity);
    return measure.peak < SIZE_MAX / 2 ? measure.peak : SIZE_MAX;
}

bool sequence_state_open(struct sequence_state *s, const struct config *c, size_t capacity,
                         struct error *err)
{
    size_t L = c->num_hidden_layers;
    *s = (struct sequence_state){ .capacity = capacity };
    s->attention = mem_array(L, sizeof *s->attention, "the states of layers", err);
    s->delta_net = mem_array(L, sizeof *s->delta_net, "the states of layers", err);
    if (s->attention && s->delta_net
        && arena_reserve(&s->memory, sequence_state_bytes(c, capacity), err)) {
        take(&s->memory, s, c, capacity);
        return true;
    }
    sequence_state_close(s);
    return false;
}

void sequence_state_close(struct sequence_state *s)
{
    free(s->attention);
    free(s->delta_net);
    arena_free(&s->memory);
    *s = (struct sequence_state){ 0 };
}

void sequence_state_clear(struct sequence_state *s, const struct config *c)
{
    s->memory.used = 0;
    s->n_past = 0;
    take(&s->memory, s, c, s->capacity);
}
