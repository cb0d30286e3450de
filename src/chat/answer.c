#include "chat/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "chat/coercion.h"
#include "chat/value_json.h"

/* What is looked for in the text; the first four are the tags. */
enum mark {
    THINK, END_THINK, CALL, END_CALL, FUNCTION, END_FUNCTION, PARAMETER, END_PARAMETER, N_MARKS,
};
static const char *const spelling[N_MARKS] = {
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<function=", "</function>",
    "<parameter=", "</parameter>",
};

/* MORE: what comes next decides. */
enum found { NO, YES, MORE };

enum state { IN_THINKING, IN_CONTENT, IN_CALL, IN_VALUE };

struct tag_place {
    size_t at;
    enum answer_tag tag;
};

struct answer {
    struct answer_rules rules;
    struct answer_sink sink;
    struct workspace w;                 /* of keys and values of calls */
    struct buffer text;                 /* all that came, tags spelled out */
    char cut[4];                        /* the beginning of a character */
    size_t n_cut;
    struct tag_place *tags;             /* owned; in order.  Only with tags_are_tokens */
    size_t n_tags, tags_capacity, first_tag;    /* first_tag: none before it lies behind `at` */
    bool ended, at_length;
    bool has_tools;

    enum state state;
    size_t at;                          /* everything before is understood */
    size_t held;                        /* white space [held, at) waits for what follows */
    unsigned skip_line_ends;            /* line ends that framing takes from here */
    size_t space_from, space_to;        /* a run of white space that was measured */
    bool any;                           /* thinking, content or a call came */
    bool any_content, after_call;
    bool think_is_text;                 /* a <think> was text, and so is the </think> of it */

    size_t calls;
    bool call_complete;                 /* the last one */
    struct value call_root, call_properties;    /* its schema and parameters; none: undeclared */
    struct value keys;                  /* a mapping of those that were given */
    bool object_open;                   /* `{` was given out */
    struct marked_text key;
    unsigned types;
    bool repeated, key_written;
    size_t value_begin, sent;           /* of a text value: [value_begin, sent) was given out */
    bool value_begins;                  /* a line end here is framing */
    unsigned quoted;                    /* depth of calls that a value quotes */
};

/* ---- making ------------------------------------------------------------------ */

const char *answer_tag_text(enum answer_tag tag)
{
    return spelling[tag];
}

struct answer *answer_new(const struct answer_rules *rules, const struct answer_sink *sink,
                          struct error *err)
{
    struct answer *a = mem_array(1, sizeof *a, "an answer", err);
    if (!a)
        return NULL;
    a->rules = *rules;
    a->sink = *sink;
    a->w.bytes_limit = WORKSPACE_BYTES;
    a->w.steps_limit = SIZE_MAX;        /* the text bounds them */
    a->state = rules->starts_in_thinking && !rules->no_reasoning ? IN_THINKING : IN_CONTENT;
    a->has_tools = rules->tools && rules->tools->kind == VALUE_LIST && rules->tools->of.list->n;
    return a;
}

void answer_free(struct answer *a)
{
    if (!a)
        return;
    workspace_free(&a->w);
    buffer_free(&a->text);
    free(a->tags);
    free(a);
}

bool answer_starts_in_thinking(const char *prompt, size_t n)
{
    const struct marked_text all = marked_text_plain(prompt, n);
    const struct marked_text start = marked_text_plain("<|im_start|>", 12);
    const struct marked_text think = marked_text_plain("<think>", 7);
    const struct marked_text end = marked_text_plain("</think>", 8);
    size_t turn = 0, at, last = n + 1;
    for (at = 0; (at = marked_text_find(&all, &start, at)) <= n; at += start.n)
        turn = at;
    for (at = turn; (at = marked_text_find(&all, &think, at)) <= n; at += think.n)
        last = at;
    return last <= n && marked_text_find(&all, &end, last) > n;
}

