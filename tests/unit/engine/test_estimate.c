/* The time that a job takes, estimated: it is a time for every kind of checkpoint, compute type and
 * amount of work, and its memory is given back.  How good it is: tests/bench/estimate.py. */
#include "engine/estimate.h"

#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "engine/step_sample.h"
#include "formats/weights.h"
#include "tests/check.h"

enum { N_IDS = 20000 };
static int32_t ids[N_IDS];

struct opened {
    struct checkpoint ck;
    struct weights w;
    struct engine *e;
};

static bool open_it(struct opened *o, const char *path, const struct engine_options *options)
{
    struct error err = { 0 };
    *o = (struct opened){ 0 };
    return check(checkpoint_open(&o->ck, path, &err) && weights_bind(&o->w, &o->ck, &err)
                 && (o->e = engine_open(&o->ck, &o->w, options, &err)), path, "%s", err.message);
}

static void close_it(struct opened *o)
{
    engine_close(o->e);
    weights_free(&o->w);
    checkpoint_close(&o->ck);
}

/* n windows of `tokens` tokens back to back.  NaN: the cost cannot be told. */
static double seconds_of(const struct engine *e, size_t n, size_t tokens)
{
    struct engine_window windows[16];
    struct engine_cost cost;
    struct error err = { 0 };
    for (size_t i = 0; i < n; i++)
        windows[i] = (struct engine_window){ i * tokens, (i + 1) * tokens, i * tokens + 1 };
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = windows,
                                    .n_windows = n };
    return engine_cost(e, &job, &cost, &err) ? estimate_seconds(e, windows, n, &cost)
                                             : (double)NAN;
}

static void test_checkpoints(void)
{
    static const char *const paths[] = {
        "data/demo/bf16", "data/demo/mxfp4", "tests/fixtures/dense-tied", "tests/fixtures/mini",
        "tests/fixtures/moe-top1", "tests/fixtures/moe-odd", "tests/fixtures/all-full",
        "tests/fixtures/all-linear", "tests/fixtures/packed-dense",
    };
    static const struct {
        size_t n, tokens;
    } jobs[] = { { 1, 2 }, { 1, 12 }, { 3, 130 }, { 1, 3000 } };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int type = 0; type < COMPUTE_TYPES; type++)
            for (size_t j = 0; j < sizeof jobs / sizeof *jobs; j++) {
                struct opened o;
                const struct engine_options options = { .n_threads = 1 + (int)(j % 3),
                                                        .compute = (enum compute_type)type };
                if (open_it(&o, paths[i], &options)) {
                    double s = seconds_of(o.e, jobs[j].n, jobs[j].tokens);
                    check(s > 0 && s < 1000, paths[i], "%zu windows of %zu tokens take %g s",
                          jobs[j].n, jobs[j].tokens, s);
                }
                close_it(&o);
            }
}

/* What stands for a step is a part of it, or there is none. */
static void test_parts(void)
{
    static const struct {
        const char *path;
        enum step_kind kind;
        double weights, flop;           /* flop: of all of it, at most; 0: the model has no such */
    } cases[] = {
        { "tests/fixtures/all-full", STEP_DELTA_NET, 1e9, 0 },
        { "tests/fixtures/all-linear", STEP_ATTENTION, 1e9, 0 },
        { "data/demo/bf16", STEP_HEAD, 1e9, 2 * 2048 * 128 },       /* a tile of the vocabulary */
        { "data/demo/bf16", STEP_HEAD, 1e5, 2 * 512 * 128 },
        { "data/demo/bf16", STEP_MLP, 1e9, 2 * (5 * 3 * 64 + 4 + 1) * 128 },   /* 4 experts */
        { "data/demo/bf16", STEP_MLP, 1e5, 2 * (3 * 3 * 64 + 2 + 1) * 128 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened o;
        if (open_it(&o, cases[i].path, &(struct engine_options){ .n_threads = 1 })) {
            double flop = step_sample_flop(o.e, cases[i].kind, cases[i].weights);
            check(flop == cases[i].flop, cases[i].path, "kind %d, %g weights: %g FLOP, expected %g",
                  (int)cases[i].kind, cases[i].weights, flop, cases[i].flop);
        }
        close_it(&o);
    }
}

/* Pages that it has touched are its own only while it measures. */
static void test_memory(void)
{
    struct opened o;
    struct engine_options options = { .n_threads = 2 };
    if (open_it(&o, "data/demo/bf16", &options)) {
        struct engine_cost cost;
        struct error err = { 0 };
        const struct engine_window window = { 0, 1000, 1 };
        const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = &window,
                                        .n_windows = 1 };
        bool ok = engine_cost(o.e, &job, &cost, &err);
        size_t before = machine_resident_memory();
        double s = estimate_seconds(o.e, &window, 1, &cost);
        size_t more = machine_resident_memory() - size_min(machine_resident_memory(), before);
        check(ok && s > 0 && more < (size_t)8 << 20, "memory is given back", "%zu bytes are held",
              more);
        struct budget budget = o.e->budget;
        o.e->budget.bytes = 1;
        s = estimate_seconds(o.e, &window, 1, &cost);
        check(s == 0, "no memory, no estimate", "%g s", s);
        o.e->budget = budget;
    }
    close_it(&o);
}

int main(void)
{
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)(i * 37 % 200);
    test_checkpoints();
    test_parts();
    test_memory();
    return check_done();
}
