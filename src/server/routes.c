#include "server/routes.h"

#include <string.h>

#include "server/completion.h"
#include "server/page.h"
#include "server/request_body.h"
#include "server/token_routes.h"
#include "server/waiting.h"

/* ---- answers of few lines ------------------------------------------------------------- */

static void health(struct exchange *x)
{
    struct scheduler_figures f;
    scheduler_read_figures(x->server->scheduler, &f);
    if (f.failed)
        problem_set(&x->problem, 503, NULL, "the engine has failed");
    x->type = NULL;
}

static void version(struct exchange *x)
{
    buffer_printf(&x->answer, NULL, "{\"version\":\"" SURPRISAL_VERSION "\"}");
}

static void load(struct exchange *x)
{
    pthread_mutex_lock(&x->server->lock);
    size_t n = x->server->n_requests;
    pthread_mutex_unlock(&x->server->lock);
    buffer_printf(&x->answer, NULL, "{\"server_load\":%zu}", n);
}

static void metrics(struct exchange *x)
{
    struct server *s = x->server;
    struct scheduler_figures f;
    scheduler_read_figures(s->scheduler, &f);
    x->type = "text/plain; version=0.0.4; charset=utf-8";
    if (!metrics_write(&s->metrics, &f, s->names[0], &x->answer, &x->problem.err))
        problem_say(&x->problem, 500, NULL);
}

static void models(struct exchange *x)
{
    const struct server *s = x->server;
    long long created = (long long)s->created;
    struct writer w = { &x->answer, true, &x->problem.err };
    writer_print(&w, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < s->n_names; i++) {
        writer_print(&w, i ? ",{\"id\":" : "{\"id\":");
        writer_word(&w, s->names[i]);
        writer_print(&w, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"surprisal\","
                     "\"root\":", created);
        writer_word(&w, s->own_names[0]);
        writer_print(&w, ",\"parent\":null,\"max_model_len\":%zu,\"permission\":[{\"id\":"
                     "\"modelperm-%zu\",\"object\":\"model_permission\",\"created\":%lld,"
                     "\"allow_create_engine\":false,\"allow_sampling\":true,"
                     "\"allow_logprobs\":true,\"allow_search_indices\":false,\"allow_view\":true,"
                     "\"allow_fine_tuning\":false,\"organization\":\"*\",\"group\":null,"
                     "\"is_blocking\":false}]}", s->context, i, created);
    }
    writer_print(&w, "]}");
    if (!w.ok)
        problem_say(&x->problem, 500, NULL);
}

static void page(struct exchange *x)
{
    x->policy = x->server->page_policy;
    x->type = "text/html; charset=utf-8";
    if (!buffer_append(&x->answer, page_html, strlen(page_html), &x->problem.err))
        problem_say(&x->problem, 500, NULL);
}

static void options(struct exchange *x)
{
    x->status = 204;
    x->type = NULL;
    x->allow = "GET, POST, OPTIONS";
}

/* ---- what the engine answers ------------------------------------------------------------- */

static void run_job(struct exchange *x, const struct job_form *form)
{
    struct server *s = x->server;
    struct value body;
    const char *id = NULL;
    struct job *j = job_new(&s->host, form, &x->problem.err);
    if (!j) {
        problem_say(&x->problem, 503, NULL);
        return;
    }
    x->job = j;
    if (!request_body_read(x, &body, &j->model, &j->w))
        return;
    const struct chat_body of_chat = { &body, x->body.data, x->body.size };
    const struct fields f = { &body, &j->w, &j->problem };
    bool ok = (form->is_chat ? chat_read(j, &of_chat, &s->rules, &s->chat)
                             : completion_read(j, &body, &s->rules))
           && fields_text(&f, "request_id", &id);
    if (!ok)
        x->problem = j->problem;
    else
        waiting_start(x, id);
}

static void completions(struct exchange *x)
{
    run_job(x, &completion_form);
}

static void chat_completions(struct exchange *x)
{
    run_job(x, &chat_form);
}

/* ---- the table ---------------------------------------------------------------------------- */

static const struct exchange_route routes[] = {
    { "/health", "GET", health, false },
    { "/version", "GET", version, false },
    { "/load", "GET", load, false },
    { "/metrics", "GET", metrics, false },
    { "/tokenizer_info", "GET", token_routes_info, false },
    { "/tokenize", "POST", token_routes_tokenize, false },
    { "/detokenize", "POST", token_routes_detokenize, false },
    { "/v1/models", "GET", models, false },
    { "/v1/completions", "POST", completions, true },
    { "/v1/chat/completions", "POST", chat_completions, true },
    { "/", "GET", page, false },
};
static const struct exchange_route options_route = { "*", "OPTIONS", options, false };

void routes_find(struct exchange *x, const char *url, const char *method)
{
    x->type = "application/json";
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(url, routes[i].path) != 0)
            continue;
        if (strcmp(method, "OPTIONS") == 0)
            x->route = &options_route;
        else if (strcmp(method, routes[i].method) == 0)
            x->route = &routes[i];
        else {
            x->allow = routes[i].method;
            problem_set(&x->problem, 405, NULL, "%s: the method is %.20s, expected %s", url, method,
                        x->allow);
        }
        return;
    }
    if (strcmp(url, "/v1/responses") == 0 || strcmp(url, "/v1/messages") == 0)
        problem_set(&x->problem, 404, NULL, "%s is not served here: use /v1/chat/completions", url);
    else
        problem_set(&x->problem, 404, NULL, "there is no %.100s", url);
}
