/* surprisal.h's generation over the modules here, as src/api/api.c does for the rest. */
#include <surprisal.h>

#include "api/public.h"
#include "generate/chat_session.h"
#include "generate/generate.h"
#include "generate/result.h"

struct surprisal_generate_options surprisal_generate_defaults(void)
{
    return generate_defaults();
}

bool surprisal_generate_check(const struct surprisal_generate_options *options,
                              struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, generate_check(options, &inner), &inner);
}

bool surprisal_generate(const struct surprisal_generate_options *options,
                        struct surprisal_generate_result *result, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, generate_run(options, result, &inner), &inner);
}

void surprisal_generate_result_free(struct surprisal_generate_result *result)
{
    result_free(result);
}

/* struct surprisal_chat is never defined: a pointer to it is one to struct chat_session. */

bool surprisal_chat_check(const struct surprisal_generate_options *options,
                          struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, chat_session_check(options, &inner), &inner);
}

struct surprisal_chat *surprisal_chat_open(const struct surprisal_generate_options *options,
                                           size_t context, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct chat_session *s = chat_session_open(options, context, &inner);
    public_tell(err, s != NULL, &inner);
    return (struct surprisal_chat *)s;
}

void surprisal_chat_close(struct surprisal_chat *chat)
{
    chat_session_close((struct chat_session *)chat);
}

struct surprisal_chat_size surprisal_chat_size(const struct surprisal_chat *chat)
{
    return chat_session_size((const struct chat_session *)chat);
}

bool surprisal_chat_waits(const struct surprisal_chat *chat)
{
    return chat_session_waits((const struct chat_session *)chat);
}

bool surprisal_chat_send(struct surprisal_chat *chat,
                         const struct surprisal_chat_message *messages, size_t n,
                         struct surprisal_generate_result *result, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, chat_session_send((struct chat_session *)chat, messages, n, result,
                                              &inner), &inner);
}
