#include "eval/report/plot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"

#define TIME_LIMIT_SECONDS 20.0
#define SVG_BYTES_MAX ((off_t)16 << 20)

extern char **environ;

/* ---- the child process --------------------------------------------------------- */

/* Standard input, output and error of gnuplot: files in memory, so that no pipe can fill up. */
struct streams {
    int in, out, error;
};

static void streams_close(struct streams *s)
{
    int all[] = { s->in, s->out, s->error };
    for (size_t i = 0; i < 3; i++)
        if (all[i] >= 0)
            close(all[i]);
}

static bool streams_open(struct streams *s, const struct buffer *script, struct error *err)
{
    s->in = memfd_create("gnuplot script", MFD_CLOEXEC);
    s->out = memfd_create("gnuplot svg", MFD_CLOEXEC);
    s->error = memfd_create("gnuplot messages", MFD_CLOEXEC);
    bool ok = s->in >= 0 && s->out >= 0 && s->error >= 0
           && pwrite(s->in, script->data, script->size, 0) == (ssize_t)script->size;
    return ok || error_set(err, "gnuplot: cannot pass it %zu bytes: %s", script->size,
                           error_reason(errno));
}

/* This program's environment, but with the C locale, so that a report always looks the same.  Gives
 * an array of borrowed strings. */
static char **make_environment(char *locale, struct error *err)
{
    size_t n = 0, to = 0;
    while (environ && environ[n])
        n++;
    char **all = mem_array(n + 2, sizeof *all, "gnuplot's environment", err);
    if (!all)
        return NULL;
    all[to++] = locale;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "LC_ALL=", strlen("LC_ALL=")) != 0)
            all[to++] = environ[i];
    return all;
}

static bool start(pid_t *child, const struct streams *s, struct error *err)
{
    /* -d ignores the user's settings of gnuplot, so that a report always looks the same. */
    char *argv[] = { "gnuplot", "-d", "-", NULL }, locale[] = "LC_ALL=C";
    posix_spawn_file_actions_t actions;
    char **environment = make_environment(locale, err);
    if (!environment)
        return false;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed) {
        free(environment);
        return error_set(err, "gnuplot: cannot be started: %s", error_reason(failed));
    }
    failed = posix_spawn_file_actions_adddup2(&actions, s->in, STDIN_FILENO);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(&actions, s->out, STDOUT_FILENO);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(&actions, s->error, STDERR_FILENO);
    failed = failed ? failed : posix_spawnp(child, argv[0], &actions, NULL, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    if (failed == ENOENT)
        return error_set(err, "gnuplot is not installed (Debian package gnuplot-nox)");
    return !failed || error_set(err, "gnuplot: cannot be started: %s", error_reason(failed));
}

/* The last line of gnuplot's message; the lines before repeat the command and mark the place. */
static void read_message(char line[200], int fd)
{
    char text[4096], *end;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    for (end = text + strlen(text); end > text && strchr(" \n", end[-1]); end--)
        end[-1] = '\0';
    const char *last = strrchr(text, '\n');
    last = last ? last + 1 : text;
    snprintf(line, 200, "%s", last + strspn(last, " "));
}

/* Waits for the child, with a time limit: polls, since waitpid has no limit. */
static bool finish(pid_t child, const struct streams *s, struct error *err)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    double end = machine_seconds() + TIME_LIMIT_SECONDS;
    int status;
    pid_t done;
    while ((done = waitpid(child, &status, WNOHANG)) == 0 || (done < 0 && errno == EINTR)) {
        if (machine_seconds() > end) {
            kill(child, SIGKILL);
            while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                continue;
            return error_set(err, "gnuplot: not done after %.0f seconds", TIME_LIMIT_SECONDS);
        }
        nanosleep(&pause, NULL);
    }
    /* If this process ignores SIGCHLD there is no status; then the output shows whether it
     * worked. */
    if (done < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return true;
    char line[200];
    read_message(line, s->error);
    if (*line)
        return error_set(err, "gnuplot: failed: %s", line);
    return WIFSIGNALED(status)
        ? error_set(err, "gnuplot: failed: ended by signal %d (%s)", WTERMSIG(status),
                    strsignal(WTERMSIG(status)))
        : error_set(err, "gnuplot: failed: exit status %d, and no message", WEXITSTATUS(status));
}

static bool read_output(struct buffer *svg, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size == 0 || st.st_size > SVG_BYTES_MAX)
        return error_set(err, "gnuplot: printed no plot");
    size_t n = (size_t)st.st_size, capacity = 0;
    if (!mem_grow(&svg->data, &capacity, n + 1, 1, "a plot", err))
        return false;
    svg->capacity = capacity;
    if (pread(fd, svg->data, n, 0) != (ssize_t)n)
        return error_set(err, "gnuplot: its plot cannot be read: %s", error_reason(errno));
    svg->size = n;
    svg->data[n] = '\0';
    return true;
}

static bool run_gnuplot(struct buffer *svg, const struct buffer *script, struct error *err)
{
    struct streams s = { -1, -1, -1 };
    pid_t child;
    bool ok = streams_open(&s, script, err) && start(&child, &s, err) && finish(child, &s, err)
           && read_output(svg, s.out, err);
    streams_close(&s);
    return ok;
}

/* ---- from gnuplot's colours to the page's ---------------------------------------- */

