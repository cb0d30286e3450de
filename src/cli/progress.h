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

/* Zero-initialise, or start with the options --quiet and --progress parsed into it. */
struct progress_line {
    bool quiet, wanted;                 /* the options */
    bool shown, on_terminal;
    bool drawn;                         /* the line is on the terminal */
    double started, last;               /* seconds: of this kind of work; of the last line */
    double first_done, total;           /* of this kind of work */
};

/* Installs the signal handlers and decides whether to draw.  Gives what the library calls; user is
 * p. */
struct surprisal_progress progress_begin(struct progress_line *p);
#define PROGRESS_TIME_BYTES 32
/* "1:02:03" or "2:03". */
void progress_time(char out[PROGRESS_TIME_BYTES], double seconds);
/* Clears the line. */
void progress_end(struct progress_line *p);

#endif
