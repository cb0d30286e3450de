/* problem.h - why a request is refused: a status of HTTP, the field at fault, a message.
 *
 * The JSON is vLLM's (vllm/entrypoints/serve/engine/protocol.py, ErrorResponse). */
#ifndef SURPRISAL_SERVER_PROBLEM_H
#define SURPRISAL_SERVER_PROBLEM_H

#include "base/error.h"
#include "base/memory.h"

struct problem {
    unsigned status;            /* 0: there is none */
    const char *param;          /* a field's name, a constant; NULL: none */
    struct error err;
};

/* Always false. */
bool problem_set(struct problem *p, unsigned status, const char *param, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with the message that p->err holds; memory that is out is the server's fault. */
bool problem_say(struct problem *p, unsigned status, const char *param);
/* Appends {"error": {"message", "type", "param", "code"}}. */
bool problem_write(struct buffer *b, const struct problem *p, struct error *err);

#endif
