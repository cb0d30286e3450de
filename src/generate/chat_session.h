/* chat_session.h - `surprisal chat`: a conversation with a model that stays open, turn by turn.
 *
 * Each turn renders the whole conversation anew, as a server does: the template decides what of
 * older turns stays.  What the prompt has in common with the last one is computed once
 * (generation.h). */
#ifndef SURPRISAL_GENERATE_CHAT_SESSION_H
#define SURPRISAL_GENERATE_CHAT_SESSION_H

#include "base/error.h"
#include "surprisal.h"

struct chat_session;

/* As surprisal.h documents them. */
bool chat_session_check(const struct surprisal_generate_options *o, struct error *err);
struct chat_session *chat_session_open(const struct surprisal_generate_options *o, size_t context,
                                       struct error *err);
void chat_session_close(struct chat_session *s);
struct surprisal_chat_size chat_session_size(const struct chat_session *s);
bool chat_session_waits(const struct chat_session *s);
bool chat_session_send(struct chat_session *s, const struct surprisal_chat_message *messages,
                       size_t n, struct surprisal_generate_result *result, struct error *err);

#endif