/* ---- looking -------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Is the tag the token that begins at p? */
static bool is_token(const struct answer *a, size_t p, enum mark m)
{
    size_t low = a->first_tag, high = a->n_tags;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (a->tags[middle].at < p)
            low = middle + 1;
        else
            high = middle;
    }
    return low < a->n_tags && a->tags[low].at == p && (enum mark)a->tags[low].tag == m;
}

/* Does the mark stand at p? */
static enum found match(const struct answer *a, size_t p, enum mark m)
{
    size_t n = strlen(spelling[m]), left = a->text.size - p;
    if (left == 0)
        return a->ended ? NO : MORE;
    if (a->rules.tags_are_tokens && m <= END_CALL)
        return is_token(a, p, m) ? YES : NO;
    if (memcmp(a->text.data + p, spelling[m], n < left ? n : left) != 0)
        return NO;
    return left >= n ? YES : a->ended ? NO : MORE;
}

/* Is the rest from p the beginning of the mark, which the end has cut? */
static bool is_cut(const struct answer *a, size_t p, enum mark m)
{
    size_t left = a->text.size - p;
    return left > 0 && left < strlen(spelling[m]) && !(a->rules.tags_are_tokens && m <= END_CALL)
        && memcmp(a->text.data + p, spelling[m], left) == 0;
}

/* Behind the white space at p.  A run is not measured again from its beginning. */
static size_t skip_space(struct answer *a, size_t p)
{
    size_t at = p == a->space_from ? a->space_to : p;
    while (at < a->text.size && is_space(a->text.data[at]))
        at++;
    a->space_from = p;
    a->space_to = at;
    return at;
}

/* Do white space and one of the marks (N_MARKS ends them) follow at p?  What the end of generation
 * cuts counts as that mark. */
static enum found follows(struct answer *a, size_t p, const enum mark *marks, bool end_counts)
{
    bool more = false;
    p = skip_space(a, p);
    if (p == a->text.size)
        return !a->ended ? MORE : end_counts ? YES : NO;
    for (; *marks != N_MARKS; marks++) {
        enum found f = match(a, p, *marks);
        if (f == YES || (a->ended && is_cut(a, p, *marks)))
            return YES;
        more = more || f == MORE;
    }
    return more ? MORE : NO;
}

/* The declared function; NULL: there is none. */
static const struct value *find_function(const struct answer *a, const struct marked_text *name)
{
    for (size_t i = 0; a->has_tools && i < a->rules.tools->of.list->n; i++) {
        const struct value *f = value_member(&a->rules.tools->of.list->items[i], "function");
        const struct value *own = f ? value_member(f, "name") : NULL;
        if (own && own->kind == VALUE_STRING && marked_text_equal(&own->of.string, name))
            return f;
    }
    return NULL;
}

static bool is_declared(const struct answer *a, const struct marked_text *key)
{
    return a->call_properties.kind == VALUE_MAPPING
        && value_mapping_get(a->call_properties.of.mapping, key);
}

/* Without the quotes around it. */
static bool unquote(struct marked_text *t)
{
    if (t->n < 2 || t->bytes[0] != t->bytes[t->n - 1]
        || (t->bytes[0] != '"' && t->bytes[0] != '\''))
        return false;
    *t = marked_text_part(t, 1, t->n - 1);
    return true;
}

/* ---- giving out ------------------------------------------------------------------- */

static bool give(struct answer *a, enum answer_part part, const char *text, size_t n,
                 struct error *err)
{
    if ((part == ANSWER_NAME || part == ANSWER_ARGUMENTS) && a->rules.drop_calls)
        return true;
    return (n == 0 && part != ANSWER_NAME) || a->sink.part(a->sink.user, part, text, n, err);
}

