/* A mixer of which only some rows are output rows: those have the bits that they have when all are,
 * and the others stay as they were; whole windows and pieces of long ones. */
#include "model/layer.h"

#include "tests/differ.h"
#include "tests/unit/model/model_fixture.h"

enum { D = FIXTURE_HIDDEN, WINDOWS = 5 };

static bool need(void *user, size_t part, struct error *err)
{
    return user || part == 0 || err;
}

/* x [n_tokens, D] through the mixer, of which `wanted` is wanted. */
static void mix(const struct compute *cm, struct arena *arena, const struct layer_weights *w,
                enum layer_type type, const struct batch *b, const size_t *wanted, size_t tile,
                float *x)
{
    const struct weight_feed feed = { .need = need };
    size_t rows_done = 0;
    struct layer_task task = { .type = type, .weights = w, .batch = *b, .x = x, .tile_tokens = tile,
                               .feed = &feed, .rows_done = &rows_done };
    struct error err = { 0 };
    task.batch.output_rows = wanted;
    arena->used = 0;
    const struct layer_shape shape = layer_shape_of(&task);
    struct layer_buffers buffers = layer_buffers_take(arena, cm, &shape);
    if (!layer_mixer(cm, &task, &buffers, &err))
        check(false, "the mixer runs", "%s", err.message);
}

/* Row by row: 0 as it should be, 1 wanted and other bits than when all are wanted, 2 not wanted and
 * changed; and where. */
static int wrong_row(char *where, const struct batch *b, const size_t *wanted, const float *before,
                     const float *all, const float *some)
{
    for (size_t w = 0; w < b->n_windows; w++)
        for (size_t row = b->start[w]; row < b->start[w + 1]; row++) {
            bool is_wanted = b->start[w + 1] - row <= wanted[w + 1] - wanted[w];
            const float *expected = (is_wanted ? all : before) + row * D;
            if (!same_f32(where, some + row * D, expected, D)) {
                differ_put(where, "; in row %zu", row);
                return is_wanted ? 1 : 2;
            }
        }
    return 0;
}

int main(void)
{
    static const struct {
        const char *name;
        size_t lengths[WINDOWS], wanted[WINDOWS], tile;
    } cases[] = {
        { "the second halves", { 64, 64, 64, 64, 64 }, { 32, 32, 32, 32, 32 }, 128 },
        { "one row of each", { 70, 1, 33, 2, 5 }, { 1, 1, 1, 1, 1 }, 128 },
        { "windows of which none is", { 20, 70, 33, 1, 9 }, { 0, 70, 0, 1, 0 }, 192 },
        { "none at all", { 3, 4, 5, 6, 70 }, { 0, 0, 0, 0, 0 }, 128 },
        { "pieces, the last rows", { 300, 20, 1, 200, 64 }, { 7, 3, 1, 10, 2 }, 64 },
        { "pieces, from inside one on", { 300, 20, 1, 200, 64 }, { 130, 0, 0, 190, 64 }, 64 },
        { "all, in so many words", { 40, 130, 9, 1, 64 }, { 40, 130, 9, 1, 64 }, 64 },
    };
    struct random r = { 5 };
    const struct config config = fixture_config(false);
    struct layer_weights w = random_layer(&r, &config);
    struct arena arena = test_arena();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int bf16 = 0; bf16 < 2; bf16++)
            for (int full = 0; full < 2; full++) {
                struct compute cm = { .config = &config, .kernels = &kernels_scalar, .n_threads = 2,
                                      .type = bf16 ? COMPUTE_BF16 : COMPUTE_F32 };
                enum layer_type type = full ? FULL_ATTENTION : LINEAR_ATTENTION;
                struct batch b = batch_of(cases[i].lengths, WINDOWS);
                size_t wanted[WINDOWS + 1] = { 0 }, bytes = b.n_tokens * D * sizeof(float);
                for (size_t s = 0; s < WINDOWS; s++)
                    wanted[s + 1] = wanted[s] + cases[i].wanted[s];
                struct matrix x = random_matrix(&r, b.n_tokens, D, 1);
                float *all = malloc(bytes), *some = malloc(bytes);
                memcpy(all, x.data, bytes);
                memcpy(some, x.data, bytes);
                mix(&cm, &arena, &w, type, &b, NULL, cases[i].tile, all);
                mix(&cm, &arena, &w, type, &b, wanted, cases[i].tile, some);
                char where[DIFFER_TEXT] = "";
                int wrong = wrong_row(where, &b, wanted, (const float *)x.data, all, some);
                check(wrong == 0 && memcmp(all, x.data, bytes), cases[i].name, "%s, %s: %s: %s",
                      full ? "attention" : "delta net", bf16 ? "bf16" : "f32",
                      wrong == 1 ? "a wanted row has other bits"
                                 : "a row that is not wanted changed",
                      where);
                free(all), free(some), free((void *)(uintptr_t)x.data),
                    free((void *)(uintptr_t)b.start);
            }
    free_layer(&w);
    arena_free(&arena);
    return check_done();
}
