#include "generate/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/protocol/input.h"
#include "eval/protocol/text.h"
#include "generate/conversation.h"
#include "generate/result.h"

#define DEFAULT_TOKENS 16               /* as in vLLM */

/* The members borrow from one another, so the struct stays where it is. */
struct job {
    const struct surprisal_generate_options *o;
    struct generation generation;
    struct conversation conversation;   /* of a chat, as is the reader */
    struct answer_reader reader;
    int32_t *prompt;                    /* owned [n_prompt] */
    size_t n_prompt;
    bool thinks;                        /* a chat's answer begins with thinking */
    struct turn turn;
};

/* ---- options ---------------------------------------------------------------- */

struct surprisal_generate_options generate_defaults(void)
{
    return (struct surprisal_generate_options){
        .sampling = { .repetition_penalty = NAN, .frequency_penalty = NAN,
                      .presence_penalty = NAN, .temperature = NAN, .min_p = NAN,
                      .top_k = SURPRISAL_TOP_K_DEFAULT, .top_p = NAN, .random_seed = true },
    };
}

bool generate_check(const struct surprisal_generate_options *o, struct error *err)
{
    int sources = (o->prompt != NULL) + (o->text != NULL) + (o->ids != NULL);
    if (!o->checkpoint && !o->model)
        return error_set(err, "no checkpoint is given");
    if (sources != 1)
        return error_set(err, sources ? "more than one prompt is given" : "no prompt is given");
    if (o->chat && o->ids)
        return error_set(err, "ids are no turn of a chat: it needs a text");
    return generation_check(o, err) && (!o->chat || conversation_check(o->chat, err));
}

/* ---- the prompt --------------------------------------------------------------- */

static const char *prompt_name(const struct surprisal_generate_options *o)
{
    return o->ids ? o->ids : o->text ? o->text : "the prompt";
}

static bool make_chat_prompt(struct job *j, const struct buffer *text, struct error *err)
{
    struct conversation *c = &j->conversation;
    const struct model *m = &j->generation.model;
    return conversation_open(c, j->o->chat, m->checkpoint->folder, err)
        && conversation_add(c, SURPRISAL_CHAT_USER, text->data ? text->data : "", text->size, err)
        && conversation_prompt(c, m->tokenizer, &j->prompt, &j->n_prompt, &j->thinks, err);
}

static bool encode_prompt(struct job *j, struct error *err)
{
    const struct surprisal_generate_options *o = j->o;
    struct buffer text = { 0 };
    bool ok = o->prompt ? buffer_append(&text, o->prompt, strlen(o->prompt), err)
                        : text_read(&text, o->text, SURPRISAL_JOIN_RAW, err);
    if (ok && o->chat)
        ok = make_chat_prompt(j, &text, err);
    else
        ok = ok && (tokenizer_encode(j->generation.model.tokenizer, text.data, text.size,
                                     &j->prompt, &j->n_prompt, err)
                    || error_prefix(err, "%s: ", prompt_name(o)));
    buffer_free(&text);
    return ok;
}

static bool read_prompt(struct job *j, struct error *err)
{
    const struct surprisal_generate_options *o = j->o;
    bool ok = o->ids ? input_read_ids(o->ids, &j->prompt, &j->n_prompt, NULL, err)
                     : encode_prompt(j, err);
    j->turn.prompt = j->prompt;
    j->turn.n_prompt = j->n_prompt;
    if (!ok || !generation_check_prompt(&j->generation, prompt_name(o), j->prompt, j->n_prompt,
                                        err))
        return false;
    if (!j->generation.model.tokenizer)
        model_warn(&o->machine.progress, "the answer has no text: %s",
                   j->generation.no_text.message);
    return true;
}

/* ---- the answer ------------------------------------------------------------------- */

static bool open_reader(struct job *j, struct error *err)
{
    if (!j->o->chat)
        return true;
    j->turn.reader = &j->reader;
    return conversation_open_reader(&j->conversation, &j->reader, j->generation.model.tokenizer,
                                    j->thinks, j->o->machine.progress.user, err);
}

/* Takes the memory for the prompt and the longest answer. */
static bool begin(struct job *j, struct error *err)
{
    size_t capacity;
    generation_begin(&j->generation, &j->turn, DEFAULT_TOKENS);
    if (!size_sum(&capacity, j->n_prompt, j->turn.answer.limits.max_tokens))
        capacity = SIZE_MAX;
    return generation_reserve(&j->generation, capacity, false, err);
}

static void close_job(struct job *j)
{
    continuation_free(&j->turn.answer);
    answer_reader_close(&j->reader);
    conversation_close(&j->conversation);
    free(j->prompt);
    generation_close(&j->generation);
}

bool generate_run(const struct surprisal_generate_options *o,
                  struct surprisal_generate_result *result, struct error *err)
{
    struct job j = { .o = o };
    *result = (struct surprisal_generate_result){ 0 };
    bool ok = generate_check(o, err) && generation_open(&j.generation, o, err)
           && read_prompt(&j, err) && begin(&j, err) && open_reader(&j, err)
           && generation_run(&j.generation, &j.turn, err)
           && result_give(result, &j.generation, &j.turn, err);
    close_job(&j);
    return ok;
}