/* The text up to `end`, with the white space in front of it. */
static bool give_text(struct answer *a, size_t end, struct error *err)
{
    bool ok = true;
    size_t begin = a->held;
    if (a->state == IN_CONTENT) {
        if (a->after_call) {
            begin = a->at;              /* white space beside a call is framing */
            ok = !a->any_content || give(a, ANSWER_CONTENT, "\n", 1, err);
        }
        a->any_content = true;
        a->after_call = false;
    }
    a->any = true;
    ok = ok && give(a, a->state == IN_CONTENT ? ANSWER_CONTENT : ANSWER_REASONING,
                    a->text.data + begin, end - begin, err);
    a->at = a->held = end;
    return ok;
}

/* Passes what is framing; the held white space goes too. */
static void drop_to(struct answer *a, size_t end)
{
    a->at = a->held = end;
}

/* ---- the beginning of a call --------------------------------------------------------- */

struct opener {
    struct marked_text name;
    const struct value *function;       /* NULL: undeclared */
    size_t end;                         /* where its parameters begin */
};

/* NAME of <function=NAME>: the place of its first byte is p. */
static enum found read_name(struct answer *a, size_t p, struct opener *o)
{
    size_t end = p;
    while (end < a->text.size && !strchr("><\r\n", a->text.data[end]))
        end++;
    if (end - p > ANSWER_NAME_BYTES)
        return NO;
    if (end == a->text.size)
        return MORE;
    const struct marked_text all = marked_text_plain(a->text.data + p, end - p);
    o->name = marked_text_strip(&all, NULL, true, true);
    struct marked_text bare = o->name;
    o->function = find_function(a, &o->name);
    if (!o->function && unquote(&bare) && (o->function = find_function(a, &bare)))
        o->name = bare;
    bool closed = a->text.data[end] == '>';
    o->end = end + closed;
    return o->name.n && (closed || o->function) ? YES : NO;
}

/* The opener at p, as far as it has come. */
static enum found read_opener(struct answer *a, size_t p, bool wrapped, struct opener *o)
{
    static const enum mark next[] = { PARAMETER, END_FUNCTION, END_CALL, N_MARKS };
    enum found f;
    if (wrapped) {
        p = skip_space(a, p + strlen(spelling[CALL]));
        f = match(a, p, FUNCTION);
        if (f != YES)
            return f;
    }
    f = read_name(a, p + strlen(spelling[FUNCTION]), o);
    if (f != YES)
        return f;
    f = follows(a, o->end, next, false);
    if (f == YES)
        o->end = skip_space(a, o->end);
    return f;
}

/* The same, when generation may have ended: what it has cut is no opener if the model stopped.
 * *dropped: the limit has cut it, and nothing of it is given out. */
static enum found find_opener(struct answer *a, size_t p, bool wrapped, struct opener *o,
                              bool *dropped)
{
    bool ended = a->ended;
    a->ended = false;
    enum found f = read_opener(a, p, wrapped, o);
    a->ended = ended;
    *dropped = f == MORE && ended && a->at_length;
    return f == MORE && ended ? NO : f;
}

static bool begin_call(struct answer *a, const struct opener *o, struct error *err)
{
    const struct value *parameters = o->function ? value_member(o->function, "parameters") : NULL;
    const struct value *properties = parameters ? value_member(parameters, "properties") : NULL;
    a->call_root = parameters ? *parameters : value_none();
    a->call_properties = properties ? *properties : value_none();
    a->object_open = a->call_complete = false;
    a->any = true;
    a->calls++;
    a->state = IN_CALL;
    drop_to(a, o->end);
    return value_mapping_make(&a->keys, VALUE_MAPPING, &a->w, err)
        && give(a, ANSWER_NAME, o->name.bytes, o->name.n, err);
}

/* ---- thinking and content --------------------------------------------------------------- */

/* Takes line ends that framing has to come. */
static enum found take_line_end(struct answer *a)
{
    const char *c = a->text.data + a->at;
    size_t left = a->text.size - a->at, n = 0;
    if (left && *c == '\n')
        n = 1;
    else if (!a->ended && (left == 0 || (left == 1 && *c == '\r')))
        return MORE;
    else if (left > 1 && *c == '\r' && c[1] == '\n')
        n = 2;
    a->skip_line_ends = n ? a->skip_line_ends - 1 : 0;
    drop_to(a, a->at + n);
    return YES;
}

