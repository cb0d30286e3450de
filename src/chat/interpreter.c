#include "chat/interpreter.h"

#include <string.h>

#include "base/format.h"
#include "chat/arithmetic.h"
#include "chat/filters.h"

struct binding {
    const struct marked_text *name;
    struct value value;
};

struct scope {
    struct scope *outer;
    struct binding *bindings;
    size_t n, capacity;
    bool kept;                          /* by a macro that was defined in it */
};

struct interpreter_macro {
    const struct syntax_node *node;
    struct scope *scope;
};

struct interpreter_loop {
    const struct value_list *list;
    size_t index;
};

enum jump { NO_JUMP, BREAK_LOOP, CONTINUE_LOOP };

struct evaluation {
    struct marked_text_builder *out;
    struct scope *scope;
    const struct marked_text *loop_name;        /* NULL: the template has no `loop` */
    time_t now;
    unsigned line, depth, macros;
    enum jump jump;
    struct workspace *w;
    struct error *err;
};

typedef const struct syntax_node *node;

static bool evaluate(struct evaluation *e, struct value *out, node n);
static bool execute(struct evaluation *e, node first);

/* ---- scopes --------------------------------------------------------------------- */

static struct value *find_in(const struct scope *s, const struct marked_text *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->bindings[i].name == name)
            return &s->bindings[i].value;
    return NULL;
}

/* NULL: no scope has the name, or (*ok false) there were too many steps. */
static const struct value *find(struct evaluation *e, const struct marked_text *name, bool *ok)
{
    const struct value *found = NULL;
    size_t looked = 0;
    for (const struct scope *s = e->scope; s && !found; s = s->outer) {
        found = find_in(s, name);
        looked += s->n;
    }
    *ok = workspace_step(e->w, looked, e->err);
    return found;
}

static bool bind(struct evaluation *e, const struct marked_text *name, const struct value *v)
{
    struct scope *s = e->scope;
    struct value *there = find_in(s, name);
    if (there) {
        *there = *v;
        return true;
    }
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 8;
        struct binding *more = workspace_take(e->w, capacity * sizeof *more, e->err);
        if (!more)
            return false;
        if (s->n)
            memcpy(more, s->bindings, s->n * sizeof *more);
        s->bindings = more;
        s->capacity = capacity;
    }
    s->bindings[s->n++] = (struct binding){ name, *v };
    return workspace_step(e->w, s->n, e->err);
}

static struct scope *open_scope(struct evaluation *e, struct scope *outer)
{
    struct scope *s = workspace_take(e->w, sizeof *s, e->err);
    if (s)
        s->outer = outer;
    return s;
}

/* ---- members --------------------------------------------------------------------- */

/* Python's methods of a dict hide its keys behind the dot. */
static bool hides_key(const struct marked_text *name)
{
    static const char *const methods[] = { "clear",      "copy",   "fromkeys", "get",
                                           "items",      "keys",   "pop",      "popitem",
                                           "setdefault", "update", "values" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (marked_text_is(name, methods[i]))
            return true;
    return false;
}

static struct value loop_member(const struct interpreter_loop *l, const struct marked_text *name)
{
    const int64_t n = (int64_t)l->list->n, i = (int64_t)l->index;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        { "index0", i }, { "index", i + 1 }, { "length", n }, { "revindex", n - i },
        { "revindex0", n - i - 1 },
    };
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (marked_text_is(name, numbers[k].name))
            return value_integer(numbers[k].value);
    if (marked_text_is(name, "first"))
        return value_boolean(i == 0);
    if (marked_text_is(name, "last"))
        return value_boolean(i + 1 == n);
    if (marked_text_is(name, "previtem") && i > 0)
        return l->list->items[i - 1];
    if (marked_text_is(name, "nextitem") && i + 1 < n)
        return l->list->items[i + 1];
    return value_undefined(name->bytes, name->n);
}

static bool get_attribute(struct evaluation *e, struct value *out, const struct value *v,
                          const struct marked_text *name)
{
    const struct value *found = NULL;
    int method = filters_find_method(name);
    if (v->kind == VALUE_UNDEFINED)
        return arithmetic_refuse_undefined(v, e->err);
    *out = value_undefined(name->bytes, name->n);
    if (v->kind == VALUE_LOOP)
        *out = loop_member(v->of.loop, name);
    else if ((v->kind == VALUE_MAPPING && hides_key(name))
             || (method >= 0 && filters_has_method(v, (unsigned)method)))
        *out = (struct value){ .kind = VALUE_FUNCTION };
    else if (v->kind == VALUE_MAPPING || v->kind == VALUE_NAMESPACE)
        found = value_mapping_get(v->of.mapping, name);
    if (found)
        *out = *found;
    return true;
}

