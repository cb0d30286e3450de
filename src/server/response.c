#include "server/response.h"

#include <sys/socket.h>

enum MHD_Result response_queue(struct exchange *x, struct MHD_Response *response, unsigned status)
{
    const struct http_library *http = &x->server->http;
    if (!response)
        return MHD_NO;
    if (x->request_id[0])
        http->add_response_header(response, "X-Request-Id", x->request_id);
    if (x->server->o->cors) {
        http->add_response_header(response, "Access-Control-Allow-Origin", "*");
        http->add_response_header(response, "Access-Control-Allow-Headers",
                                  "authorization, content-type, x-request-id");
        http->add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    }
    if (status == 429)
        http->add_response_header(response, "Retry-After", "5");
    if (x->allow)
        http->add_response_header(response, "Allow", x->allow);
    if (x->type)
        http->add_response_header(response, "Content-Type", x->type);
    if (x->policy)
        http->add_response_header(response, "Content-Security-Policy", x->policy);
    enum MHD_Result queued = http->queue_response(x->connection, status, response);
    http->destroy_response(response);
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
    struct MHD_Response *response = x->server->http.create_response_from_buffer(
        b->size, b->data ? b->data : "", MHD_RESPMEM_MUST_COPY);
    return response_queue(x, response, x->status);
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
