#include "engine/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "engine/stopwatch.h"

/* ---- arithmetic ----------------------------------------------------------- */

#define MOST_STEPS ((size_t)1 << 24)

static void run_peak(void *user)
{
    struct limits_peak *p = user;
#pragma omp parallel num_threads(p->n_threads)
    {
        size_t flop = p->gemm->peak(p->gemm, p->steps);
#pragma omp master
        p->flop = flop;
    }
}

struct limits_peak limits_peak(const struct kernels *kn, enum compute_type type, int n_threads)
{
    struct limits_peak p = { kn->gemm[type], n_threads, 1024, 0 };
    if (!p.gemm->peak)
        p.gemm = kernels_find(NULL, NULL)->gemm[type];
    while (p.steps < MOST_STEPS && stopwatch_best(run_peak, &p, 0) < 4e-3)
        p.steps *= 2;
    return p;
}

double limits_peak_round(struct limits_peak *peak, double seconds)
{
    double took = stopwatch_round(run_peak, peak, seconds);
    return (double)peak->flop * peak->n_threads / took;
}

double limits_peak_flops(struct limits_peak *peak, double seconds)
{
    double took = stopwatch_best(run_peak, peak, seconds);
    return (double)peak->flop * peak->n_threads / took;
}

bool limits_has_dot(const struct kernels *kn)
{
    return kn->gemm[COMPUTE_BF16]->tile != kn->gemm[COMPUTE_F32]->tile;
}

/* ---- memory --------------------------------------------------------------- */

#define CACHES ((size_t)4)                      /* times the last-level cache */
#define THREAD_BYTES ((size_t)32 << 20)         /* a machine may have more such caches than one */
#define HUGE_PAGE    ((size_t)2 << 20)

/* Bytes of a last-level cache, as the kernel knows it (sysconf says 256 MB of one with 32); 0 when
 * it does not. */
static size_t last_level_cache(void)
{
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    size_t kib = 0;
    if (f && fscanf(f, "%zuK", &kib) != 1)
        kib = 0;
    if (f)
        fclose(f);
    return kib << 10;
}

static size_t buffer_floats(int n_threads)
{
    size_t bytes = size_max(CACHES * last_level_cache(),
                            size_max(4, (size_t)n_threads) * THREAD_BYTES);
    return size_min(bytes, machine_free_memory() / 8) / HUGE_PAGE * HUGE_PAGE / sizeof(float);
}

struct memory {
    float *buffer;
    size_t n;
    int n_threads;
    bool (*read)(const float *x, size_t n);
    bool finite;
};

static void read_memory(void *user)
{
    struct memory *m = user;
    bool finite = true;
#pragma omp parallel num_threads(m->n_threads) reduction(&& : finite)
    {
        size_t threads = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
        size_t begin = m->n * me / threads, end = m->n * (me + 1) / threads;
        finite = m->read(m->buffer + begin, end - begin);
    }
    m->finite = finite;
}

bool limits_memory(struct limits_rate *all, struct limits_rate *one, int n_threads,
                   double seconds, struct error *err)
{
    struct memory m = { .n = buffer_floats(n_threads), .n_threads = n_threads,
                        .read = kernels_find(NULL, NULL)->rows->all_finite };
    m.buffer = m.n ? aligned_alloc(HUGE_PAGE, m.n * sizeof *m.buffer) : NULL;
    if (!m.buffer)
        return error_set(err, "out of memory: %zu bytes to measure memory with",
                         m.n * sizeof *m.buffer);
    madvise(m.buffer, m.n * sizeof *m.buffer, MADV_HUGEPAGE);
    /* Each thread first writes the pages that it will read, so that they are on its own node. */
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t i = 0; i < m.n; i++)
        m.buffer[i] = 1;
    double bytes = (double)(m.n * sizeof *m.buffer);
    *all = (struct limits_rate){ bytes / stopwatch_best(read_memory, &m, seconds), (size_t)bytes };
    m.n_threads = 1;
    *one = (struct limits_rate){ bytes / stopwatch_best(read_memory, &m, seconds), (size_t)bytes };
    free(m.buffer);
    return true;
}

/* ---- disk ----------------------------------------------------------------- */

#define DISK_BLOCK ((size_t)8 << 20)

/* A block of the file at an offset, dropped from the page cache first unless reads are direct;
 * bytes, or -1. */
static ssize_t read_block(int fd, void *block, size_t at, bool *direct)
{
    ssize_t n;
    do {
        if (!*direct)
            posix_fadvise(fd, (off_t)at, (off_t)DISK_BLOCK, POSIX_FADV_DONTNEED);
        n = pread(fd, block, DISK_BLOCK, (off_t)at);
        /* A file system may take O_DIRECT and then refuse to read so. */
        if (n < 0 && errno == EINVAL && *direct && fcntl(fd, F_SETFL, 0) == 0) {
            *direct = false;
            errno = EINTR;
        }
    } while (n < 0 && errno == EINTR);
    return n;
}

bool limits_disk(struct limits_rate *rate, const char *path, size_t max_bytes, double max_seconds,
                 struct error *err)
{
    *rate = (struct limits_rate){ 0 };
    void *block = aligned_alloc(4096, DISK_BLOCK);
    if (!block)
        return error_set(err, "out of memory: %zu bytes to read a file into", DISK_BLOCK);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    bool direct = fd >= 0;
    if (!direct)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    double start = machine_seconds(), took = 0;
    ssize_t n = fd >= 0 ? (ssize_t)DISK_BLOCK : -1;
    while (n == (ssize_t)DISK_BLOCK && rate->bytes < max_bytes && took < max_seconds) {
        n = read_block(fd, block, rate->bytes, &direct);
        rate->bytes += n > 0 ? (size_t)n : 0;
        took = machine_seconds() - start;
    }
    if (n < 0)
        error_set(err, "%s: %s", path, error_reason(errno));
    else if (took > 0)
        rate->bytes_per_second = (double)rate->bytes / took;
    free(block);
    if (fd >= 0)
        close(fd);
    return n >= 0;
}
