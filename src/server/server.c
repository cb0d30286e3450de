#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "base/utf8.h"
#include "chat/value_json.h"
#include "generate/generate.h"
#include "server/page.h"
#include "server/peers.h"
#include "server/token_routes.h"

#define LOG_SECONDS 10.0

/* ---- options ------------------------------------------------------------------------------ */

struct surprisal_serve_options server_defaults(void)
{
    return (struct surprisal_serve_options){
        .generate = generate_defaults(), .host = "127.0.0.1", .port = 8000, .max_sequences = 8,
        .max_queue = 1024, .request_timeout_seconds = 3600, .max_logprobs = 20,
        .prefix_cache_bytes = (size_t)1 << 30, .keep_alive_seconds = 10,
    };
}

static bool check_kwargs(const struct surprisal_serve_options *o, struct error *err)
{
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct value v;
    const char *text = o->default_kwargs;
    bool ok = !text
           || (value_json_read(&v, text, strlen(text), "chat_template_kwargs", true, &w, err)
               && (v.kind == VALUE_MAPPING
                   || error_set(err, "chat_template_kwargs: %s, expected an object",
                                value_type(&v))));
    workspace_free(&w);
    return ok;
}

/* An address of either kind. */
struct address {
    bool is_v6;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool read_address(struct address *a, const struct surprisal_serve_options *o,
                         struct error *err)
{
    *a = (struct address){
        .v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)o->port) },
        .v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)o->port) },
    };
    a->is_v6 = inet_pton(AF_INET6, o->host, &a->v6.sin6_addr) == 1;
    return a->is_v6 || inet_pton(AF_INET, o->host, &a->v4.sin_addr) == 1
        || error_set(err, "host %s: is no address, such as 127.0.0.1 or ::", o->host);
}

bool server_check(const struct surprisal_serve_options *o, struct error *err)
{
    struct address a;
    if (o->port > 65535)
        return error_set(err, "port %u, expected 0 to 65535", o->port);
    if (o->max_sequences < 1 || o->max_sequences > 1024)
        return error_set(err, "%zu sequences at once, expected 1 to 1024", o->max_sequences);
    if (o->max_queue < 1)
        return error_set(err, "no room in the queue, expected 1 or more");
    if (!(o->request_timeout_seconds > 0) || !(o->keep_alive_seconds >= 0))
        return error_set(err, "a number of seconds is out of range, expected above 0");
    if (o->max_logprobs < -1)
        return error_set(err, "max_logprobs is %lld, expected -1 or more",
                         (long long)o->max_logprobs);
    for (size_t i = 0; i < o->n_api_keys; i++)
        if (!o->api_keys[i][0])
            return error_set(err, "an API key is empty");
    return generation_check(&o->generate, err) && check_kwargs(o, err)
        && read_address(&a, o, err);
}

__attribute__((format(printf, 2, 3)))
void server_notice(const struct server *s, const char *format, ...)
{
    struct error line = { 0 };
    va_list args;
    if (!s->o->notice)
        return;
    va_start(args, format);
    error_vset(&line, format, args);
    va_end(args);
    s->o->notice(s->o->generate.machine.progress.user, line.message);
}

/* ---- opening ------------------------------------------------------------------------------ */

/* --generation-config: another folder's, or none. */
static bool choose_publisher(struct server *s, struct error *err)
{
    struct checkpoint other = *s->g.model.checkpoint;
    const char *choice = s->o->generation_config;
    if (!choice)
        return true;
    generation_config_free(&s->g.publisher);
    other.folder = (char *)choice;
    return generation_config_read(&s->g.publisher, &other, err);
}

static bool name_model(struct server *s, struct error *err)
{
    const char *path = s->g.model.checkpoint->path;
    s->own_names[0] = path;
    s->own_names[1] = file_last_part(path);
    s->names = s->o->n_names ? s->o->names : s->own_names;
    s->n_names = s->o->n_names ? s->o->n_names
               : s->own_names[1][0] && strcmp(path, s->own_names[1]) != 0 ? 2 : 1;
    for (size_t i = 0; i < s->n_names; i++)
        if (!utf8_valid(s->names[i], strlen(s->names[i]), NULL))
            return error_set(err, "the model's name is not UTF-8: give another "
                             "(--served-model-name)");
    return true;
}

