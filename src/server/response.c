#include "server/response.h"

#include <sys/socket.h>

enum MHD_Result response_queue(struct exchange *x, struct MHD_Response *response, unsigned status)
{
    if (!response)
        return MHD_NO;
    if (x->request_id[0])
        MHD_add_response_header(response, "X-Request-Id", x->request_id);
    if (x->server->o->cors) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
        MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                "authorization, content-type, x-request-id");
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    }
    if (status == 429)
        MHD_add_response_header(response, "Retry-After", "5");
    if (x->allow)
        MHD_add_response_header(response, "Allow", x->allow);
    if (x->type)
        MHD_add_response_header(response, "Content-Type", x->type);
    if (x->policy)
        MHD_add_response_header(response, "Content-Security-Policy", x->policy);
    enum MHD_Result queued = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

enum MHD_Result response_whole(struct exchange *x)
{
    struct buffer *b = &x->answer;
    if (x->problem.status) {
        b->size = 0;
        x->status = x->problem.status;
        x->type = RESPONSE_JSON;
        if (x->status == 401)
            buffer_printf(b, NULL, "{\"error\":\"Unauthorized\"}");
        else
            problem_write(b, &x->problem, NULL);
    }
    return response_queue(x, MHD_create_response_from_buffer(b->size, b->data ? b->data : "",
                                                             MHD_RESPMEM_MUST_COPY), x->status);
}

void response_refuse(int fd, unsigned status, const char *reason, const char *message)
{
    struct buffer json = { 0 }, all = { 0 };
    struct problem problem = { 0 };
    problem_set(&problem, status, NULL, "%s", message);
    if (problem_write(&json, &problem, NULL)
        && buffer_printf(&all, NULL, "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\nConnection: close\r\n\r\n%s", status, reason,
                         json.size, json.data))
        (void)!send(fd, all.data, all.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    buffer_free(&json);
    buffer_free(&all);
}