static bool get_item(struct evaluation *e, struct value *out, const struct value *v,
                     const struct value *key)
{
    const struct value *found = NULL;
    int64_t i = key->kind == VALUE_BOOLEAN ? key->of.boolean : key->of.integer;
    bool is_index = key->kind == VALUE_BOOLEAN || key->kind == VALUE_INTEGER;
    *out = value_undefined("an element", 10);
    if (v->kind == VALUE_UNDEFINED)
        return arithmetic_refuse_undefined(v, e->err);
    if (key->kind == VALUE_STRING) {
        if (v->kind == VALUE_MAPPING)
            found = value_mapping_get(v->of.mapping, &key->of.string);
        if (!found)
            return get_attribute(e, out, v, &key->of.string);
    } else if (is_index && (v->kind == VALUE_LIST || v->kind == VALUE_TUPLE)) {
        size_t at = arithmetic_index(i, v->of.list->n);
        found = at < v->of.list->n ? &v->of.list->items[at] : NULL;
    } else if (is_index && v->kind == VALUE_STRING) {
        struct value_list *characters;
        if (!filters_iterate(&characters, v, e->w, e->err))
            return false;
        size_t at = arithmetic_index(i, characters->n);
        found = at < characters->n ? &characters->items[at] : NULL;
    }
    if (found)
        *out = *found;
    return true;
}

/* ---- calls -------------------------------------------------------------------------- */

static bool evaluate_arguments(struct evaluation *e, struct filters_arguments *out, node list)
{
    *out = (struct filters_arguments){ .n = 0 };
    for (node n = list; n; n = n->next) {
        if (out->n == FILTERS_ARGUMENTS)
            return error_set(e->err, "a call with more than %d arguments", FILTERS_ARGUMENTS);
        bool keyword = n->kind == SYNTAX_KEYWORD;
        if (keyword)
            out->names[out->n] = *n->name;
        if (!evaluate(e, &out->values[out->n], keyword ? n->a : n))
            return false;
        out->n++;
    }
    return true;
}

/* Binds the arguments of a call to the parameters of a macro.  Arguments are evaluated in the
 * caller's scope, defaults in the macro's. */
static bool bind_arguments(struct evaluation *e, const struct interpreter_macro *m, node arguments,
                           struct scope *inside)
{
    struct scope *caller = e->scope;
    struct value v;
    node parameter = m->node->b, argument = arguments;
    bool ok = true;
    for (; ok && argument; argument = argument->next) {
        bool keyword = argument->kind == SYNTAX_KEYWORD;
        node to = parameter;
        if (keyword)
            for (to = m->node->b; to && to->name != argument->name; to = to->next)
                ;
        if (!to || (keyword && find_in(inside, to->name)))
            return error_set(e->err, "the macro '%.*s' does not take this argument",
                             (int)size_min(m->node->name->n, 100), m->node->name->bytes);
        ok = evaluate(e, &v, keyword ? argument->a : argument);
        e->scope = inside;
        ok = ok && bind(e, to->name, &v);
        e->scope = caller;
        if (!keyword)
            parameter = parameter->next;
    }
    e->scope = inside;
    for (parameter = m->node->b; ok && parameter; parameter = parameter->next) {
        if (find_in(inside, parameter->name))
            continue;
        v = value_undefined(parameter->name->bytes, parameter->name->n);
        ok = (!parameter->a || evaluate(e, &v, parameter->a)) && bind(e, parameter->name, &v);
    }
    e->scope = caller;
    return ok;
}

static bool call_macro(struct evaluation *e, struct value *out, const struct interpreter_macro *m,
                       node arguments)
{
    if (e->macros == INTERPRETER_MACROS)
        return error_set(e->err, "macros call each other more than %d deep", INTERPRETER_MACROS);
    struct scope *inside = open_scope(e, m->scope), *caller = e->scope;
    if (!inside || !bind_arguments(e, m, arguments, inside))
        return false;
    struct marked_text_builder text = { .limit = INTERPRETER_OUTPUT_BYTES }, *outer = e->out;
    e->macros++;
    e->scope = inside;
    e->out = &text;
    bool ok = execute(e, m->node->list);
    e->out = outer;
    e->scope = caller;
    e->macros--;
    struct marked_text made;
    if (!ok || !marked_text_finish(&made, &text, e->w, e->err)) {
        marked_text_builder_free(&text);
        return false;
    }
    *out = value_string(made);
    return true;
}

