#include "server/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/format.h"
#include "generate/sampling.h"

/* ---- sampling ------------------------------------------------------------------ */

static bool read_numbers(struct surprisal_sampling *s, const struct fields *f)
{
    int64_t top_k = s->top_k;
    bool ok = fields_number(f, "temperature", 0, 2, &s->temperature)
           && fields_number(f, "top_p", 0, 1, &s->top_p)
           && fields_integer(f, "top_k", -1, INT32_MAX, &top_k)
           && fields_number(f, "min_p", 0, 1, &s->min_p)
           && fields_number(f, "presence_penalty", -2, 2, &s->presence_penalty)
           && fields_number(f, "frequency_penalty", -2, 2, &s->frequency_penalty)
           && fields_number(f, "repetition_penalty", 0, 1e6, &s->repetition_penalty);
    s->top_k = top_k;
    if (ok && s->top_p == 0)
        return problem_set(f->problem, 400, "top_p", "top_p is 0, expected more, at most 1");
    if (ok && s->repetition_penalty == 0)
        return problem_set(f->problem, 400, "repetition_penalty",
                           "repetition_penalty is 0, expected more");
    return ok;
}

static bool read_seed(struct surprisal_sampling *s, const struct fields *f)
{
    int64_t seed = REQUEST_NOT_GIVEN;
    bool given = fields_get(f, "seed") != NULL;
    if (!fields_integer(f, "seed", INT64_MIN, INT64_MAX, &seed))
        return false;
    if (given)
        s->seed = (uint64_t)seed;
    else if (s->random_seed && getrandom(&s->seed, sizeof s->seed, 0) < 0)
        return problem_set(f->problem, 500, NULL, "no random seed can be had");
    return true;
}

static bool read_sampling(struct request *r, const struct fields *f,
                          const struct request_rules *rules)
{
    struct surprisal_sampling s = *rules->sampling;
    int64_t n = 1;
    if (!read_numbers(&s, f) || !read_seed(&s, f)
        || !fields_integer(f, "n", 1, REQUEST_CHOICES, &n))
        return false;
    r->sampling = sampling_settings(&s, rules->publisher);
    r->n = (size_t)n;
    if (n > 1 && r->sampling.temperature < SAMPLER_GREEDY)
        return problem_set(f->problem, 400, "n", "n is %lld, expected 1 with temperature 0: all "
                           "choices would be the same", (long long)n);
    return true;
}

/* {"ID": number}. */
static bool read_bias(struct request *r, const struct fields *f, const struct request_rules *rules)
{
    const struct value *v = fields_get(f, "logit_bias");
    if (!v)
        return true;
    if (v->kind != VALUE_MAPPING)
        return problem_set(f->problem, 400, "logit_bias", "logit_bias is %s, expected an object",
                           value_type(v));
    size_t n = v->of.mapping->n;
    struct sampler_bias *bias = workspace_take(f->w, n * sizeof *bias + 1, &f->problem->err);
    if (!bias)
        return problem_say(f->problem, 503, NULL);
    for (size_t i = 0; i < n; i++) {
        const struct value_entry *e = &v->of.mapping->entries[i];
        double x = e->value.kind == VALUE_INTEGER ? (double)e->value.of.integer
                 : e->value.kind == VALUE_FLOAT ? e->value.of.number : NAN;
        int64_t id = 0;
        bool digits = e->key.n > 0 && e->key.n <= 10;
        for (size_t c = 0; digits && c < e->key.n; c++) {
            digits = ascii_digit(e->key.bytes[c]);
            id = 10 * id + (e->key.bytes[c] - '0');
        }
        if (!digits || (uint64_t)id >= rules->vocab_size)
            return problem_set(f->problem, 400, "logit_bias", "logit_bias: '%.*s' is no token id "
                               "below %zu", (int)size_min(e->key.n, 20), e->key.bytes,
                               rules->vocab_size);
        if (!(x >= -100 && x <= 100))
            return problem_set(f->problem, 400, "logit_bias", "logit_bias: the value of id %lld is "
                               "no number from -100 to 100", (long long)id);
        bias[i] = (struct sampler_bias){ (int32_t)id, (float)x };
    }
    r->sampling.bias = bias;
    r->sampling.n_bias = n;
    return true;
}