static bool choose_context(struct server *s, struct error *err)
{
    size_t own = s->g.context, wanted = s->o->context;
    s->context = wanted ? wanted : own;
    if (!s->context)
        return error_set(err, "%s: config.json names no max_position_embeddings: say how long a "
                         "context may be (--max-model-len)", s->g.model.checkpoint->path);
    if (own && wanted > own)
        return error_set(err, "--max-model-len %zu: %s was made for %zu", wanted,
                         s->g.model.checkpoint->path, own);
    return true;
}

static bool open_model(struct server *s, struct error *err)
{
    const struct surprisal_serve_options *o = s->o;
    if (!generation_open(&s->g, &o->generate, err) || !choose_publisher(s, err)
        || !name_model(s, err) || !choose_context(s, err))
        return false;
    s->template = prompt_template_open(s->g.model.checkpoint->folder, o->chat_template, &s->why);
    if (!s->template && (o->chat_template || s->why.lacking)) {
        *err = s->why;
        return false;
    }
    if (!s->template)
        server_notice(s, "no chats: %s", s->why.message);
    return true;
}

static bool open_scheduler(struct server *s, struct error *err)
{
    const struct surprisal_serve_options *o = s->o;
    const struct scheduler_options options = {
        .context = s->context, .max_sequences = o->max_sequences, .max_queue = SIZE_MAX,
        .kv_dtype = generation_kv_dtype(&o->generate), .prefix_cache_bytes = o->prefix_cache_bytes,
        .turn_id = tokenizer_token_id(s->g.model.tokenizer, "<|im_start|>"),
        .count_weights = o->generate.machine.memory_bytes > 0, .n_drafts = o->generate.mtp,
    };
    struct scheduler_memory memory;
    if (!generation_open_engine(&s->g, err))
        return false;
    s->scheduler = scheduler_open(s->g.model.engine, &options, err);
    if (!s->scheduler)
        return false;
    scheduler_memory(s->scheduler, &memory);
    server_notice(s, "memory beside the weights: at most %.3g GB: keys and values of %zu tokens "
                  "%.3g GB, states %.3g GB, drafts %.3g GB, prefix cache %.3g GB, buffers %.3g GB",
                  (double)memory.bytes / 1e9, memory.kv_tokens, (double)memory.kv_bytes / 1e9,
                  (double)memory.state_bytes / 1e9, (double)memory.draft_bytes / 1e9,
                  (double)memory.prefix_cache_bytes / 1e9, (double)memory.buffer_bytes / 1e9);
    if (memory.weight_memory_bytes < memory.weight_bytes)
        server_notice(s, "weights: %.3g GB of %.3g GB in memory at a time, the rest is read again",
                      (double)memory.weight_memory_bytes / 1e9, (double)memory.weight_bytes / 1e9);
    return true;
}

static bool set_rules(struct server *s, struct error *err)
{
    const struct surprisal_serve_options *o = s->o;
    size_t vocab_size = s->g.model.checkpoint->config.vocab_size;
    s->rules = (struct request_rules){
        .vocab_size = vocab_size, .tokenizer = s->g.model.tokenizer, .publisher = &s->g.publisher,
        .sampling = &o->generate.sampling, .context = s->context,
        .max_logprobs = o->max_logprobs > (int64_t)vocab_size ? (int64_t)vocab_size
                                                              : o->max_logprobs,
    };
    s->chat = (struct chat_rules){
        .template = s->template, .why = &s->why, .default_kwargs = o->default_kwargs,
        .no_reasoning = !o->reasoning_parser, .auto_calls = o->auto_tool_choice,
        .merge_system = o->merge_system_messages, .plain_messages = o->plain_messages,
    };
    s->trie = token_trie_new(s->g.model.tokenizer, vocab_size, err);
    s->host = (struct job_host){
        .scheduler = s->scheduler, .tokenizer = s->g.model.tokenizer, .publisher = &s->g.publisher,
        .metrics = &s->metrics, .vocab_size = vocab_size, .trie = s->trie,
    };
    return s->trie && compiler_open(&s->compiler, err)
        && token_routes_make_info(&s->tokenizer_info, &s->host.own_end_id, s, err)
        && page_make_policy(s->page_policy, sizeof s->page_policy, err);
}

/* ---- the address -------------------------------------------------------------------------- */

