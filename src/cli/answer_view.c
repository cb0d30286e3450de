#include "answer_view.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIM   "\033[2m"
#define PLAIN "\033[0m"

struct answer_view answer_view_begin(void)
{
    const char *terminal = getenv("TERM");
    bool on_terminal = isatty(STDOUT_FILENO) == 1;
    return (struct answer_view){
        .on_terminal = on_terminal,
        .dims = on_terminal && !getenv("NO_COLOR") && terminal && strcmp(terminal, "dumb") != 0,
    };
}

/* Bytes of the control character at s, except tab and line feed; 0: it is another character. */
static size_t control_bytes(const char *s, size_t n)
{
    unsigned char c = (unsigned char)*s;
    if (c == 0xC2 && n > 1 && (unsigned char)s[1] < 0xA0)
        return 2;
    return (c < 0x20 && c != '\t' && c != '\n') || c == 0x7F;
}

void answer_view_text(const struct answer_view *v, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t control = v->on_terminal ? control_bytes(text + i, n - i) : 0;
        if (control)
            putchar('?');
        else
            putchar(text[i]);
        i += control ? control : 1;
    }
    fflush(stdout);
}

/* What stands between one part and the next. */
static void begin_part(struct answer_view *v, enum surprisal_chat_part part)
{
    if (v->begun && v->part == SURPRISAL_CHAT_REASONING)
        fputs(v->dims ? PLAIN "\n\n" : "\n</think>\n\n", stdout);
    else if (v->begun && part != SURPRISAL_CHAT_ARGUMENTS)
        putchar('\n');
    if (part == SURPRISAL_CHAT_REASONING)
        fputs(v->dims ? DIM : "<think>\n", stdout);
    else if (part != SURPRISAL_CHAT_CONTENT)
        fputs(part == SURPRISAL_CHAT_CALL ? "call " : " ", stdout);
}

void answer_view_delta(struct answer_view *v, enum surprisal_chat_part part, const char *text,
                       size_t n)
{
    if (!v->begun || v->part != part || part == SURPRISAL_CHAT_CALL)
        begin_part(v, part);
    v->begun = true;
    v->part = part;
    answer_view_text(v, text, n);
}

void answer_view_end(struct answer_view *v)
{
    if (v->begun && v->part == SURPRISAL_CHAT_REASONING)
        fputs(v->dims ? PLAIN : "\n</think>", stdout);
    putchar('\n');
    fflush(stdout);
    v->begun = false;
}

/* By draft: of the first ones of a step so many were accepted, of the second ones so many. */
static void show_drafts(FILE *f, const struct surprisal_generate_result *r)
{
    for (size_t i = 0; i < SURPRISAL_MTP_MOST && r->drafts[i].checked; i++)
        fprintf(f, "%s %.0f %%", i ? "," : "; drafts accepted:",
                100 * (double)r->drafts[i].accepted / (double)r->drafts[i].checked);
    if (r->drafts_stopped)
        fprintf(f, ", given up after %zu tokens", r->drafts_stopped);
}

void answer_view_speed(FILE *f, const struct surprisal_generate_result *r)
{
    static const char *const ends[] = {
        [SURPRISAL_FINISH_STOP] = "", [SURPRISAL_FINISH_LENGTH] = ", cut off at --max-tokens",
        [SURPRISAL_FINISH_CONTEXT] = ", cut off: the model's context is full",
        [SURPRISAL_FINISH_INTERRUPTED] = ", interrupted",
    };
    size_t computed = r->prompt_tokens - r->cached_tokens;
    fprintf(f, "prompt: %zu tokens", r->prompt_tokens);
    if (r->cached_tokens)
        fprintf(f, " (%zu of them computed before)", r->cached_tokens);
    if (r->prefill_seconds > 0)
        fprintf(f, ", %.1f tokens/s", (double)computed / r->prefill_seconds);
    fprintf(f, "; answer: %zu tokens", r->tokens);
    if (r->tokens > 1 && r->decode_seconds > 0)
        fprintf(f, ", %.1f tokens/s", (double)(r->tokens - 1) / r->decode_seconds);
    show_drafts(f, r);
    fprintf(f, "%s\n", ends[r->finish]);
}