/* ---- texts ----------------------------------------------------------------------- */

/* A text or a list of texts, without NUL, of 1 to `longest` bytes. */
static bool read_texts(const struct fields *f, const char *name, size_t most, size_t longest,
                       const char *const **texts, size_t *n)
{
    const struct value *v = fields_get(f, name);
    if (!v)
        return true;
    bool one = v->kind == VALUE_STRING;
    if (!one && v->kind != VALUE_LIST)
        return problem_set(f->problem, 400, name, "%s is %s, expected a string or a list of them",
                           name, value_type(v));
    size_t count = one ? 1 : v->of.list->n;
    if (count > most)
        return problem_set(f->problem, 400, name, "%s has %zu texts, expected at most %zu", name,
                           count, most);
    const char **list = workspace_take(f->w, count * sizeof *list + 1, &f->problem->err);
    if (!list)
        return problem_say(f->problem, 503, name);
    for (size_t i = 0; i < count; i++) {
        const struct value *text = one ? v : &v->of.list->items[i];
        if (text->kind != VALUE_STRING)
            return problem_set(f->problem, 400, name, "%s holds %s, expected strings", name,
                               value_type(text));
        const struct marked_text *t = &text->of.string;
        if (t->n == 0 || t->n > longest || memchr(t->bytes, '\0', t->n))
            return problem_set(f->problem, 400, name, "%s: a text of %zu bytes, expected 1 to %zu "
                               "without NUL", name, t->n, longest);
        list[i] = workspace_copy(f->w, t->bytes, t->n, &f->problem->err);
        if (!list[i])
            return problem_say(f->problem, 503, name);
    }
    *texts = list;
    *n = count;
    return true;
}

/* Each word as it begins a text, and behind a space. */
static bool read_bad_words(struct request *r, const struct fields *f,
                           const struct request_rules *rules)
{
    const char *const *texts = NULL;
    size_t n = 0;
    if (!read_texts(f, "bad_words", 1024, REQUEST_STOP_BYTES, &texts, &n))
        return false;
    struct request_word *words = workspace_take(f->w, 2 * n * sizeof *words + 1, &f->problem->err);
    if (!words)
        return problem_say(f->problem, 503, NULL);
    for (size_t i = 0; i < 2 * n; i++) {
        char text[REQUEST_STOP_BYTES + 2];
        int bytes = format_text(text, sizeof text, "%s%s", i % 2 ? " " : "", texts[i / 2]);
        int32_t *ids;
        size_t n_ids;
        if (!tokenizer_encode(rules->tokenizer, text, (size_t)bytes, &ids, &n_ids,
                              &f->problem->err))
            return problem_say(f->problem, 400, "bad_words");
        char *copy = workspace_copy(f->w, (const char *)ids, n_ids * sizeof *ids,
                                    &f->problem->err);
        free(ids);
        if (!copy)
            return problem_say(f->problem, 503, NULL);
        words[i] = (struct request_word){ (const int32_t *)copy, n_ids };
    }
    r->bad_words = words;
    r->n_bad_words = 2 * n;
    return true;
}

