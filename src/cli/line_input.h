/* line_input.h - lines of standard input, for a person or a program that waits for answers.
 *
 * Not stdio's: a signal ends the wait, a line may hold NUL, and a line that is too long is left
 * out as a whole. */
#ifndef SURPRISAL_CLI_LINE_INPUT_H
#define SURPRISAL_CLI_LINE_INPUT_H

#include <stddef.h>

#define LINE_INPUT_MOST ((size_t)32 << 20)      /* bytes of a line */

/* Zero-initialise; free() its bytes. */
struct line_input {
    char *bytes;                        /* owned */
    size_t begin, end, capacity;        /* what was read, and not given yet */
    int ended;
};

enum line_input_result {
    LINE_INPUT_READ,
    LINE_INPUT_TOO_LONG,                /* longer than LINE_INPUT_MOST, and gone */
    LINE_INPUT_END,
    LINE_INPUT_INTERRUPTED,             /* progress_interrupted() says by what */
    LINE_INPUT_FAILED,                  /* errno says why */
};

/* *line: n bytes without their line end (LF or CRLF), borrowed until the next call. */
enum line_input_result line_input_next(struct line_input *in, char **line, size_t *n);

#endif