/* Where the white space in front of `at` ends without its last line end. */
static size_t without_line_end(const struct answer *a, size_t begin, size_t end)
{
    end -= end > begin && a->text.data[end - 1] == '\n';
    return end - (end > begin && a->text.data[end - 1] == '\r' && a->text.data[end] == '\n');
}

/* The marks that mean something here; N_MARKS ends them. */
static enum found find_mark(const struct answer *a, const enum mark *marks, enum mark *which)
{
    bool more = false;
    for (; *marks != N_MARKS; marks++) {
        enum found f = match(a, a->at, *marks);
        *which = *marks;
        if (f == YES)
            return YES;
        more = more || f == MORE;
    }
    return more ? MORE : NO;
}

static bool end_thinking(struct answer *a, struct error *err)
{
    size_t end = without_line_end(a, a->held, a->at), behind = a->at + strlen(spelling[END_THINK]);
    bool ok = end == a->held || give_text(a, end, err);
    a->state = IN_CONTENT;
    a->any = true;
    a->skip_line_ends = 2;
    drop_to(a, behind);
    return ok;
}

/* The mark at a->at, in thinking.  *f: MORE if what follows decides. */
static bool think_mark(struct answer *a, enum mark m, enum found *f, struct error *err)
{
    size_t behind = a->at + strlen(spelling[m]);
    struct opener o;
    bool dropped;
    if (m == END_THINK)
        return end_thinking(a, err);
    if (m == THINK) {                   /* a model that begins with the prompt's own tag */
        bool first = a->at == 0;
        if (!first && a->held < a->at && !give_text(a, a->at, err))
            return false;
        drop_to(a, behind);
        a->skip_line_ends = first;
        return true;
    }
    *f = a->has_tools ? find_opener(a, a->at, true, &o, &dropped) : NO;
    if (*f == MORE)
        return true;
    if (*f == YES && o.function)
        return begin_call(a, &o, err);
    if (*f == NO && a->has_tools && dropped) {
        drop_to(a, a->text.size);
        return true;
    }
    *f = YES;
    return give_text(a, behind, err);
}

static bool content_mark(struct answer *a, enum mark m, enum found *f, struct error *err)
{
    size_t behind = a->at + strlen(spelling[m]);
    struct opener o;
    bool dropped = false;
    *f = YES;
    if (m == THINK && !a->any) {
        a->state = IN_THINKING;
        a->any = true;
        a->skip_line_ends = 1;
        drop_to(a, behind);
        return true;
    }
    if (m == THINK) {
        a->think_is_text = true;
        return give_text(a, behind, err);
    }
    if (m == END_THINK && !a->think_is_text) {
        bool stays = a->any_content && !a->after_call && a->held < a->at;
        bool ok = !stays || give_text(a, a->at, err);
        a->skip_line_ends = a->any_content ? 0 : 2;
        drop_to(a, behind);
        return ok;
    }
    if (m == END_THINK) {
        a->think_is_text = false;
        return give_text(a, behind, err);
    }
    if (m == END_CALL && a->after_call) {
        drop_to(a, behind);
        return true;
    }
    *f = m == END_CALL ? NO : find_opener(a, a->at, m == CALL, &o, &dropped);
    if (*f == MORE)
        return true;
    if (*f == YES && (m == CALL || o.function))
        return begin_call(a, &o, err);
    *f = YES;
    if (!dropped)
        return give_text(a, behind, err);
    drop_to(a, a->text.size);
    return true;
}

/* May a call without wrapper begin at a->at? */
static bool is_line_start(const struct answer *a)
{
    return !a->any_content || a->after_call || (a->at && a->text.data[a->at - 1] == '\n');
}