static bool read_ends(struct request *r, const struct fields *f, const struct request_rules *rules)
{
    bool skip_special = true, spaces = true;
    if (!read_texts(f, "stop", REQUEST_STOPS, REQUEST_STOP_BYTES, &r->stop, &r->n_stop)
        || !fields_ids(f, "stop_token_ids", rules->vocab_size, &r->stop_ids, &r->n_stop_ids)
        || !fields_ids(f, "allowed_token_ids", rules->vocab_size, &r->allowed_ids, &r->n_allowed)
        || !read_bad_words(r, f, rules)
        || !fields_flag(f, "include_stop_str_in_output", &r->keep_stop)
        || !fields_flag(f, "ignore_eos", &r->ignore_eos)
        || !fields_flag(f, "skip_special_tokens", &skip_special)
        || !fields_flag(f, "spaces_between_special_tokens", &spaces)
        || !fields_integer(f, "min_tokens", 0, INT32_MAX, &r->min_tokens))
        return false;
    r->keep_special = !skip_special;
    return !r->allowed_ids || r->n_allowed
        || problem_set(f->problem, 400, "allowed_token_ids",
                       "allowed_token_ids is empty: no token would be allowed");
}

/* ---- output ------------------------------------------------------------------------ */

static bool read_stream(struct request *r, const struct fields *f)
{
    const struct value *options = fields_get(f, "stream_options");
    if (!fields_flag(f, "stream", &r->stream))
        return false;
    if (!options)
        return true;
    if (options->kind != VALUE_MAPPING)
        return problem_set(f->problem, 400, "stream_options", "stream_options is %s, expected an "
                           "object", value_type(options));
    if (!r->stream)
        return problem_set(f->problem, 400, "stream_options",
                           "stream_options needs \"stream\": true");
    const struct fields in = { options, f->w, f->problem };
    return fields_flag(&in, "include_usage", &r->include_usage)
        && fields_flag(&in, "continuous_usage_stats", &r->continuous_usage);
}

int64_t request_most_logprobs(const struct request_rules *rules)
{
    return rules->max_logprobs < 0 ? (int64_t)size_min(rules->vocab_size, 1024)
                                   : rules->max_logprobs;
}

static bool read_prompt_logprobs(struct request *r, const struct fields *f,
                                 const struct request_rules *rules)
{
    int64_t most = rules->max_logprobs < 0 ? (int64_t)rules->vocab_size : rules->max_logprobs;
    if (!fields_integer(f, "prompt_logprobs", rules->max_logprobs < 0 ? -1 : 0, most,
                        &r->prompt_logprobs))
        return false;
    return r->prompt_logprobs == REQUEST_NOT_GIVEN || !r->stream
        || problem_set(f->problem, 400, "prompt_logprobs",
                       "prompt_logprobs cannot be had with \"stream\": true");
}

static bool read_truncation(struct request *r, const struct fields *f)
{
    const char *side = "left";
    if (!fields_integer(f, "truncate_prompt_tokens", -1, INT32_MAX, &r->truncate)
        || !fields_text(f, "truncation_side", &side))
        return false;
    r->truncate_right = strcmp(side, "right") == 0;
    if (r->truncate == 0)
        return problem_set(f->problem, 400, "truncate_prompt_tokens",
                           "truncate_prompt_tokens is 0, expected -1 or 1 and more");
    return r->truncate_right || strcmp(side, "left") == 0
        || problem_set(f->problem, 400, "truncation_side", "truncation_side is '%.40s', expected "
                       "left or right", side);
}

static bool check_type(const struct fields *f, const char *name, enum value_kind kind,
                       const char *expected)
{
    const struct value *v = fields_get(f, name);
    return !v || v->kind == kind
        || problem_set(f->problem, 400, name, "%s is %s, expected %s", name, value_type(v),
                       expected);
}

/* What changes no answer is checked for its type alone. */
static bool check_rest(const struct fields *f)
{
    bool ignored;
    int64_t priority;
    return check_type(f, "user", VALUE_STRING, "a string")
        && check_type(f, "metadata", VALUE_MAPPING, "an object")
        && check_type(f, "service_tier", VALUE_STRING, "a string")
        && check_type(f, "request_id", VALUE_STRING, "a string")
        && fields_flag(f, "store", &ignored) && fields_flag(f, "add_special_tokens", &ignored)
        && fields_integer(f, "priority", INT32_MIN, INT32_MAX, &priority);
}

