#include "line_input.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"

#define PIECE ((size_t)1 << 16)

/* Makes room for a piece behind what was read. */
static bool make_room(struct line_input *in)
{
    if (in->begin)
        memmove(in->bytes, in->bytes + in->begin, in->end - in->begin);
    in->end -= in->begin;
    in->begin = 0;
    if (in->capacity - in->end >= PIECE)
        return true;
    size_t capacity = in->capacity ? 2 * in->capacity : 2 * PIECE;
    char *bytes = realloc(in->bytes, capacity);
    if (!bytes)
        return false;
    in->bytes = bytes;
    in->capacity = capacity;
    return true;
}

/* The signal may come between the question and the wait, or to another thread: hence the limit. */
static bool wait_for_input(void)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    while (!progress_interrupted()) {
        int ready = poll(&in, 1, 200);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return true;                /* the read says why */
    }
    return false;
}

static enum line_input_result read_piece(struct line_input *in)
{
    if (!in->bytes || in->capacity - in->end < PIECE)
        if (!make_room(in))
            return LINE_INPUT_FAILED;
    for (;;) {
        if (!wait_for_input())
            return LINE_INPUT_INTERRUPTED;
        ssize_t n = read(STDIN_FILENO, in->bytes + in->end, PIECE);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return LINE_INPUT_FAILED;
        in->ended = n == 0;
        in->end += (size_t)n;
        return LINE_INPUT_READ;
    }
}

enum line_input_result line_input_next(struct line_input *in, char **line, size_t *n)
{
    bool too_long = false;
    size_t searched = 0;
    for (;;) {
        size_t held = in->end - in->begin;
        char *end = held > searched ? memchr(in->bytes + in->begin + searched, '\n',
                                             held - searched) : NULL;
        if (end || (in->ended && (held || too_long))) {
            *line = in->bytes + in->begin;
            *n = end ? (size_t)(end - *line) : held;
            in->begin += *n + (end != NULL);
            *n -= *n && (*line)[*n - 1] == '\r';
            return too_long || *n > LINE_INPUT_MOST ? LINE_INPUT_TOO_LONG : LINE_INPUT_READ;
        }
        if (in->ended)
            return LINE_INPUT_END;
        if (held > LINE_INPUT_MOST) {
            too_long = true;
            in->begin = in->end;
            held = 0;
        }
        searched = held;
        enum line_input_result r = read_piece(in);
        if (r != LINE_INPUT_READ)
            return r;
    }
}
