/* answer_reader.h - a growing continuation, read as a message: reasoning, content and tool calls
 * (chat/answer.h).
 *
 * The four tags count as the tokens of these names alone.  Stop texts are sought in the raw text
 * (continuation.h), so a tag is read when its text can be no part of one any more. */
#ifndef SURPRISAL_GENERATE_ANSWER_READER_H
#define SURPRISAL_GENERATE_ANSWER_READER_H

#include "chat/message_parts.h"
#include "generate/continuation.h"

struct answer_reader_tag {
    enum answer_tag tag;
    size_t at, length;                  /* in the raw text, bytes; length 0: a special token */
};

struct answer_reader_delta {
    bool (*give)(void *user, enum surprisal_chat_part part, const char *text, size_t n);
    void *user;
};

/* The members borrow from one another, so the struct stays where it is.  Zero-initialise; release
 * with answer_reader_close. */
struct answer_reader {
    const struct tokenizer *tokenizer;      /* borrowed */
    struct answer *answer;
    struct message_parts parts;
    struct answer_reader_delta delta;       /* give NULL: none are wanted */
    bool stopped;                           /* give returned false */
    int32_t ids[ANSWER_TAGS];
    struct answer_reader_tag *tags;         /* owned [n]; the first `n_read` were read */
    size_t n, n_read, capacity;
    size_t read;                            /* bytes of the raw text */
};

/* rules: borrows its tools. */
bool answer_reader_open(struct answer_reader *r, const struct answer_rules *rules,
                        const struct tokenizer *tokenizer,
                        const struct answer_reader_delta *delta, struct error *err);
void answer_reader_close(struct answer_reader *r);

/* After continuation_add of `id`, when the raw text had `size` bytes before it. */
bool answer_reader_add(struct answer_reader *r, const struct continuation *a, int32_t id,
                       size_t size, struct error *err);
/* After continuation_end. */
bool answer_reader_end(struct answer_reader *r, const struct continuation *a, struct error *err);

#endif
