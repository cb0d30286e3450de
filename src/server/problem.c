#include "server/problem.h"

#include "server/writer.h"

bool problem_set(struct problem *p, unsigned status, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_vset(&p->err, format, args);
    va_end(args);
    p->status = status;
    p->param = param;
    return false;
}

bool problem_say(struct problem *p, unsigned status, const char *param)
{
    p->status = p->err.lacking ? 503 : status;
    p->param = param;
    return false;
}

static const char *type_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *type;
    } types[] = {
        { 400, "BadRequestError" }, { 404, "NotFoundError" }, { 405, "MethodNotAllowedError" },
        { 408, "RequestTimeoutError" }, { 413, "RequestTooLargeError" },
        { 422, "UnprocessableEntityError" }, { 429, "RateLimitError" },
        { 431, "RequestTooLargeError" }, { 501, "NotImplementedError" },
        { 503, "ServiceUnavailableError" },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status)
            return types[i].type;
    return "InternalServerError";
}

bool problem_write(struct buffer *b, const struct problem *p, struct error *err)
{
    struct writer w = { b, true, err };
    writer_print(&w, "{\"error\":{\"message\":");
    writer_word(&w, p->err.message);
    writer_print(&w, ",\"type\":\"%s\",\"param\":", type_of(p->status));
    writer_word(&w, p->param);
    writer_print(&w, ",\"code\":%u}}", p->status);
    return w.ok;
}
