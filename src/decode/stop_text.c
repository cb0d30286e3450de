#include "decode/stop_text.h"

#include <string.h>

void stop_text_init(struct stop_text *s, const char *const *texts, size_t n)
{
    *s = (struct stop_text){ .texts = texts, .n = n, .found = n };
}

void stop_text_free(struct stop_text *s)
{
    buffer_free(&s->text);
}

/* Does the text end in the first n bytes of a stop text? */
static bool ends_in(const struct buffer *text, const char *stop, size_t n)
{
    return n <= text->size && memcmp(text->data + text->size - n, stop, n) == 0;
}

/* The longest stop text in which the text ends; s->n: none. */
static size_t match(const struct stop_text *s)
{
    size_t found = s->n, longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t n = strlen(s->texts[i]);
        if (n > longest && ends_in(&s->text, s->texts[i], n)) {
            found = i;
            longest = n;
        }
    }
    return found;
}

/* Bytes at the end of the text with which a stop text begins. */
static size_t held_back(const struct stop_text *s)
{
    size_t held = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t n = strlen(s->texts[i]); n-- > held + 1;)
            if (ends_in(&s->text, s->texts[i], n))
                held = n;
    return held;
}

bool stop_text_add(struct stop_text *s, const char *bytes, size_t n, struct error *err)
{
    for (size_t i = 0; i < n && s->found == s->n; i++) {
        if (!buffer_append(&s->text, bytes + i, 1, err))
            return false;
        s->found = s->waits ? s->n : match(s);
    }
    if (s->found < s->n) {
        s->text.size -= s->keep ? 0 : strlen(s->texts[s->found]);
        s->text.data[s->text.size] = '\0';
        s->released = s->text.size;
    } else
        s->released = s->text.size - held_back(s);
    return true;
}

void stop_text_end(struct stop_text *s)
{
    s->released = s->text.size;
}