static bool call_namespace(struct evaluation *e, struct value *out, node arguments)
{
    if (!value_mapping_make(out, VALUE_NAMESPACE, e->w, e->err))
        return false;
    for (node n = arguments; n; n = n->next) {
        struct value v;
        if (n->kind != SYNTAX_KEYWORD)
            return error_set(e->err, "namespace with an argument that has no name");
        if (!evaluate(e, &v, n->a)
            || !value_mapping_set(out->of.mapping, n->name, &v, e->w, e->err))
            return false;
    }
    return true;
}

static bool call_raise_exception(struct evaluation *e, struct value *out, node arguments)
{
    struct filters_arguments args;
    struct marked_text text = { .n = 0 };
    if (!evaluate_arguments(e, &args, arguments)
        || (args.n && !value_to_text(&text, &args.values[0], e->w, e->err)))
        return false;
    (void)out;
    return error_set(e->err, "%.*s", (int)size_min(text.n, 500), text.n ? text.bytes : "");
}

static bool call_range(struct evaluation *e, struct value *out, node arguments)
{
    struct filters_arguments args;
    int64_t bounds[3] = { 0, 0, 1 };
    if (!evaluate_arguments(e, &args, arguments))
        return false;
    for (size_t i = 0; i < args.n; i++) {
        if (args.n > 3 || args.names[i].n || args.values[i].kind != VALUE_INTEGER)
            return error_set(e->err, "range with arguments that are not one to three integers");
        bounds[args.n == 1 ? 1 : i] = args.values[i].of.integer;
    }
    if (args.n == 0 || bounds[2] == 0)
        return error_set(e->err, "range without an end, or with the step 0");
    __int128 span = bounds[2] > 0 ? (__int128)bounds[1] - bounds[0]
                                  : (__int128)bounds[0] - bounds[1];
    __int128 step = bounds[2] > 0 ? bounds[2] : -(__int128)bounds[2];
    __int128 n = span > 0 ? (span - 1) / step + 1 : 0;
    if (n > INTERPRETER_RANGE)
        return error_set(e->err, "range of more than %d numbers", INTERPRETER_RANGE);
    if (!workspace_step(e->w, (size_t)n, e->err)
        || !value_list_make(out, VALUE_LIST, (size_t)n, e->w, e->err))
        return false;
    for (int64_t i = 0; i < (int64_t)n; i++)
        out->of.list->items[i] = value_integer(bounds[0] + i * bounds[2]);
    return true;
}

static bool call_strftime_now(struct evaluation *e, struct value *out, node arguments)
{
    struct filters_arguments args;
    struct tm at;
    char format[256], text[1024];
    if (!evaluate_arguments(e, &args, arguments))
        return false;
    if (args.n != 1 || args.values[0].kind != VALUE_STRING
        || args.values[0].of.string.n >= sizeof format)
        return error_set(e->err, "strftime_now without a format, or with one of 256 bytes or more");
    memcpy(format, args.values[0].of.string.bytes, args.values[0].of.string.n);
    format[args.values[0].of.string.n] = '\0';
    size_t n = localtime_r(&e->now, &at) ? format_time(text, sizeof text, format, &at) : 0;
    const char *copy = workspace_copy(e->w, text, n, e->err);
    *out = value_string(marked_text_plain(copy, n));
    return copy != NULL;
}

