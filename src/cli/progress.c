#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_INTERVAL 0.2           /* seconds between lines */
#define PIPE_INTERVAL     2.0
#define RATE_AFTER        0.5           /* seconds; a rate measured over less is noise */

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
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

static void draw(struct progress_line *p, const char *stage, double done, const char *unit,
                 double seconds)
{
    char line[160], rate_text[48], time_text[PROGRESS_TIME_BYTES];
    int n = snprintf(line, sizeof line, "%-28.40s", stage);
    if (p->total > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, " %5.1f %%", 100 * done / p->total);
    double rate = seconds > RATE_AFTER ? (done - p->first_done) / seconds : 0;
    if (rate > 0) {
        put_rate(rate_text, sizeof rate_text, rate, unit);
        n += snprintf(line + n, sizeof line - (size_t)n, "   %s", rate_text);
        if (p->total > 0) {
            progress_time(time_text, (p->total - done) / rate);
            snprintf(line + n, sizeof line - (size_t)n, "   %s left", time_text);
        }
    }
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
    /* Another total is another kind of work (hashing, then scoring) with a rate of its own. */
    bool first = p->started == 0 || total < p->total || total > p->total;
    if (first) {
        p->started = now;
        p->first_done = done;
        p->total = total;
    }
    if (first || now - p->last >= (p->on_terminal ? TERMINAL_INTERVAL : PIPE_INTERVAL)) {
        p->last = now;
        draw(p, stage, done, unit, now - p->started);
    }
    return true;
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
