#include "progress.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_INTERVAL 0.2           /* seconds between lines */
#define PIPE_INTERVAL     2.0

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    interrupted = signal_number;
}

int progress_interrupted(void)
{
    return interrupted;
}

void progress_forget(void)
{
    interrupted = 0;
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_time(char out[PROGRESS_TIME_BYTES], double seconds)
{
    const size_t n = PROGRESS_TIME_BYTES;
    if (seconds > 8640000)
        snprintf(out, n, "%.0f days", seconds / 86400);
    else {
        unsigned s = (unsigned)(seconds + 0.5);
        if (s >= 3600)
            snprintf(out, n, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
        else
            snprintf(out, n, "%u:%02u", s / 60, s % 60);
    }
}

static void put_rate(char *out, size_t n, double rate, const char *unit)
{
    if (strcmp(unit, "bytes") == 0)
        snprintf(out, n, "%.0f MB/s", rate / 1e6);
    else
        snprintf(out, n, rate < 10 ? "%.2f %s/s" : "%.0f %s/s", rate, unit);
}

/* "   1843 tokens/s   0:05 left, 0:40 in all" */
static void put_pace(char *out, size_t n, const struct progress_line *p)
{
    char rate[48], left[PROGRESS_TIME_BYTES], all[PROGRESS_TIME_BYTES];
    double seconds = pace_left(&p->pace);
    double whole = pace_stages_left(&p->stages, seconds, p->pace.seconds);
    int at = 0;
    *out = '\0';
    if (pace_rate(&p->pace) > 0) {
        put_rate(rate, sizeof rate, pace_rate(&p->pace), p->pace.unit);
        at += snprintf(out, n, "   %s", rate);
    }
    if (isfinite(seconds)) {
        progress_time(left, seconds);
        at += snprintf(out + at, n - (size_t)at, "   %s left", left);
    }
    if (isfinite(whole)) {
        progress_time(all, whole);
        snprintf(out + at, n - (size_t)at, isfinite(seconds) ? ", %s in all" : "   %s left in all",
                 all);
    }
}

static void draw(struct progress_line *p, const char *stage)
{
    char name[80], line[240];
    if (p->stages.number)
        snprintf(name, sizeof name, "stage %zu of %zu: %.40s", p->stages.number, p->stages.n,
                 stage);
    else
        snprintf(name, sizeof name, "%.40s", stage);
    int n = snprintf(line, sizeof line, "%-28s", name);
    if (p->pace.total > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, " %5.1f %%",
                      100 * p->pace.done / p->pace.total);
    put_pace(line + n, sizeof line - (size_t)n, p);
    fprintf(stderr, p->on_terminal ? "\r\033[K%s" : "%s\n", line);
    fflush(stderr);
    p->drawn = p->on_terminal;
}

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    struct progress_line *p = user;
    if (!p->shown || interrupted)
        return !interrupted;
    double now = now_seconds();
    bool first = pace_add(&p->pace, now, done, total, unit);
    if (first || now - p->last >= (p->on_terminal ? TERMINAL_INTERVAL : PIPE_INTERVAL)) {
        p->last = now;
        draw(p, stage);
    }
    return true;
}

void progress_plan(struct progress_line *p, const struct surprisal_stage *stages, size_t n)
{
    pace_stages_plan(&p->stages, stages, n);
    for (size_t i = 0; p->shown && i < n; i++) {
        char time[PROGRESS_TIME_BYTES] = "unknown";
        if (stages[i].seconds > 0)
            progress_time(time, stages[i].seconds);
        fprintf(stderr, "stage %zu of %zu: %s, estimated time %s\n", i + 1, n, stages[i].name,
                time);
    }
}

/* The kernel's "most memory so far" begins again, so that each evaluation finds its own; where that
 * is not allowed, a summary has none.  (proc(5), clear_refs) */
static void forget_peak_memory(void)
{
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return;
    ssize_t written = write(file, "5", 1);
    (void)written;
    close(file);
}

void progress_stage(void *user, size_t index)
{
    struct progress_line *p = user;
    forget_peak_memory();
    pace_stages_next(&p->stages, index, now_seconds());
    p->pace = (struct pace){ 0 };
}

static void clear_line(struct progress_line *p)
{
    if (p->drawn)
        fprintf(stderr, "\r\033[K");
    p->drawn = false;
}

static void warn(void *user, const char *message)
{
    clear_line(user);
    fprintf(stderr, "surprisal: warning: %s\n", message);
}

/* A closed terminal stops the work in order, too.  Under nohup the signal is ignored and stays so.
 * The handler stays: the shell and the kernel may each send one. */
static void catch_hangup(struct sigaction action)
{
    struct sigaction before;
    action.sa_flags = 0;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

struct surprisal_progress progress_begin(struct progress_line *p)
{
    /* The handler is gone after the first signal: the second does what it does by default. */
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    catch_hangup(action);
    p->on_terminal = isatty(STDERR_FILENO) == 1;
    p->shown = !p->quiet && (p->wanted || p->on_terminal);
    return (struct surprisal_progress){ .report = report, .warn = warn, .user = p };
}

void progress_end(struct progress_line *p)
{
    clear_line(p);
    fflush(stderr);
}