/* gnuplot's SVG writes colours as "rgb( 16,   0,   1)", with varying spaces, or as "#100001".  Ours
 * are marks, not colours: red 16, green 0, and blue is the number of the role. */
static const char *const roles[] = { "paper", "ink", "muted", "rule", "first", "second" };
#define N_ROLES (sizeof roles / sizeof *roles)

static void append_settings(struct markup *m, const struct plot *p)
{
    for (size_t i = 0; i < N_ROLES; i++)
        markup_printf(m, "%s = '#1000%02zx'\n", roles[i], i);
    markup_printf(m, "set terminal svg size %u,%u dynamic enhanced font 'sans-serif,13' name '%s' "
                  "background rgb paper\n", p->width, p->height, p->id);
    markup_raw(m,
        "set encoding utf8\n"
        "set border 1 linecolor rgb rule\n"
        "set grid back ytics linetype 1 linewidth 1 linecolor rgb rule\n"
        "set tics nomirror out scale 0.4 textcolor rgb muted\n"
        "set xlabel textcolor rgb muted\n"
        "set ylabel textcolor rgb muted\n"
        "set key above left Left reverse horizontal samplen 1.2 font ',12' textcolor rgb ink\n"
        "set style fill solid 1.0 noborder\n"
        "set datafile missing '?'\n");
}

/* The role of the colour at s, and its length in bytes; NULL: no colour of ours. */
static const char *match_colour(const char *s, size_t *length)
{
    int used = 0;
    unsigned blue;
    if ((sscanf(s, "rgb( 16 , 0 , %u )%n", &blue, &used) == 1
         || sscanf(s, "#1000%2x%n", &blue, &used) == 1) && used && blue < N_ROLES) {
        *length = (size_t)used;
        return roles[blue];
    }
    return NULL;
}

/* Replacements in gnuplot's SVG: `from` becomes `before`, the plot's id if `id`, and `after`. */
struct rewritten {
    const char *from;
    const char *before, *after;
    bool id;
};

static const struct rewritten rewritten[] = {
    { "id='gp", "id='", "-gp", true },
    { "xlink:href='#gp", "href='#", "-gp", true },
    { "id='textbox'", "id='", "-textbox'", true },
    { "id='greybox'", "id='", "-greybox'", true },
    { "id=\"gnuplot_canvas\"", "", "", false },
    { "color=\"black\"", "color=\"currentColor\"", "", false },
    { "stroke=\"black\"", "stroke=\"currentColor\"", "", false },
    { "font-family=\"sans-serif\"", "", "", false },
};

/* The number of bytes at s to replace, 0: none; `instead` gets the three parts of the
 * replacement. */
static size_t rewrite(const char *s, const char *id, const char *instead[3])
{
    size_t length = 0;
    const char *role = *s == 'r' || *s == '#' ? match_colour(s, &length) : NULL;
    if (role) {
        instead[0] = "var(--", instead[1] = role, instead[2] = ")";
        return length;
    }
    if (strncmp(s, "<title>", 7) == 0) {        /* a tooltip "x_plot_3" on each curve */
        const char *end = strstr(s, "</title>");
        instead[0] = instead[1] = instead[2] = "";
        return end ? (size_t)(end - s) + strlen("</title>") : 0;
    }
    for (size_t i = 0; i < sizeof rewritten / sizeof *rewritten; i++) {
        const struct rewritten *r = &rewritten[i];
        if (strncmp(s, r->from, strlen(r->from)) != 0)
            continue;
        instead[0] = r->before, instead[1] = r->id ? id : "", instead[2] = r->after;
        return strlen(r->from);
    }
    return 0;
}

static bool append_svg(struct markup *page, const struct plot *p, const char *svg,
                       struct error *err)
{
    /* Its head ends with <desc>; we write our own. */
    const char *body = strstr(svg, "</desc>");
    if (!body || !strstr(body, "</svg>"))
        return error_set(err, "gnuplot: printed something else than a plot");
    markup_printf(page, "<svg class=\"%s\" viewBox=\"0 0 %u %u\" role=\"img\" "
                  "aria-labelledby=\"%s-title %s-desc\">\n<title id=\"%s-title\">", p->classes,
                  p->width, p->height, p->id, p->id, p->id);
    markup_text(page, p->title);
    markup_printf(page, "</title>\n<desc id=\"%s-desc\">", p->id);
    markup_text(page, p->description);
    markup_raw(page, "</desc>");
    const char *plain = body + strlen("</desc>");
    for (const char *s = plain; *s;) {
        const char *instead[3];
        size_t length = rewrite(s, p->id, instead);
        if (length) {
            markup_printf(page, "%.*s%s%s%s", (int)(s - plain), plain, instead[0], instead[1],
                          instead[2]);
            plain = s + length;
        }
        s += length ? length : 1;
    }
    markup_raw(page, plain);
    return true;
}

bool plot_append(struct markup *page, const struct plot *p, struct error *err)
{
    struct markup script = { .err = err };
    struct buffer svg = { 0 };
    append_settings(&script, p);
    markup_raw(&script, p->script);
    bool ok = !script.failed && run_gnuplot(&svg, &script.out, err)
           && append_svg(page, p, svg.data, err);
    markup_free(&script);
    buffer_free(&svg);
    return ok;
}
