#include "generate/answer_reader.h"

#include <stdlib.h>
#include <string.h>

static bool take_part(void *user, enum answer_part part, const char *text, size_t n,
                      struct error *err)
{
    static const enum surprisal_chat_part parts[] = {
        [ANSWER_REASONING] = SURPRISAL_CHAT_REASONING, [ANSWER_CONTENT] = SURPRISAL_CHAT_CONTENT,
        [ANSWER_NAME] = SURPRISAL_CHAT_CALL, [ANSWER_ARGUMENTS] = SURPRISAL_CHAT_ARGUMENTS,
    };
    struct answer_reader *r = user;
    if (r->delta.give && !r->delta.give(r->delta.user, parts[part], text, n))
        r->stopped = true;
    return message_parts_add(&r->parts, part, text, n, err);
}

bool answer_reader_open(struct answer_reader *r, const struct answer_rules *rules,
                        const struct tokenizer *tokenizer,
                        const struct answer_reader_delta *delta, struct error *err)
{
    struct answer_rules own = *rules;
    own.tags_are_tokens = true;
    *r = (struct answer_reader){ .tokenizer = tokenizer, .delta = *delta };
    for (int t = 0; t < ANSWER_TAGS; t++)
        r->ids[t] = tokenizer_token_id(tokenizer, answer_tag_text((enum answer_tag)t));
    r->answer = answer_new(&own, &(struct answer_sink){ take_part, r }, err);
    return r->answer != NULL;
}

void answer_reader_close(struct answer_reader *r)
{
    answer_free(r->answer);
    message_parts_free(&r->parts);
    free(r->tags);
    *r = (struct answer_reader){ 0 };
}

/* Notes where the text of a tag stands: bytes of an unfinished character may come before it. */
static bool note_tag(struct answer_reader *r, const struct continuation *a, int32_t id,
                     size_t size, struct error *err)
{
    int tag = 0;
    while (tag < ANSWER_TAGS && (id < 0 || r->ids[tag] != id))
        tag++;
    if (tag == ANSWER_TAGS || id == a->end_id)
        return true;
    if (!mem_grow(&r->tags, &r->capacity, r->n + 1, sizeof *r->tags, "tags of the answer", err))
        return false;
    struct answer_reader_tag *t = &r->tags[r->n++];
    *t = (struct answer_reader_tag){ .tag = (enum answer_tag)tag, .at = size };
    if (!tokenizer_is_special(r->tokenizer, id)) {
        t->length = strlen(answer_tag_text(t->tag));
        t->at = size + a->fresh.size - t->length;
    }
    return true;
}

/* Reads the raw text up to `end`. */
static bool read_text(struct answer_reader *r, const struct continuation *a, size_t end,
                      struct error *err)
{
    const char *text = a->text.text.data;
    if (end <= r->read)
        return true;
    bool ok = answer_feed(r->answer, text + r->read, end - r->read, err);
    r->read = end;
    return ok;
}

/* Reads what is released.  A tag that a stop text has cut is text. */
static bool read_released(struct answer_reader *r, const struct continuation *a, struct error *err)
{
    size_t released = a->text.released;
    for (; r->n_read < r->n; r->n_read++) {
        const struct answer_reader_tag *t = &r->tags[r->n_read];
        if (t->at + t->length > released)
            return read_text(r, a, size_min(t->at, released), err);
        if (!read_text(r, a, t->at, err) || !answer_feed_tag(r->answer, t->tag, err))
            return false;
        r->read = t->at + t->length;
    }
    return read_text(r, a, released, err);
}

bool answer_reader_add(struct answer_reader *r, const struct continuation *a, int32_t id,
                       size_t size, struct error *err)
{
    return note_tag(r, a, id, size, err) && read_released(r, a, err);
}

bool answer_reader_end(struct answer_reader *r, const struct continuation *a, struct error *err)
{
    return read_released(r, a, err) && read_text(r, a, a->text.released, err)
        && answer_end(r->answer, a->finish != SURPRISAL_FINISH_STOP, err);
}