/* The marks of this state. */
static void list_marks(const struct answer *a, enum mark *marks)
{
    size_t n = 0;
    if (!a->rules.no_reasoning) {
        marks[n++] = THINK;
        marks[n++] = END_THINK;
    }
    if (a->has_tools)
        marks[n++] = CALL;
    if (a->has_tools && a->state == IN_CONTENT) {
        marks[n++] = END_CALL;
        if (is_line_start(a))
            marks[n++] = FUNCTION;
    }
    marks[n] = N_MARKS;
}

/* One step of thinking or content.  *f: MORE if it needs more text. */
static bool step_text(struct answer *a, enum found *f, struct error *err)
{
    enum mark marks[8], m;
    *f = YES;
    if (a->skip_line_ends) {
        *f = take_line_end(a);
        return true;
    }
    if (a->at == a->text.size) {
        bool waits = a->held < a->at && !(a->state == IN_CONTENT && a->after_call);
        *f = MORE;
        return !a->ended || !waits || give_text(a, a->at, err);
    }
    if (is_space(a->text.data[a->at])) {
        a->at++;
        return true;
    }
    if (a->text.data[a->at] == '<') {
        list_marks(a, marks);
        *f = find_mark(a, marks, &m);
        if (*f == MORE)
            return true;
        if (*f == YES)
            return a->state == IN_THINKING ? think_mark(a, m, f, err) : content_mark(a, m, f, err);
    }
    size_t end = a->at + 1;
    while (end < a->text.size && a->text.data[end] != '<' && !is_space(a->text.data[end]))
        end++;
    *f = YES;
    return give_text(a, end, err);
}

/* ---- parameters --------------------------------------------------------------------------- */

static bool complete_call(struct answer *a, struct error *err)
{
    bool ok = give(a, ANSWER_ARGUMENTS, a->object_open ? "}" : "{}", a->object_open ? 1 : 2, err);
    a->call_complete = true;
    a->after_call = true;
    a->state = IN_CONTENT;
    a->held = a->at;
    return ok;
}

/* KEY of <parameter=KEY>, whose first byte is at p. */
static enum found read_key(const struct answer *a, size_t p, struct marked_text *key, size_t *end)
{
    size_t at = p;
    while (at < a->text.size && !strchr(">\r\n", a->text.data[at]))
        at++;
    if (at - p > ANSWER_NAME_BYTES)
        return NO;
    if (at == a->text.size)
        return a->ended ? NO : MORE;
    if (a->text.data[at] != '>')
        return NO;
    const struct marked_text all = marked_text_plain(a->text.data + p, at - p);
    struct marked_text bare;
    *key = bare = marked_text_strip(&all, NULL, true, true);
    if (!is_declared(a, key) && unquote(&bare) && is_declared(a, &bare))
        *key = bare;
    *end = at + 1;
    return YES;
}

static bool begin_value(struct answer *a, const struct marked_text *key, size_t begin,
                        struct error *err)
{
    const struct value yes = value_boolean(true);
    const char *copy = workspace_copy(&a->w, key->bytes, key->n, err);
    if (!copy)
        return false;
    const struct value *schema = a->call_properties.kind == VALUE_MAPPING
                               ? value_mapping_get(a->call_properties.of.mapping, key) : NULL;
    a->key = marked_text_plain(copy, key->n);
    a->types = schema ? coercion_types(schema, &a->call_root) : 0;
    a->repeated = value_mapping_get(a->keys.of.mapping, &a->key) != NULL;
    a->key_written = false;
    a->value_begins = true;
    a->quoted = 0;
    a->state = IN_VALUE;
    a->value_begin = a->sent = begin;
    drop_to(a, begin);
    return value_mapping_set(a->keys.of.mapping, &a->key, &yes, &a->w, err);
}

/* The rest, from the mark where generation broke off, is dropped. */
static enum found stop_here(struct answer *a)
{
    drop_to(a, a->text.size);
    return MORE;
}

