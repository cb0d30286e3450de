#include "base/machine.h"

#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int machine_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);     /* more processors than cpu_set_t holds */
    return n > 0 ? (int)n : 1;
}

/* Bytes from the line "NAME: 123 kB" of a file; 0 when there is no such line. */
static size_t kib_of(const char *path, const char *name)
{
    FILE *f = fopen(path, "r");
    char line[256];
    unsigned long long kib = 0;
    size_t n = strlen(name);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && sscanf(line + n, ": %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (size_t)kib * 1024;
}

/* A file with one number; SIZE_MAX for "max" or no file. */
static size_t read_limit(const char *path)
{
    FILE *f = fopen(path, "r");
    unsigned long long value;
    size_t limit = f && fscanf(f, "%llu", &value) == 1 ? (size_t)value : SIZE_MAX;
    if (f)
        fclose(f);
    return limit;
}

/* What one cgroup folder leaves: limit minus use.  The use includes page cache, which could be
 * reclaimed, so this errs on the safe side. */
static size_t cgroup_left(const char *folder, const char *limit_name, const char *use_name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    size_t limit = read_limit(path);
    snprintf(path, sizeof path, "%s/%s", folder, use_name);
    size_t use = read_limit(path);
    if (limit == SIZE_MAX || use == SIZE_MAX)
        return SIZE_MAX;
    return limit > use ? limit - use : 0;
}

/* The tightest of the cgroups from this process's own up to the root. */
static size_t cgroup_memory(void)
{
    size_t left = SIZE_MAX;
    FILE *f = fopen("/proc/self/cgroup", "r");
    char line[4096];
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        bool v2 = strncmp(line, "0::", 3) == 0;
        char *path = strstr(line, v2 ? "0::" : ":memory:");
        if (!path)
            continue;
        path += v2 ? 3 : 8;
        for (;;) {
            char folder[4160];
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", v2 ? "" : "/memory", path);
            size_t here = v2 ? cgroup_left(folder, "memory.max", "memory.current")
                             : cgroup_left(folder, "memory.limit_in_bytes",
                                           "memory.usage_in_bytes");
            left = here < left ? here : left;
            char *slash = strrchr(path, '/');
            if (!slash || !*path)
                break;
            *slash = '\0';
        }
    }
    if (f)
        fclose(f);
    return left;
}

size_t machine_free_memory(void)
{
    size_t free_bytes = kib_of("/proc/meminfo", "MemAvailable"), cgroup = cgroup_memory();
    return free_bytes < cgroup ? free_bytes : cgroup;
}

size_t machine_resident_memory(void)
{
    return kib_of("/proc/self/status", "VmRSS");
}

size_t machine_peak_memory(void)
{
    return kib_of("/proc/self/status", "VmHWM");
}

size_t machine_peak_memory_since(size_t before)
{
    size_t peak = machine_peak_memory();
    return peak > before ? peak : 0;
}

/* schedstat: nanoseconds on a processor, nanoseconds waiting for one, time slices
 * (Documentation/scheduler/sched-stats.rst of Linux). */
double machine_waited_seconds(void)
{
    DIR *tasks = opendir("/proc/self/task");
    double seconds = 0;
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        char path[sizeof "/proc/self/task//schedstat" + sizeof e->d_name];
        unsigned long long waited = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (f && fscanf(f, "%*u %llu", &waited) == 1)
            seconds += 1e-9 * (double)waited;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return seconds;
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double machine_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double machine_thread_seconds(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}