static bool start_daemon(struct server *s, struct error *err)
{
    const struct surprisal_serve_options *o = s->o;
    struct address a;
    if (!read_address(&a, o, err))
        return false;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC
                   | (a.is_v6 ? MHD_USE_IPv6 : 0);
    s->daemon = s->http.start_daemon(
        flags, 0, NULL, NULL, exchange_handle, s,
        MHD_OPTION_SOCK_ADDR,
        a.is_v6 ? (struct sockaddr *)&a.v6 : (struct sockaddr *)&a.v4,
        MHD_OPTION_NOTIFY_COMPLETED, exchange_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, peers_notify, s,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, 120u,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, 3 * SERVER_HEADER_BYTES,
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u,
        MHD_OPTION_END);
    if (!s->daemon)
        return error_set(err, "%s port %u: cannot listen: %s", o->host, o->port,
                         error_reason(errno));
    const union MHD_DaemonInfo *info =
        s->http.get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    server_notice(s, a.is_v6 ? "%s is served at http://[%s]:%u" : "%s is served at http://%s:%u",
                  s->names[0], o->host, info ? (unsigned)info->port : o->port);
    return true;
}

/* ---- while it runs ------------------------------------------------------------------------ */

/* A line about the work of the last ten seconds. */
static void tell_work(struct server *s, struct scheduler_figures *before, double seconds)
{
    struct scheduler_figures f;
    scheduler_read_figures(s->scheduler, &f);
    size_t prompt = f.prompt_tokens - before->prompt_tokens;
    size_t generated = f.generated_tokens - before->generated_tokens;
    if (f.running || f.waiting || prompt || generated)
        server_notice(s, "running %zu, waiting %zu; prompts %.1f tokens/s, answers %.1f tokens/s; "
                      "keys and values %.1f %% in use", f.running, f.waiting,
                      (double)prompt / seconds, (double)generated / seconds,
                      f.kv_total ? 100 * (double)f.kv_used / (double)f.kv_total : 0);
    *before = f;
}

static size_t count_requests(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static enum surprisal_serve_wish wish_of(const struct server *s)
{
    return s->o->wish ? s->o->wish(s->o->generate.machine.progress.user) : SURPRISAL_SERVE_GO_ON;
}

static void pause_shortly(void)
{
    const struct timespec t = { .tv_nsec = 50000000 };
    nanosleep(&t, NULL);
}

/* Until somebody wishes the end. */
static void look_after(struct server *s)
{
    struct scheduler_figures before = { 0 };
    double looked = machine_seconds(), told = looked;
    while (wish_of(s) == SURPRISAL_SERVE_GO_ON) {
        pause_shortly();
        double now = machine_seconds();
        if (now - looked >= 1) {
            peers_look(s);
            looked = now;
        }
        if (now - told >= LOG_SECONDS) {
            tell_work(s, &before, now - told);
            told = now;
        }
    }
}

/* Takes nothing new; requests that run get five seconds, and are then ended. */
static void drain(struct server *s)
{
    double begun = machine_seconds();
    MHD_socket listener = s->http.quiesce_daemon(s->daemon);
    if (listener != MHD_INVALID_SOCKET)
        close(listener);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    while (count_requests(s) && wish_of(s) != SURPRISAL_SERVE_STOP
           && machine_seconds() - begun < SERVER_DRAIN_SECONDS)
        pause_shortly();
    /* No connection may wait for the engine when the daemon stops; what is cancelled ends within a
     * piece of a prompt. */
    while (peers_unfinished(s)) {
        peers_cancel(s);
        pause_shortly();
    }
    /* Their last words. */
    for (begun = machine_seconds(); count_requests(s) && machine_seconds() - begun < 2;)
        pause_shortly();
}

/* Until the daemon has stopped, its thread asks the scheduler. */
static void close_server(struct server *s)
{
    if (s->daemon)
        s->http.stop_daemon(s->daemon);
    compiler_close(&s->compiler);
    scheduler_close(s->scheduler);
    token_trie_free(s->trie);
    prompt_template_close(s->template);
    buffer_free(&s->tokenizer_info);
    generation_close(&s->g);
    metrics_close(&s->metrics);
    http_library_close(&s->http);
    pthread_mutex_destroy(&s->lock);
}

bool server_run(const struct surprisal_serve_options *o, struct error *err)
{
    struct server s = { .o = o, .created = time(NULL) };
    if (!server_check(o, err) || !metrics_open(&s.metrics, err))
        return false;
    pthread_mutex_init(&s.lock, NULL);
    bool ok = http_library_open(&s.http, err) && open_model(&s, err) && open_scheduler(&s, err)
           && set_rules(&s, err) && start_daemon(&s, err);
    if (ok) {
        look_after(&s);
        drain(&s);
    }
    close_server(&s);
    return ok;
}