static bool call_mark(struct answer *a, enum mark m, enum found *f, struct error *err)
{
    size_t behind = a->at + strlen(spelling[m]);
    struct marked_text key;
    *f = YES;
    if (m == END_FUNCTION || m == END_CALL)
        drop_to(a, behind);
    if (m != PARAMETER)
        return complete_call(a, err);
    *f = read_key(a, behind, &key, &behind);
    if (*f == YES)
        return begin_value(a, &key, behind, err);
    if (*f == NO && a->ended && !memchr(a->text.data + behind, '\n', a->text.size - behind)) {
        a->at_length = true;            /* broken off inside of the tag: the call stays open */
        *f = stop_here(a);
    } else if (*f == NO) {
        drop_to(a, behind);
        *f = YES;
    }
    return true;
}

static bool step_call(struct answer *a, enum found *f, struct error *err)
{
    static const enum mark marks[] = { PARAMETER, END_FUNCTION, END_CALL, CALL, FUNCTION, N_MARKS };
    enum mark m;
    *f = YES;
    if (a->at == a->text.size) {
        *f = MORE;
        return !a->ended || a->at_length || complete_call(a, err);
    }
    if (a->text.data[a->at] == '<') {
        *f = find_mark(a, marks, &m);
        if (*f == YES)
            return call_mark(a, m, f, err);
        if (*f == MORE)
            return true;
    }
    *f = YES;
    drop_to(a, a->at + 1);
    return true;
}

/* ---- values --------------------------------------------------------------------------------- */

static bool write_key(struct answer *a, struct marked_text_builder *b, struct error *err)
{
    bool ok = marked_text_append_word(b, a->object_open ? ", " : "{", err)
           && value_json_write_string(b, &a->key, err) && marked_text_append_word(b, ": ", err);
    a->object_open = a->key_written = true;
    return ok;
}

static bool give_built(struct answer *a, struct marked_text_builder *b, bool ok, struct error *err)
{
    ok = ok && give(a, ANSWER_ARGUMENTS, b->bytes.data, b->bytes.size, err);
    marked_text_builder_free(b);
    return ok;
}

/* Gives out a text value up to `end`; closes: it ends there. */
static bool give_value(struct answer *a, size_t end, bool closes, struct error *err)
{
    struct marked_text_builder b = { 0 };
    bool ok = true;
    if (a->repeated || (end <= a->sent && !closes))
        return true;
    if (!a->key_written)
        ok = write_key(a, &b, err) && marked_text_append_word(&b, "\"", err);
    const struct marked_text text = marked_text_plain(a->text.data + a->sent,
                                                      end > a->sent ? end - a->sent : 0);
    ok = ok && value_json_write_inside(&b, &text, err)
      && (!closes || marked_text_append_word(&b, "\"", err));
    a->sent = size_max(a->sent, end);
    return give_built(a, &b, ok, err);
}

/* The value ends in front of the mark at a->at; reading goes on at `next`. */
static bool end_value(struct answer *a, size_t next, struct error *err)
{
    size_t end = without_line_end(a, a->sent, a->at);
    bool ok = true;
    a->state = IN_CALL;
    if (coercion_is_text(a->types))
        ok = give_value(a, end, true, err);
    else if (!a->repeated) {
        struct marked_text_builder b = { 0 };
        const struct marked_text text = marked_text_plain(a->text.data + a->value_begin,
                                                          end - a->value_begin);
        ok = write_key(a, &b, err) && coercion_write(&b, a->types, &text, &a->w, err);
        ok = give_built(a, &b, ok, err);
    }
    drop_to(a, next);
    return ok;
}

/* Is the <parameter=KEY> at a->at a new parameter that ends the value? */
static enum found ends_by_parameter(const struct answer *a)
{
    struct marked_text key;
    size_t end;
    if (a->at == 0 || a->text.data[a->at - 1] != '\n')
        return NO;
    enum found f = read_key(a, a->at + strlen(spelling[PARAMETER]), &key, &end);
    if (f != YES)
        return f;
    bool any_key =
        a->call_properties.kind != VALUE_MAPPING || a->call_properties.of.mapping->n == 0;
    return (any_key || is_declared(a, &key)) && !value_mapping_get(a->keys.of.mapping, &key) ? YES
                                                                                             : NO;
}

