/* Which weights stay in memory: the most used ones, as many as have room, also when parts are used
 * in a circle. */
#include "decode/kept_weights.h"

#include <stdlib.h>

#include "base/memory.h"
#include "tests/check.h"

#define CHECKPOINT "data/demo/mxfp4"

static struct checkpoint ck;
static struct weights w;
static struct weight_schedule parts;

static size_t bytes_of(size_t part)
{
    return stream_part_bytes(&parts.list, part);
}

static void use(struct kept_weights *k, size_t part)
{
    struct error err = { 0 };
    if (!kept_weights_need(k, part, &err))
        check(false, "a part is brought in", "%s", err.message);
    kept_weights_done(k, part);
}

/* Bytes that the use of a part reads. */
static size_t reads(struct kept_weights *k, size_t part)
{
    size_t before = kept_weights_bytes_read(k);
    use(k, part);
    return kept_weights_bytes_read(k) - before;
}

static struct kept_weights *kept(size_t least, size_t bytes)
{
    struct error err = { 0 };
    struct kept_weights *k = kept_weights_open(&parts, least, bytes, &err);
    if (!k) {
        check(false, "it opens", "%s", err.message);
        exit(check_done());
    }
    return k;
}

static void test_least(void)
{
    size_t L = w.n_layers, first = parts.layer[0], head = kept_weights_head_bytes(&parts, L);
    size_t none = kept_weights_least(&parts, L, 0, false);
    size_t two = kept_weights_least(&parts, L, 2, false);
    size_t all = kept_weights_least(&parts, L, SIZE_MAX, false), layer = 0;
    for (size_t i = 0; i < L; i++) {
        size_t sum = 0;
        for (size_t part = parts.layer[i]; part < parts.layer[i + 1]; part++)
            sum += bytes_of(part);
        layer = size_max(layer, sum);
    }
    check(none >= bytes_of(first) && two >= none + 2 * bytes_of(first + 1) && all >= layer,
          "the least holds a layer and its experts", "%zu, %zu, %zu of %zu", none, two, all, layer);
    check(kept_weights_least(&parts, L, 0, true) == size_max(none, head), "or the head", "%zu, %zu",
          none, head);
}

/* One expert is used in each step, all others in turn: it stays. */
static void test_often_used(void)
{
    size_t first = parts.layer[0] + 1, end = parts.layer[1], expert = bytes_of(first), again = 0;
    struct kept_weights *k = kept(expert, 4 * expert);
    for (size_t step = 0; step < 3 * (end - first); step++) {
        kept_weights_step(k);
        size_t own = reads(k, first + 5);
        if (step > 0)
            again += own;
        use(k, first + step % (end - first));
    }
    check(again == 0, "an expert of every step is read once", "%zu bytes more", again);
    kept_weights_close(k);
}

/* All experts in a circle, with room for half of them: half is read in each step, where a list of
 * the latest ones would hold none that comes next. */
static void test_circle(void)
{
    size_t first = parts.layer[0] + 1, n = parts.layer[1] - first, expert = bytes_of(first);
    struct kept_weights *k = kept(expert, (n / 2 + 1) * expert);
    size_t last = 0;
    for (size_t step = 0; step < 5; step++) {
        size_t before = kept_weights_bytes_read(k);
        kept_weights_step(k);
        for (size_t part = first; part < first + n; part++)
            use(k, part);
        last = kept_weights_bytes_read(k) - before;
    }
    check(last >= (n - n / 2) * expert && last <= (n - n / 2 + 1) * expert,
          "a circle with room for half reads half", "%zu of %zu bytes", last, n * expert);
    kept_weights_close(k);
}

/* What changes its use is kept in the end: older uses count less and less. */
static void test_change(void)
{
    size_t first = parts.layer[0] + 1, expert = bytes_of(first), step = 0, again = 0;
    struct kept_weights *k = kept(expert, 2 * expert);
    for (; step < 5000; step++) {
        kept_weights_step(k);
        use(k, first);
    }
    for (; step < 12000; step++) {
        kept_weights_step(k);
        size_t bytes = reads(k, first + 1);
        if (step >= 11000)
            again += bytes;
    }
    check(again == 0, "a new favourite stays", "%zu bytes in the last steps", again);
    kept_weights_close(k);
}

/* A failure leaves parts in use: the next step does not count them. */
static void test_failure(void)
{
    size_t first = parts.layer[0], expert = bytes_of(first + 1);
    struct kept_weights *k = kept(expert, 3 * expert);
    struct error err = { 0 };
    kept_weights_step(k);
    bool ok = kept_weights_need(k, first + 1, &err) && kept_weights_need(k, first + 2, &err);
    kept_weights_step(k);
    check(ok && reads(k, first + 1) == 0 && reads(k, first + 2) == 0,
          "parts that were left in use can be used again", "%s", err.message);
    kept_weights_close(k);
}

int main(void)
{
    struct error err = { 0 };
    if (!checkpoint_open(&ck, CHECKPOINT, &err) || !weights_bind(&w, &ck, &err)
        || !weight_schedule_make(&parts, &ck, &w, &err)) {
        check(false, "the checkpoint opens", "%s", err.message);
        return check_done();
    }
    test_least();
    test_often_used();
    test_circle();
    test_change();
    test_failure();
    weight_schedule_free(&parts);
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
