/* A chat of the library: what callbacks may stop, what a failed turn leaves behind, refusals. */
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "tests/check.h"

#define DEMO "data/demo/mxfp4"

static struct surprisal_error err;

struct listener {
    size_t deltas, most;                /* the answer is stopped at the most-th delta; 0: never */
    size_t reports, most_reports;       /* and work at the report of that number */
    size_t content_bytes;
};

static bool listen(void *user, enum surprisal_chat_part part, const char *text, size_t n)
{
    struct listener *l = user;
    (void)text;
    l->content_bytes += part == SURPRISAL_CHAT_CONTENT ? n : 0;
    return ++l->deltas != l->most;
}

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    struct listener *l = user;
    (void)stage, (void)done, (void)total, (void)unit;
    return ++l->reports != l->most_reports;
}

static struct surprisal_generate_options options_of(struct surprisal_chat_settings *settings,
                                                    struct listener *l)
{
    struct surprisal_generate_options o = surprisal_generate_defaults();
    *settings = (struct surprisal_chat_settings){ .prompt.thinking = SURPRISAL_THINKING_OFF,
                                                  .delta = listen };
    o.checkpoint = DEMO;
    o.chat = settings;
    o.sampling.temperature = 0;
    o.machine.progress.user = l;
    o.machine.progress.report = report;
    return o;
}

static bool say(struct surprisal_chat *chat, const char *text, struct surprisal_generate_result *r)
{
    const struct surprisal_chat_message m = { SURPRISAL_CHAT_USER, text, strlen(text) };
    return surprisal_chat_send(chat, &m, 1, r, &err);
}

/* Tokens of the prompt of a turn that says "Thanks!" after what was done with the chat. */
static size_t prompt_tokens_next(struct surprisal_chat *chat)
{
    struct surprisal_generate_result r;
    size_t tokens = say(chat, "Thanks!", &r) ? r.prompt_tokens : 0;
    surprisal_generate_result_free(&r);
    return tokens;
}

static void test_callbacks(void)
{
    struct surprisal_chat_settings settings;
    struct surprisal_generate_result r;
    struct listener l = { .most = 5 };
    struct surprisal_generate_options o = options_of(&settings, &l);
    struct surprisal_chat *chat = surprisal_chat_open(&o, 512, &err);
    if (!check(chat != NULL, "a chat opens", "%s", err.message))
        return;
    bool ok = say(chat, "Who are you?", &r);
    check(ok && r.finish == SURPRISAL_FINISH_INTERRUPTED && l.deltas == 5 && r.content
          && r.content_bytes == l.content_bytes && strlen(r.content) == r.content_bytes,
          "a delta that returns false ends the answer, which is a result", "%s, %zu deltas",
          err.message, l.deltas);
    size_t kept = ok ? r.tokens : 0;
    surprisal_generate_result_free(&r);
    size_t whole = prompt_tokens_next(chat);
    surprisal_chat_close(chat);

    l = (struct listener){ 0 };
    chat = surprisal_chat_open(&o, 512, &err);
    l.most_reports = l.reports + 3;     /* in the prompt */
    ok = chat && say(chat, "Who are you?", &r);
    check(chat && !ok && err.interrupted && l.deltas == 0,
          "an interruption before the first token is an error", "%s", err.message);
    surprisal_generate_result_free(&r);
    l.most_reports = 0;
    size_t alone = chat ? prompt_tokens_next(chat) : 0;
    check(alone > 0 && whole > alone + kept, "that leaves no turn behind; a stopped answer stays",
          "%zu tokens alone, %zu after an answer of %zu", alone, whole, kept);
    surprisal_chat_close(chat);
}

static void test_turns(void)
{
    struct surprisal_chat_settings settings;
    struct surprisal_generate_result r;
    struct listener l = { 0 };
    struct surprisal_generate_options o = options_of(&settings, &l);
    struct surprisal_chat *chat = surprisal_chat_open(&o, 64, &err);
    if (!check(chat != NULL, "a chat opens", "%s", err.message))
        return;
    const struct surprisal_chat_size size = surprisal_chat_size(chat);
    check(size.context == 64 && size.memory_bytes > 1 << 20, "its size", "%zu tokens, %zu bytes",
          size.context, size.memory_bytes);
    check(!surprisal_chat_waits(chat) && !surprisal_chat_send(chat, NULL, 0, &r, &err)
          && strstr(err.message, "no message"), "nothing to answer", "%s", err.message);
    char *text = calloc(1, 4001);
    memset(text, 'x', 4000);
    check(!say(chat, text, &r) && strstr(err.message, "no room for an answer"),
          "a message that the context cannot hold", "%s", err.message);
    free(text);
    check(!say(chat, "\xFF", &r) && strstr(err.message, "invalid UTF-8 at byte 0"),
          "a message that is not UTF-8", "%s", err.message);
    bool ok = say(chat, "Who are you?", &r);
    check(ok && r.content && strstr(r.content, "tiny demo model") && !r.reasoning && !r.n_calls
          && !r.wants_results && r.finish == SURPRISAL_FINISH_STOP && strchr(r.json, '\n') == NULL,
          "after failed turns the next one is answered", "%s", err.message);
    surprisal_generate_result_free(&r);
    surprisal_chat_close(chat);
    surprisal_chat_close(NULL);
}

static void test_refusals(void)
{
    static const char *const messages = "[{\"role\": \"user\", \"content\": \"Who are you?\"}]";
    struct surprisal_chat_settings settings;
    struct surprisal_generate_result r;
    struct listener l = { 0 };
    struct surprisal_generate_options o = options_of(&settings, &l);
    o.prompt = "x";
    check(!surprisal_chat_check(&o, &err) && !surprisal_chat_open(&o, 0, &err)
          && strstr(err.message, "has no prompt"), "a chat with a prompt", "%s", err.message);
    o.prompt = NULL;
    settings.system = "Be brief.";
    settings.prompt.messages = messages;
    check(!surprisal_chat_check(&o, &err) && strstr(err.message, "system"),
          "a system message beside messages", "%s", err.message);
    settings.system = NULL;
    struct surprisal_chat *chat = surprisal_chat_open(&o, 512, &err);
    bool ok = chat && surprisal_chat_waits(chat) && surprisal_chat_send(chat, NULL, 0, &r, &err);
    check(ok && !surprisal_chat_waits(chat), "messages that wait are answered", "%s", err.message);
    if (ok)
        surprisal_generate_result_free(&r);
    surprisal_chat_close(chat);
    check(!surprisal_chat_open(&o, 1 << 20, &err) && strstr(err.message, "beyond"),
          "a context beyond the model's", "%s", err.message);
}

int main(void)
{
    test_callbacks();
    test_turns();
    test_refusals();
    return check_done();
}
