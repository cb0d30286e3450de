/* tools.h - the tools of a chat and what is said of them: tools, tool_choice, parallel_tool_calls
 * (SERVE 3.6). */
#ifndef SURPRISAL_SERVER_TOOLS_H
#define SURPRISAL_SERVER_TOOLS_H

#include "server/chat.h"

/* Sets j->chat.  A failure is in the fields' problem. */
bool tools_read(struct job *j, const struct fields *f, const struct chat_rules *chat);

#endif
