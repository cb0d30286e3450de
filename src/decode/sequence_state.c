#include "decode/sequence_state.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t sequence_state_pool_bytes(const struct config *c, enum dtype dtype, size_t n_tokens)
{
    const struct kv_shape shape = kv_shape_of(c, dtype);
    return kv_pool_bytes(&shape, kv_pool_blocks(n_tokens));
}

bool sequence_state_pool_open(struct kv_pool *pool, const struct config *c, enum dtype dtype,
                              size_t n_tokens, struct error *err)
{
    const struct kv_shape shape = kv_shape_of(c, dtype);
    return kv_pool_open(pool, &shape, kv_pool_blocks(n_tokens), err);
}

void sequence_state_pool_close(struct kv_pool *pool)
{
    kv_pool_close(pool);
}

/* On an arena that only measures, the states stay as they are. */
static void take(struct arena *a, struct sequence_state *s, const struct config *c)
{
    size_t attention = 0;
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        if (c->layer_types[i] == FULL_ATTENTION) {
            if (s)
                attention_state_init_blocks(&s->attention[i], s->keys, attention++);
            continue;
        }
        void *memory = arena_take(a, 1, delta_net_state_bytes(c));
        if (s)
            delta_net_state_init(&s->delta_net[i], c, memory);
    }
}

static size_t delta_nets_bytes(const struct config *c)
{
    struct arena measure = { 0 };
    take(&measure, NULL, c);
    return measure.peak;
}

size_t sequence_state_bytes(const struct config *c, size_t capacity)
{
    size_t states = c->num_hidden_layers
                  * (sizeof(struct attention_state) + sizeof(struct delta_net_state));
    size_t bytes;
    return size_sum(&bytes, delta_nets_bytes(c), states)
        && size_sum(&bytes, bytes, kv_pool_blocks(capacity) * sizeof(uint32_t))
        && bytes < SIZE_MAX / 2 ? bytes : SIZE_MAX;
}

bool sequence_state_open(struct sequence_state *s, const struct config *c, struct kv_pool *pool,
                         size_t capacity, struct error *err)
{
    size_t L = c->num_hidden_layers;
    *s = (struct sequence_state){ .n_layers = L, .capacity = capacity };
    s->attention = mem_array(L, sizeof *s->attention, "the states of layers", err);
    s->delta_net = mem_array(L, sizeof *s->delta_net, "the states of layers", err);
    s->keys = mem_array(1, sizeof *s->keys, "the states of layers", err);
    if (s->attention && s->delta_net && s->keys && kv_table_open(s->keys, pool, capacity, err)
        && arena_reserve(&s->memory, delta_nets_bytes(c), err)) {
        take(&s->memory, s, c);
        return true;
    }
    sequence_state_close(s);
    return false;
}

void sequence_state_close(struct sequence_state *s)
{
    if (s->keys)
        kv_table_close(s->keys);
    free(s->keys);
    free(s->attention);
    free(s->delta_net);
    free(s->before);
    arena_free(&s->memory);
    arena_free(&s->before_memory);
    *s = (struct sequence_state){ 0 };
}

void sequence_state_clear(struct sequence_state *s, const struct config *c)
{
    sequence_state_cut(s, 0);
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        s->delta_net[i].n_past = 0;
}

size_t sequence_state_rows_bytes(const struct config *c, size_t n)
{
    size_t states, bytes;
    return size_product(&bytes, n, delta_nets_bytes(c))
        && size_product(&states, n, c->num_hidden_layers * sizeof(struct delta_net_state))
        && size_sum(&bytes, bytes, states) && bytes < SIZE_MAX / 2 ? bytes : SIZE_MAX;
}

bool sequence_state_keep_rows(struct sequence_state *s, const struct config *c, size_t n,
                              struct error *err)
{
    assert(!s->before && s->n_past == 0);
    s->before = mem_array(s->n_layers * n, sizeof *s->before, "the states of rows", err);
    if (!s->before || !arena_reserve(&s->before_memory, n * delta_nets_bytes(c), err))
        return false;
    for (size_t i = 0; i < s->n_layers; i++) {
        if (c->layer_types[i] == FULL_ATTENTION)
            continue;
        s->delta_net[i].before = s->before + i * n;
        s->delta_net[i].n_before = n;
        for (size_t j = 0; j < n; j++)
            delta_net_state_init(&s->before[i * n + j], c,
                                 arena_take(&s->before_memory, 1, delta_net_state_bytes(c)));
    }
    return true;
}

void sequence_state_take_back(struct sequence_state *s, size_t n)
{
    sequence_state_cut(s, s->n_past - n);
    for (size_t i = 0; i < s->n_layers; i++)
        if (!s->attention[i].blocks)
            delta_net_state_take_back(&s->delta_net[i], n);
}

size_t sequence_state_lacks(const struct sequence_state *s, size_t n)
{
    return kv_table_lacks(s->keys, s->n_past, n);
}

bool sequence_state_reserve(struct sequence_state *s, size_t n, struct error *err)
{
    assert(n <= s->capacity - s->n_past);
    return kv_table_reserve(s->keys, s->n_past, n, err);
}

void sequence_state_copy(struct sequence_state *to, const struct sequence_state *from,
                         const struct config *c)
{
    assert(to->capacity == from->capacity && to != from);
    kv_table_copy(to->keys, from->keys, from->n_past);
    to->n_past = from->n_past;
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        if (c->layer_types[i] == FULL_ATTENTION)
            to->attention[i].n_past = from->attention[i].n_past;
        else
            delta_net_state_copy(&to->delta_net[i], &from->delta_net[i], c);
    }
}

void sequence_state_cut(struct sequence_state *s, size_t n_tokens)
{
    assert(n_tokens <= s->n_past);
    kv_table_cut(s->keys, n_tokens);
    s->n_past = n_tokens;
    for (size_t i = 0; i < s->n_layers; i++)
        if (s->attention[i].blocks)
            s->attention[i].n_past = n_tokens;
}