/* Does the mark at a->at end the value? */
static enum found ends_value(struct answer *a, enum mark m)
{
    static const enum mark behind_parameter[] = { PARAMETER, END_FUNCTION, END_CALL, N_MARKS };
    static const enum mark behind_function[] = { END_CALL, CALL, FUNCTION, N_MARKS };
    static const enum mark behind_call[] = { CALL, N_MARKS };
    size_t behind = a->at + strlen(spelling[m]);
    switch (m) {
    case END_PARAMETER: return follows(a, behind, behind_parameter, true);
    case END_FUNCTION:  return follows(a, behind, behind_function, true);
    case END_CALL:      return follows(a, behind, behind_call, true);
    default:            return ends_by_parameter(a);
    }
}

/* A call inside of a value is quoted up to its own end. */
static enum found step_quoted(struct answer *a, enum mark m)
{
    static const enum mark function[] = { FUNCTION, N_MARKS };
    size_t behind = a->at + strlen(spelling[m]);
    if (m == END_CALL)
        a->quoted -= a->quoted > 0;
    else if (m == CALL) {
        enum found f = follows(a, behind, function, false);
        if (f == MORE)
            return MORE;
        a->quoted += f == YES;
    }
    a->at = behind;
    return YES;
}

/* Generation ended inside of the value: the call stays open. */
static bool break_off(struct answer *a, struct error *err)
{
    static const enum mark closing[] = { END_PARAMETER, END_FUNCTION, END_CALL };
    size_t end = a->text.size;
    const char *last = memrchr(a->text.data + a->sent, '<', end - a->sent);
    size_t at = last ? (size_t)(last - a->text.data) : end;
    for (size_t i = 0; i < sizeof closing / sizeof *closing; i++)
        if (last && end - at > 1 && end - at < strlen(spelling[closing[i]])
            && memcmp(last, spelling[closing[i]], end - at) == 0)
            a->text.size = at;          /* a held beginning of an end */
    end = without_line_end(a, a->sent, a->text.size);
    drop_to(a, a->text.size);
    return !coercion_is_text(a->types) || give_value(a, end, false, err);
}

/* The line end behind <parameter=KEY> is framing. */
static enum found begin_of_value(struct answer *a)
{
    a->skip_line_ends = 1;
    enum found f = take_line_end(a);
    a->skip_line_ends = 0;
    if (f == MORE)
        return MORE;
    a->value_begins = false;
    a->value_begin = a->sent = a->at;
    return YES;
}

/* What of a text value is certain: not a line end in front of what may be its end. */
static bool give_certain(struct answer *a, struct error *err)
{
    size_t end = a->at;
    if (!coercion_is_text(a->types))
        return true;
    if (end > a->sent && a->text.data[end - 1] == '\r')
        return give_value(a, end - 1, false, err);
    return give_value(a, without_line_end(a, a->sent, end), false, err);
}

static bool step_value(struct answer *a, enum found *f, struct error *err)
{
    static const enum mark marks[] = { END_PARAMETER, END_FUNCTION, END_CALL, PARAMETER, CALL,
                                       N_MARKS };
    enum mark m;
    *f = YES;
    if (a->value_begins) {
        *f = begin_of_value(a);
        return true;
    }
    const char *next = memchr(a->text.data + a->at, '<', a->text.size - a->at);
    a->at = next ? (size_t)(next - a->text.data) : a->text.size;
    if (!next) {
        *f = MORE;
        return a->ended ? break_off(a, err) : give_certain(a, err);
    }
    *f = find_mark(a, marks, &m);
    if (*f == YES && !a->quoted && m != CALL) {
        enum found ends = ends_value(a, m);
        if (ends == YES)
            return end_value(a, m == END_PARAMETER ? a->at + strlen(spelling[m]) : a->at, err);
        *f = ends == MORE ? MORE : YES;
        a->at += ends == NO ? strlen(spelling[m]) : 0;
    } else if (*f == YES)
        *f = step_quoted(a, m);
    else if (*f == NO) {
        a->at++;
        *f = YES;
    }
    return *f != MORE || give_certain(a, err);
}