bool request_read(struct request *r, const struct fields *f, const struct request_rules *rules)
{
    *r = (struct request){ .max_tokens = REQUEST_NOT_GIVEN, .logprobs = REQUEST_NOT_GIVEN,
                           .prompt_logprobs = REQUEST_NOT_GIVEN, .truncate = REQUEST_NOT_GIVEN };
    return read_sampling(r, f, rules) && read_bias(r, f, rules) && read_ends(r, f, rules)
        && read_stream(r, f) && read_prompt_logprobs(r, f, rules) && read_truncation(r, f)
        && fields_flag(f, "echo", &r->echo)
        && fields_flag(f, "return_token_ids", &r->return_ids)
        && fields_flag(f, "return_tokens_as_token_ids", &r->ids_as_tokens)
        && fields_text(f, "cache_salt", &r->cache_salt) && check_rest(f);
}

/* ---- what is refused, and what fits ------------------------------------------------- */

static bool is_normal(const struct value *v, const char *normal)
{
    int64_t i;
    switch (v->kind) {
    case VALUE_BOOLEAN: return !v->of.boolean;
    case VALUE_STRING:  return v->of.string.n == 0 || (normal && value_is_string(v, normal));
    case VALUE_LIST:    return v->of.list->n == 0
                            || (normal && v->of.list->n == 1
                                && value_is_string(&v->of.list->items[0], normal));
    case VALUE_MAPPING: return v->of.mapping->n == 0
                            || (normal && value_member(v, "type")
                                && value_is_string(value_member(v, "type"), normal));
    default:            return normal && fields_is_integer(v, &i)
                            && (double)i == format_parse(normal, NULL);
    }
}

bool request_refuse_unsupported(const struct fields *f, const struct request_unsupported *table,
                                size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct value *v = fields_get(f, table[i].name);
        if (v && !is_normal(v, table[i].normal))
            return problem_set(f->problem, 400, table[i].name,
                               "%s is not supported: only its default is", table[i].name);
    }
    return true;
}

static bool refuse_length(const struct request_rules *rules, size_t n, int64_t wanted,
                          struct problem *p)
{
    if (wanted > (int64_t)rules->context)
        return problem_set(p, 400, "max_tokens", "max_tokens is %lld, and the context of this "
                           "server has %zu tokens: the answer asked for is too long",
                           (long long)wanted, rules->context);
    return problem_set(p, 400, "prompt", "the prompt has %zu tokens, and the context of this "
                       "server has %zu: the prompt is too long for one token of an answer", n,
                       rules->context);
}

bool request_fit(const struct request *r, const struct request_rules *rules, const int32_t **ids,
                 size_t *n_ids, int64_t otherwise, size_t *max_tokens, struct problem *p)
{
    size_t context = rules->context, n = *n_ids, usual = rules->publisher->max_new_tokens;
    int64_t wanted = r->max_tokens != REQUEST_NOT_GIVEN ? r->max_tokens
                   : usual ? (int64_t)size_min(usual, context) : otherwise;
    if (r->truncate != REQUEST_NOT_GIVEN) {
        size_t room = wanted >= 0 && (size_t)wanted < context ? context - (size_t)wanted : 0;
        size_t most = r->truncate < 0 ? size_max(room, 1) : (size_t)r->truncate;
        if (n > most && !r->truncate_right)
            *ids += n - most;
        *n_ids = n = size_min(n, most);
    }
    bool nothing = wanted == 0;         /* with echo: the prompt alone */
    if (n == 0)
        return problem_set(p, 400, "prompt", "the prompt has no tokens");
    if ((wanted != INT64_MAX && wanted > (int64_t)context) || n > context
        || (n == context && !nothing))
        return refuse_length(rules, n, wanted == INT64_MAX ? 0 : wanted, p);
    if (r->min_tokens > wanted)
        return problem_set(p, 400, "min_tokens", "min_tokens is %lld, and max_tokens %lld",
                           (long long)r->min_tokens, (long long)wanted);
    *max_tokens = size_min((size_t)wanted, context - n);
    return true;
}
