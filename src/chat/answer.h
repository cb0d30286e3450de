/* answer.h - what a model generated, as reasoning, content and tool calls (SERVE 3).
 *
 * One state machine for streams and for whole answers: what it gives does not depend on the pieces
 * in which the text comes.  It gives out what is certain as soon as it is, loses no text but the
 * framing, and invents no call.  Cost is linear in the text.
 *
 * The four tags count either as tokens (answer_feed_tag), so that the same letters from ordinary
 * tokens stay text, or wherever they are spelled out. */
#ifndef SURPRISAL_CHAT_ANSWER_H
#define SURPRISAL_CHAT_ANSWER_H

#include "base/memory.h"
#include "chat/value.h"

#define ANSWER_NAME_BYTES 1024  /* of a function or parameter */

enum answer_tag { ANSWER_THINK, ANSWER_END_THINK, ANSWER_CALL, ANSWER_END_CALL, ANSWER_TAGS };

/* How it is spelled: "<think>" ... */
const char *answer_tag_text(enum answer_tag tag);

enum answer_part {
    ANSWER_REASONING, ANSWER_CONTENT,
    ANSWER_NAME,                /* a call begins; the text is its function's name */
    ANSWER_ARGUMENTS,           /* more of the JSON of that call's arguments */
};

/* Receives the parts in order; text: n bytes of UTF-8. */
struct answer_sink {
    bool (*part)(void *user, enum answer_part part, const char *text, size_t n, struct error *err);
    void *user;
};

struct answer_rules {
    bool starts_in_thinking;    /* answer_starts_in_thinking(prompt) */
    bool no_reasoning;          /* all is content; <think> is text */
    bool drop_calls;            /* tool_choice none: calls are parsed and dropped */
    bool tags_are_tokens;       /* they come by answer_feed_tag alone */
    /* OpenAI's list of tools, borrowed; NULL, none or an empty list: markup of calls is text. */
    const struct value *tools;
};

struct answer;

struct answer *answer_new(const struct answer_rules *rules, const struct answer_sink *sink,
                          struct error *err);
void answer_free(struct answer *a);

/* More of the text.  A character may be cut between two pieces; bytes that are no UTF-8 become
 * U+FFFD. */
bool answer_feed(struct answer *a, const char *bytes, size_t n, struct error *err);
bool answer_feed_tag(struct answer *a, enum answer_tag tag, struct error *err);
/* at_length: the limit ended generation, and not the model. */
bool answer_end(struct answer *a, bool at_length, struct error *err);
/* After answer_end: "stop", "length" or "tool_calls". */
const char *answer_finish_reason(const struct answer *a);

/* Does the answer to this prompt begin inside of thinking: is there a <think> without </think>
 * behind the last <|im_start|>? */
bool answer_starts_in_thinking(const char *prompt, size_t n);

#endif
