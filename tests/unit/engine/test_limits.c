/* The machine's limits are measured at all, for every set of kernels; files are read as asked. */
#include "engine/limits.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "bench/bench.h"
#include "tests/check.h"
#include "tests/isas.h"

static void test_arithmetic(void)
{
    for (size_t i = 0; i < N_ISAS; i++) {
        const struct kernels *kn = kernels_find(isas[i], NULL);
        for (int type = 0; kn && type < COMPUTE_TYPES; type++) {
            enum compute_type t = (enum compute_type)type;
            struct limits_peak arithmetic = limits_peak(kn, t, 2);
            double peak = limits_peak_flops(&arithmetic, 1e-3);
            char name[64];
            snprintf(name, sizeof name, "arithmetic of %s, type %d", isas[i], type);
            check(peak > 1e6, name, "%g FLOP/s", peak);
        }
    }
    const struct kernels *scalar = kernels_find("scalar", NULL);
    check(!limits_has_dot(scalar), "BF16 dots are not of every set", "the scalar set has them");
}

static void test_disk(void)
{
    enum { BYTES = 10000001 };              /* no multiple of a block */
    char path[] = "/tmp/surprisal-limits-XXXXXX";
    struct error err = { 0 };
    struct limits_rate rate;
    char *bytes = mem_array(BYTES, 1, "a file", &err);
    int fd = mkstemp(path);
    bool ok = bytes && fd >= 0 && write(fd, bytes, BYTES) == BYTES && fsync(fd) == 0;
    if (!check(ok, "a file to read", "cannot write %s", path))
        return;
    close(fd);
    ok = limits_disk(&rate, path, SIZE_MAX, 60, &err);
    check(ok && rate.bytes == BYTES && rate.bytes_per_second > 0, "a file is read to its end",
          "%s: %zu bytes, %g a second", err.message, rate.bytes, rate.bytes_per_second);
    ok = limits_disk(&rate, path, 1, 60, &err);
    check(ok && rate.bytes > 0 && rate.bytes < BYTES, "no more than asked, in blocks", "%zu bytes",
          rate.bytes);
    unlink(path);
    check(!limits_disk(&rate, path, 1, 1, &err) && strstr(err.message, path),
          "a file that is not there", "%s", err.message);
    free(bytes);
}

/* ---- stopping ------------------------------------------------------------------ */

static bool stop_at_third(void *user, const char *stage, double done, double total,
                          const char *unit)
{
    (void)stage, (void)unit;
    size_t *calls = user;
    return ++*calls < 3 && done < total;
}

static void test_interrupt(void)
{
    size_t calls = 0;
    struct error err = { 0 };
    struct bench_result result;
    const struct bench_options o = { .isa = "scalar", .n_threads = 1, .seconds = 1e-6,
                                     .progress = { .report = stop_at_third, .user = &calls } };
    bool ok = bench_run(&result, &o, &err);
    check(!ok && err.interrupted && calls == 3, "bench stops when asked", "after %zu calls: %s",
          calls, err.message);
    bench_free(&result);
}

int main(void)
{
    test_arithmetic();
    test_disk();
    test_interrupt();
    return check_done();
}
