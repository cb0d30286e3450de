/* progress.h - the line on stderr that says how far the work is, and Ctrl-C.
 *
 * On a terminal one line is redrawn a few times a second and cleared at the end; with --progress
 * but no terminal a line is added every few seconds.  The first SIGINT or SIGTERM asks the work to
 * stop; the second ends the program.  SIGHUP asks as well, however often it comes, unless it was
 * ignored when the program started (nohup). */
#ifndef SURPRISAL_CLI_PROGRESS_H
#define SURPRISAL_CLI_PROGRESS_H

#include <stdbool.h>
#include <surprisal.h>

#include "pace.h"

/* Zero-initialise, or start with the options --quiet and --progress parsed into it. */
struct progress_line {
    bool quiet, wanted;                 /* the options */
    bool shown, on_terminal;
    bool drawn;                         /* the line is on the terminal */
    double last;                        /* seconds: of the last line */
    struct pace pace;
    struct pace_stages stages;
};

/* Installs the signal handlers and decides whether to draw.  Gives what the library calls; user is
 * p. */
struct surprisal_progress progress_begin(struct progress_line *p);
/* The signal that asked the work to stop, 0 if none did; and go on as if none had, before
 * progress_begin installs the handlers again. */
int progress_interrupted(void);
void progress_forget(void);
/* Shows the stages of a job with their estimates, before its work. */
void progress_plan(struct progress_line *p, const struct surprisal_stage *stages, size_t n);
/* surprisal_compare_options.stage; user: the struct progress_line. */
void progress_stage(void *user, size_t index);
#define PROGRESS_TIME_BYTES 32
/* "1:02:03" or "2:03". */
void progress_time(char out[PROGRESS_TIME_BYTES], double seconds);
/* Clears the line. */
void progress_end(struct progress_line *p);

#endif
