/* Several threads add requests to one scheduler and cancel them at any moment: each ends exactly
 * once, what is not cancelled has its bits, and nothing is left behind.  With one thread of
 * computation, so that ThreadSanitizer can watch (CONTRIBUTING.md). */
#include "tests/unit/decode/scheduler_fixture.h"

#include <unistd.h>

#include "base/machine.h"

enum { THREADS = 4, IN_FLIGHT = 4, KINDS = 9, CONTEXT = 128 };

static struct client kinds[KINDS];
static struct record wants[KINDS];

struct storm {
    struct scheduler *s;
    size_t vocab_size, seed, n_requests;
    size_t done, cancelled, wrong;
};

/* What a request of some kind has to be when it has ended. */
static void judge(struct storm *storm, const struct client *c, size_t kind)
{
    bool is_done = c->end == SCHEDULER_DONE;
    storm->done += is_done;
    storm->cancelled += c->end == SCHEDULER_CANCELLED;
    size_t n = is_done ? c->n_answer : c->got.n;
    bool ok = c->ends == 1 && c->end != SCHEDULER_FAILED && c->starts <= 1 && c->got.n == n
           && memcmp(c->got.ids, wants[kind].ids, n * sizeof *c->got.ids) == 0
           && memcmp(c->got.bits, wants[kind].bits, n * sizeof *c->got.bits) == 0;
    storm->wrong += !ok;
}

/* A few requests at once; some are cancelled, at once or later. */
static void *blow(void *user)
{
    struct storm *storm = user;
    struct client *clients = calloc(IN_FLIGHT, sizeof *clients);
    struct random random = { storm->seed };
    struct crowd crowd = CROWD_EMPTY;
    struct error err = { 0 };
    crowd.s = storm->s;
    crowd.vocab_size = storm->vocab_size;
    for (size_t i = 0; i < storm->n_requests; i += IN_FLIGHT) {
        size_t kind[IN_FLIGHT];
        for (size_t k = 0; k < IN_FLIGHT; k++) {
            kind[k] = random_below(&random, KINDS);
            clients[k] = kinds[kind[k]];
            must(client_add(&crowd, &clients[k], &err), &err);
        }
        for (size_t k = 0; k < IN_FLIGHT; k++) {
            if (random_below(&random, 3) == 0)
                usleep((useconds_t)random_below(&random, 8000));
            if (random_below(&random, 3) == 0)
                scheduler_cancel(storm->s, clients[random_below(&random, IN_FLIGHT)].ticket);
        }
        crowd_wait(&crowd, IN_FLIGHT);
        for (size_t k = 0; k < IN_FLIGHT; k++)
            judge(storm, &clients[k], kind[k]);
    }
    free(clients);
    return NULL;
}

/* n requests in all; the sums of what became of them. */
static struct storm run(struct scheduler *s, size_t vocab_size, size_t n, size_t seed)
{
    struct storm storms[THREADS], all = { 0 };
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){ s, vocab_size, seed + i, n / THREADS, 0, 0, 0 };
        if (pthread_create(&threads[i], NULL, blow, &storms[i]))
            exit(1);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        all.done += storms[i].done;
        all.cancelled += storms[i].cancelled;
        all.wrong += storms[i].wrong;
    }
    return all;
}

static bool memory_can_be_measured(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return false;
#else
    return machine_resident_memory() > 0;
#endif
}

static void test_storm(struct fixture *f)
{
    const struct scheduler_options o = {
        .context = CONTEXT, .max_sequences = 3, .kv_dtype = DTYPE_F32, .kv_tokens = 3 * CONTEXT,
        .prefix_cache_bytes = 1 << 20, .turn_id = -1,
    };
    static const size_t numbers[][2] = { { 200, 800 }, { 40, 80 }, { 16, 16 } };
    const size_t *n = numbers[quick()];
    struct scheduler_figures figures;
    struct error err = { 0 };
    struct scheduler *s = scheduler_open(f->e, &o, &err);
    must(s != NULL, &err);
    struct storm first = run(s, f->ck.config.vocab_size, n[0], 1);
    size_t before = machine_resident_memory();
    struct storm second = run(s, f->ck.config.vocab_size, n[1], 100);
    size_t after = machine_resident_memory();
    scheduler_read_figures(s, &figures);
    check(first.wrong + second.wrong == 0, "each ends once, with the bits that it has alone",
          "%zu of %zu do not", first.wrong + second.wrong, n[0] + n[1]);
    check(first.done + second.done > 0 && first.cancelled + second.cancelled > 0,
          "some are done, some cancelled", "%zu and %zu", first.done + second.done,
          first.cancelled + second.cancelled);
    check(figures.running == 0 && figures.waiting == 0 && figures.kv_used == 0,
          "places and blocks are free again", "%zu run, %zu wait, %zu tokens", figures.running,
          figures.waiting, figures.kv_used);
    const char *name = "memory does not grow with the number of requests";
    if (memory_can_be_measured())
        check(after <= before + (1 << 20), name, "%zu bytes after %zu requests, then %zu", before,
              n[0], after);
    else
        check_skip(name, "sanitizers keep memory of their own");
    printf("# %zu done, %zu cancelled, %zu tokens from the cache, %zu bytes, then %zu\n",
           first.done + second.done, first.cancelled + second.cancelled, figures.cache_hits,
           before, after);
    scheduler_close(s);
}

int main(void)
{
    const struct engine_options options = { .n_threads = 1 };
    struct fixture f;
    fixture_open(&f, "data/demo/mxfp4", &options);
    for (size_t i = 0; i < KINDS; i++) {
        client_fill(&kinds[i], i, i + 1 < KINDS ? 1 + 3 * i : 80, 1 + i % 6);
        run_alone(&f, DTYPE_F32, &kinds[i], &wants[i]);
    }
    test_storm(&f);
    fixture_close(&f);
    return check_done();
}