/* ---- feeding --------------------------------------------------------------------------------- */

/* Goes on as far as the text decides. */
static bool advance(struct answer *a, struct error *err)
{
    enum found f = YES;
    bool ok = true;
    while (ok && f != MORE) {
        while (a->first_tag < a->n_tags && a->tags[a->first_tag].at < a->at)
            a->first_tag++;
        ok = a->state == IN_CALL ? step_call(a, &f, err)
           : a->state == IN_VALUE ? step_value(a, &f, err) : step_text(a, &f, err);
    }
    return ok;
}

/* Bytes of the character that is broken at s: its first one and what continues it.  *open: more
 * bytes could continue it. */
static size_t broken_length(const char *s, size_t n, bool *open)
{
    unsigned char c = (unsigned char)s[0];
    size_t whole = c >= 0xF0 && c < 0xF5 ? 4
                 : c >= 0xE0 && c < 0xF0 ? 3
                 : c >= 0xC2 && c < 0xE0 ? 2
                                         : 1;
    size_t length = 1;
    while (length < whole && length < n && ((unsigned char)s[length] & 0xC0) == 0x80)
        length++;
    *open = length == n && length < whole;
    return length;
}

/* Appends text as well-formed UTF-8, with U+FFFD for what is broken; unless `all`, the beginning of
 * a character at the end waits. */
static bool append_valid(struct answer *a, const char *s, size_t n, bool all, struct error *err)
{
    size_t plain = 0, i = 0, length;
    bool open = false, ok = true;
    while (ok && i < n) {
        if ((length = utf8_length(s + i, n - i))) {
            i += length;
            continue;
        }
        ok = i == plain || buffer_append(&a->text, s + plain, i - plain, err);
        length = broken_length(s + i, n - i, &open);
        if (open && !all) {
            memcpy(a->cut, s + i, length);
            a->n_cut = length;
        } else
            ok = ok && buffer_append(&a->text, "\xEF\xBF\xBD", 3, err);
        plain = i += length;
    }
    return ok && (plain == n || buffer_append(&a->text, s + plain, n - plain, err));
}

static bool append(struct answer *a, const char *bytes, size_t n, bool all, struct error *err)
{
    struct buffer joined = { 0 };
    if (a->n_cut == 0)
        return append_valid(a, bytes, n, all, err);
    bool ok = buffer_append(&joined, a->cut, a->n_cut, err)
           && (n == 0 || buffer_append(&joined, bytes, n, err));
    a->n_cut = 0;
    ok = ok && append_valid(a, joined.data, joined.size, all, err);
    buffer_free(&joined);
    return ok;
}

bool answer_feed(struct answer *a, const char *bytes, size_t n, struct error *err)
{
    return append(a, bytes, n, false, err) && advance(a, err);
}

bool answer_feed_tag(struct answer *a, enum answer_tag tag, struct error *err)
{
    if (!append(a, "", 0, true, err)
        || !mem_grow(&a->tags, &a->tags_capacity, a->n_tags + 1, sizeof *a->tags,
                     "the tags of an answer", err))
        return false;
    a->tags[a->n_tags++] = (struct tag_place){ a->text.size, tag };
    return buffer_append(&a->text, spelling[tag], strlen(spelling[tag]), err) && advance(a, err);
}

bool answer_end(struct answer *a, bool at_length, struct error *err)
{
    bool ok = append(a, "", 0, true, err) && buffer_append(&a->text, "", 0, err);
    a->ended = true;
    a->at_length = at_length;
    ok = ok && advance(a, err);
    a->at_length = at_length;
    return ok;
}

const char *answer_finish_reason(const struct answer *a)
{
    return a->at_length ? "length"
         : a->calls && a->call_complete && !a->rules.drop_calls ? "tool_calls" : "stop";
}