static bool call_global(struct evaluation *e, struct value *out, node n)
{
    static const struct {
        const char *name;
        bool (*call)(struct evaluation *e, struct value *out, node arguments);
    } functions[] = {
        { "namespace", call_namespace }, { "raise_exception", call_raise_exception },
        { "range", call_range }, { "strftime_now", call_strftime_now },
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (marked_text_is(n->a->name, functions[i].name))
            return functions[i].call(e, out, n->list);
    return error_set(e->err, "'%.*s' is undefined", (int)size_min(n->a->name->n, 100),
                     n->a->name->bytes);
}

static bool call(struct evaluation *e, struct value *out, node n)
{
    struct value callee;
    if (n->a->kind == SYNTAX_ATTRIBUTE) {
        struct value of;
        int method = filters_find_method(n->a->name);
        if (!evaluate(e, &of, n->a->a))
            return false;
        if (method >= 0 && filters_has_method(&of, (unsigned)method)) {
            struct filters_arguments args;
            return evaluate_arguments(e, &args, n->list)
                && filters_call_method(out, (unsigned)method, &of, &args, e->w, e->err);
        }
        if (!get_attribute(e, &callee, &of, n->a->name))
            return false;
    } else {
        bool ok;
        const struct value *found = find(e, n->a->name, &ok);
        if (!ok || !found)
            return ok && call_global(e, out, n);
        callee = *found;
    }
    if (callee.kind == VALUE_MACRO)
        return call_macro(e, out, callee.of.macro, n->list);
    return callee.kind == VALUE_UNDEFINED
         ? arithmetic_refuse_undefined(&callee, e->err)
         : error_set(e->err, "%s is called", value_type(&callee));
}

/* ---- expressions ---------------------------------------------------------------------- */

static bool evaluate_name(struct evaluation *e, struct value *out, node n)
{
    static const char *const functions[] = { "namespace", "raise_exception", "range",
                                             "strftime_now" };
    bool ok;
    const struct value *found = find(e, n->name, &ok);
    *out = found ? *found : value_undefined(n->name->bytes, n->name->n);
    for (size_t i = 0; !found && i < sizeof functions / sizeof *functions; i++)
        if (marked_text_is(n->name, functions[i]))
            out->kind = VALUE_FUNCTION;
    return ok;
}

static bool evaluate_list(struct evaluation *e, struct value *out, node n)
{
    size_t length = 0;
    for (node i = n->list; i; i = i->next)
        length++;
    if (!value_list_make(out, n->kind == SYNTAX_LIST ? VALUE_LIST : VALUE_TUPLE, length, e->w,
                         e->err))
        return false;
    struct value *item = out->of.list->items;
    for (node i = n->list; i; i = i->next, item++)
        if (!evaluate(e, item, i))
            return false;
    return true;
}

static bool evaluate_mapping(struct evaluation *e, struct value *out, node n)
{
    if (!value_mapping_make(out, VALUE_MAPPING, e->w, e->err))
        return false;
    for (node i = n->list; i; i = i->next->next) {
        struct value key, v;
        if (!evaluate(e, &key, i) || !evaluate(e, &v, i->next))
            return false;
        if (key.kind != VALUE_STRING)
            return error_set(e->err, "a mapping with %s as its key", value_type(&key));
        if (!value_mapping_set(out->of.mapping, &key.of.string, &v, e->w, e->err))
            return false;
    }
    return true;
}

static bool evaluate_slice(struct evaluation *e, struct value *out, node n)
{
    struct value of, bounds[3];
    if (!evaluate(e, &of, n->a))
        return false;
    size_t i = 0;
    for (node bound = n->list; bound; bound = bound->next, i++)
        if (!evaluate(e, &bounds[i], bound))
            return false;
    return arithmetic_slice(out, &of, bounds, e->w, e->err);
}

static bool evaluate_compare(struct evaluation *e, struct value *out, node n)
{
    struct value left, right;
    bool holds = true;
    if (!evaluate(e, &left, n->a))
        return false;
    for (node c = n->list; holds && c; c = c->next) {
        if (!evaluate(e, &right, c->a)
            || !arithmetic_compare(&holds, c->op, &left, &right, e->w, e->err))
            return false;
        left = right;
    }
    *out = value_boolean(holds);
    return true;
}

static bool evaluate_binary(struct evaluation *e, struct value *out, node n)
{
    struct value a, b;
    return evaluate(e, &a, n->a) && evaluate(e, &b, n->b)
        && arithmetic_binary(out, n->op, &a, &b, e->w, e->err);
}

static bool evaluate_member(struct evaluation *e, struct value *out, node n)
{
    struct value of, key;
    if (!evaluate(e, &of, n->a))
        return false;
    if (n->kind == SYNTAX_ATTRIBUTE)
        return get_attribute(e, out, &of, n->name);
    return evaluate(e, &key, n->b) && get_item(e, out, &of, &key);
}

static bool evaluate_filter(struct evaluation *e, struct value *out, node n)
{
    struct value v;
    struct filters_arguments args;
    return evaluate(e, &v, n->a) && evaluate_arguments(e, &args, n->list)
        && filters_apply(out, n->which, &v, &args, e->w, e->err);
}

static bool evaluate_condition(struct evaluation *e, struct value *out, node n)
{
    struct value condition;
    if (!evaluate(e, &condition, n->b))
        return false;
    if (value_truth(&condition))
        return evaluate(e, out, n->a);
    *out = value_undefined("an if without an else", 21);
    return !n->c || evaluate(e, out, n->c);
}

static bool evaluate_kind(struct evaluation *e, struct value *out, node n)
{
    struct value v;
    switch (n->kind) {
    case SYNTAX_CONSTANT:  *out = n->value; return true;
    case SYNTAX_OMITTED:   *out = value_none(); return true;
    case SYNTAX_NAME:      return evaluate_name(e, out, n);
    case SYNTAX_LIST: case SYNTAX_TUPLE: return evaluate_list(e, out, n);
    case SYNTAX_MAPPING:   return evaluate_mapping(e, out, n);
    case SYNTAX_ATTRIBUTE: case SYNTAX_SUBSCRIPT: return evaluate_member(e, out, n);
    case SYNTAX_SLICE:     return evaluate_slice(e, out, n);
    case SYNTAX_BINARY:    return evaluate_binary(e, out, n);
    case SYNTAX_COMPARE:   return evaluate_compare(e, out, n);
    case SYNTAX_CONDITION: return evaluate_condition(e, out, n);
    case SYNTAX_CALL:      return call(e, out, n);
    case SYNTAX_FILTER:    return evaluate_filter(e, out, n);
    case SYNTAX_NEGATE:
        return evaluate(e, &v, n->a) && arithmetic_negate(out, &v, e->err);
    case SYNTAX_NOT:
        if (!evaluate(e, &v, n->a))
            return false;
        *out = value_boolean(!value_truth(&v));
        return true;
    case SYNTAX_TEST:
        if (!evaluate(e, &v, n->a))
            return false;
        *out = value_boolean(filters_test(n->which, &v));
        return true;
    default:                            /* AND, OR */
        return evaluate(e, out, n->a)
            && (value_truth(out) == (n->kind == SYNTAX_OR) || evaluate(e, out, n->b));
    }
}

static bool go_deeper(struct evaluation *e, node n)
{
    e->line = n->line;
    if (e->depth == INTERPRETER_DEPTH)
        return error_set(e->err, "expressions and statements are nested deeper than %d",
                         INTERPRETER_DEPTH);
    e->depth++;
    return workspace_step(e->w, 0, e->err);
}

static bool evaluate(struct evaluation *e, struct value *out, node n)
{
    if (!go_deeper(e, n))
        return false;
    bool ok = evaluate_kind(e, out, n);
    e->depth--;
    return ok;
}

/* ---- statements -------------------------------------------------------------------------- */

static bool assign(struct evaluation *e, node target, const struct value *v)
{
    if (target->kind == SYNTAX_NAME)
        return bind(e, target->name, v);
    if (target->kind == SYNTAX_ATTRIBUTE) {
        struct value of;
        if (!evaluate(e, &of, target->a))
            return false;
        return of.kind == VALUE_NAMESPACE
             ? value_mapping_set(of.of.mapping, target->name, v, e->w, e->err)
             : error_set(e->err, "an attribute of %s is set", value_type(&of));
    }
    struct value_list *list;
    size_t i = 0;
    if (target->kind != SYNTAX_TUPLE || !filters_iterate(&list, v, e->w, e->err))
        return target->kind == SYNTAX_TUPLE ? false : error_set(e->err, "an element is set");
    for (node n = target->list; n; n = n->next, i++)
        if (i < list->n && !bind(e, n->name, &list->items[i]))
            return false;
    return i == list->n || error_set(e->err, "%zu values for %zu names", list->n, i);
}

/* The elements for which the condition of the loop holds. */
static bool filter_sequence(struct evaluation *e, node n, struct value_list **list)
{
    struct value kept, condition;
    if (!value_list_make(&kept, VALUE_LIST, (*list)->n, e->w, e->err))
        return false;
    kept.of.list->n = 0;
    struct scope *outer = e->scope;
    bool ok = (e->scope = open_scope(e, outer)) != NULL;
    for (size_t i = 0; ok && i < (*list)->n; i++) {
        ok = assign(e, n->a, &(*list)->items[i]) && evaluate(e, &condition, n->c);
        if (ok && value_truth(&condition))
            kept.of.list->items[kept.of.list->n++] = (*list)->items[i];
    }
    e->scope = outer;
    *list = kept.of.list;
    return ok;
}

/* Each turn has a scope of its own; they share the memory unless a macro keeps it. */
static bool run_loop(struct evaluation *e, node n, const struct value_list *list)
{
    struct scope *outer = e->scope;
    struct interpreter_loop *loop = workspace_take(e->w, sizeof *loop, e->err);
    const struct value loop_value = { .kind = VALUE_LOOP, .of.loop = loop };
    bool ok = loop != NULL;
    e->scope = NULL;
    for (size_t i = 0; ok && i < list->n && e->jump != BREAK_LOOP; i++) {
        if (!e->scope || e->scope->kept)
            ok = (e->scope = open_scope(e, outer)) != NULL;
        if (!ok)
            break;
        e->scope->n = 0;
        *loop = (struct interpreter_loop){ list, i };
        e->jump = NO_JUMP;
        ok = assign(e, n->a, &list->items[i])
          && (!e->loop_name || bind(e, e->loop_name, &loop_value)) && execute(e, n->list);
    }
    e->jump = NO_JUMP;
    e->scope = outer;
    return ok;
}

static bool execute_for(struct evaluation *e, node n)
{
    struct value sequence;
    struct value_list *list;
    if (!evaluate(e, &sequence, n->b) || !filters_iterate(&list, &sequence, e->w, e->err)
        || (n->c && !filter_sequence(e, n, &list)))
        return false;
    if (list->n || !n->otherwise)
        return run_loop(e, n, list);
    struct scope *outer = e->scope;
    bool ok = (e->scope = open_scope(e, outer)) && execute(e, n->otherwise);
    e->scope = outer;
    return ok;
}

/* An elif, or an if alone in an else, is the next turn of the loop, not a level deeper. */
static bool execute_if(struct evaluation *e, node n)
{
    for (;;) {
        struct value condition;
        if (!evaluate(e, &condition, n->a))
            return false;
        if (value_truth(&condition))
            return execute(e, n->list);
        if (!n->b || n->b->kind != SYNTAX_IF || n->b->next)
            return execute(e, n->b);
        n = n->b;
        e->line = n->line;
    }
}

static bool execute_macro(struct evaluation *e, node n)
{
    struct interpreter_macro *m = workspace_take(e->w, sizeof *m, e->err);
    if (!m)
        return false;
    *m = (struct interpreter_macro){ n, e->scope };
    e->scope->kept = true;
    return bind(e, n->name, &(struct value){ .kind = VALUE_MACRO, .of.macro = m });
}

static bool execute_one(struct evaluation *e, node n)
{
    struct value v;
    switch (n->kind) {
    case SYNTAX_TEXT:
        return workspace_step(e->w, n->value.of.string.n, e->err)
            && marked_text_append(e->out, &n->value.of.string, e->err);
    case SYNTAX_OUTPUT:
        return evaluate(e, &v, n->a) && value_print(e->out, &v, e->w, e->err);
    case SYNTAX_IF:    return execute_if(e, n);
    case SYNTAX_FOR:   return execute_for(e, n);
    case SYNTAX_SET:   return evaluate(e, &v, n->b) && assign(e, n->a, &v);
    case SYNTAX_MACRO: return execute_macro(e, n);
    default:
        e->jump = n->kind == SYNTAX_BREAK ? BREAK_LOOP : CONTINUE_LOOP;
        return true;
    }
}

static bool execute(struct evaluation *e, node first)
{
    bool ok = true;
    for (node n = first; ok && n && e->jump == NO_JUMP; n = n->next) {
        ok = go_deeper(e, n) && execute_one(e, n);
        e->depth--;
    }
    return ok;
}

bool interpreter_run(struct marked_text_builder *out, const struct parser_result *tree,
                  const struct value_mapping *variables, time_t now, const char *path,
                  struct workspace *w, struct error *err)
{
    const struct marked_text loop = marked_text_plain("loop", 4);
    struct scope context = { .n = 0 }, top = { .outer = &context };
    struct evaluation e = { .out = out, .scope = &context, .now = now, .w = w, .err = err,
                            .loop_name = parser_name(tree, &loop) };
    out->limit = INTERPRETER_OUTPUT_BYTES;
    bool ok = true;
    for (size_t i = 0; ok && i < variables->n; i++) {
        const struct marked_text *name = parser_name(tree, &variables->entries[i].key);
        ok = !name || bind(&e, name, &variables->entries[i].value);
    }
    e.scope = &top;
    ok = ok && execute(&e, tree->body);
    return ok || error_prefix(err, "%s: line %u: ", path, e.line);
}
