#include "chat/parser.h"

#include <string.h>

#include "chat/filters.h"

struct parser {
    const struct lexer_token *at;
    const char *path;
    struct value names;                 /* of the template */
    struct value callable;              /* names that macros and assignments have made */
    struct value called;                /* name: line where it is called first */
    unsigned depth, loops;
    bool reads_parts;                   /* a loop runs over something called content */
    struct workspace *w;
    struct error *err;
};

typedef struct syntax_node *node;

static node parse_expression(struct parser *p);
static node parse_unary(struct parser *p, bool with_filters);

/* ---- words -------------------------------------------------------------------- */

static node refuse(struct parser *p, const char *what, const struct marked_text *name)
{
    if (name)
        error_set(p->err, "%s: line %u: %s '%.*s' is not supported", p->path, p->at->line, what,
                  (int)size_min(name->n, 100), name->bytes);
    else
        error_set(p->err, "%s: line %u: %s", p->path, p->at->line, what);
    return NULL;
}

static node unexpected(struct parser *p, const char *expected)
{
    static const char *const kinds[] = { "text", "{{", "}}", "{%", "%}", "", "a string", "a number",
                                         "a number", "", "the end" };
    const struct marked_text *t = &p->at->text;
    if (*kinds[p->at->kind])
        error_set(p->err, "%s: line %u: %s where %s is expected", p->path, p->at->line,
                  kinds[p->at->kind], expected);
    else
        error_set(p->err, "%s: line %u: '%.*s' where %s is expected", p->path, p->at->line,
                  (int)size_min(t->n, 100), t->bytes, expected);
    return NULL;
}

static bool is_operator(const struct parser *p, const char *o)
{
    return p->at->kind == LEXER_OPERATOR && marked_text_is(&p->at->text, o);
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->at->kind == LEXER_NAME && marked_text_is(&p->at->text, word);
}

static bool skip_operator(struct parser *p, const char *o)
{
    bool found = is_operator(p, o);
    p->at += found;
    return found;
}

static bool skip_word(struct parser *p, const char *word)
{
    bool found = is_word(p, word);
    p->at += found;
    return found;
}

static bool expect_operator(struct parser *p, const char *o)
{
    if (skip_operator(p, o))
        return true;
    char expected[8] = "'";
    strcat(strcat(expected, o), "'");
    return unexpected(p, expected) != NULL;
}

static bool expect_kind(struct parser *p, enum lexer_kind kind, const char *expected)
{
    if (p->at->kind != kind)
        return unexpected(p, expected) != NULL;
    p->at++;
    return true;
}

static node make(struct parser *p, enum syntax_kind kind, unsigned line)
{
    node n = workspace_take(p->w, sizeof *n, p->err);
    if (n) {
        n->kind = kind;
        n->line = line;
    }
    return n;
}

/* The one address of the name at p->at, which is passed. */
static const struct marked_text *take_name(struct parser *p)
{
    if (p->at->kind != LEXER_NAME) {
        unexpected(p, "a name");
        return NULL;
    }
    const struct marked_text *text = &p->at->text;
    struct value *there = value_mapping_get(p->names.of.mapping, text);
    if (!there) {
        struct marked_text *kept = workspace_take(p->w, sizeof *kept, p->err);
        if (!kept)
            return NULL;
        *kept = *text;
        const struct value v = value_string(marked_text_plain((const char *)kept, sizeof *kept));
        if (!value_mapping_set(p->names.of.mapping, text, &v, p->w, p->err))
            return NULL;
        there = value_mapping_get(p->names.of.mapping, text);
    }
    p->at++;
    return (const void *)there->of.string.bytes;
}

const struct marked_text *parser_name(const struct parser_result *r, const struct marked_text *name)
{
    const struct value *there = value_mapping_get(r->names.of.mapping, name);
    return there ? (const void *)there->of.string.bytes : NULL;
}

static bool go_deeper(struct parser *p)
{
    if (p->depth == PARSER_DEPTH)
        return refuse(p, "nested deeper than 64", NULL) != NULL;
    p->depth++;
    return true;
}

/* Appends to a chain whose last link is *tail. */
static void attach(node **tail, node n)
{
    **tail = n;
    *tail = &n->next;
}

/* ---- expressions ----------------------------------------------------------------- */

/* What stands between the brackets of a call; the opening one is passed. */
static bool parse_arguments(struct parser *p, node *list)
{
    node *tail = list;
    bool keywords = false;
    while (!is_operator(p, ")")) {
        node argument;
        if (p->at->kind == LEXER_NAME && p->at[1].kind == LEXER_OPERATOR
            && marked_text_is(&p->at[1].text, "=")) {
            argument = make(p, SYNTAX_KEYWORD, p->at->line);
            if (!argument || !(argument->name = take_name(p)))
                return false;
            p->at++;
            if (!(argument->a = parse_expression(p)))
                return false;
            keywords = true;
        } else {
            if (keywords)
                return unexpected(p, "an argument with a name") != NULL;
            if (!(argument = parse_expression(p)))
                return false;
        }
        attach(&tail, argument);
        if (!skip_operator(p, ",") && !is_operator(p, ")"))
            return unexpected(p, "',' or ')'") != NULL;
    }
    p->at++;
    return true;
}

/* Elements up to the closing bracket; keys and values of a mapping one after the other. */
static node parse_elements(struct parser *p, enum syntax_kind kind, const char *close)
{
    node n = make(p, kind, p->at->line), *tail = n ? &n->list : NULL;
    while (n && !skip_operator(p, close)) {
        node element = parse_expression(p);
        if (!element)
            return NULL;
        attach(&tail, element);
        if (kind == SYNTAX_MAPPING) {
            node value = expect_operator(p, ":") ? parse_expression(p) : NULL;
            if (!value)
                return NULL;
            attach(&tail, value);
        }
        if (!skip_operator(p, ",") && !is_operator(p, close))
            return unexpected(p, "',' or the closing bracket");
    }
    return n;
}

/* Round brackets: one expression, or a tuple. */
static node parse_round(struct parser *p)
{
    unsigned line = p->at->line;
    if (skip_operator(p, ")"))
        return make(p, SYNTAX_TUPLE, line);
    node first = parse_expression(p);
    if (!first || skip_operator(p, ")"))
        return first;
    if (!expect_operator(p, ","))
        return NULL;
    node rest = parse_elements(p, SYNTAX_TUPLE, ")");
    if (rest) {
        first->next = rest->list;
        rest->list = first;
    }
    return rest;
}

static node parse_strings(struct parser *p)
{
    node n = make(p, SYNTAX_CONSTANT, p->at->line);
    struct marked_text_builder b = { 0 };
    bool ok = n != NULL;
    for (; ok && p->at->kind == LEXER_STRING; p->at++)
        ok = marked_text_append(&b, &p->at->text, p->err);
    struct marked_text text;
    if (!ok || !marked_text_finish(&text, &b, p->w, p->err)) {
        marked_text_builder_free(&b);
        return NULL;
    }
    n->value = value_string(text);
    return n;
}

static node parse_word(struct parser *p)
{
    static const struct {
        const char *word;
        struct value value;
    } constants[] = {
        { "true", { .kind = VALUE_BOOLEAN, .of.boolean = true } },
        { "True", { .kind = VALUE_BOOLEAN, .of.boolean = true } },
        { "false", { .kind = VALUE_BOOLEAN } }, { "False", { .kind = VALUE_BOOLEAN } },
        { "none", { .kind = VALUE_NONE } }, { "None", { .kind = VALUE_NONE } },
    };
    static const char *const special[] = { "varargs", "kwargs", "caller", "self", "super" };
    unsigned line = p->at->line;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (skip_word(p, constants[i].word)) {
            node n = make(p, SYNTAX_CONSTANT, line);
            if (n)
                n->value = constants[i].value;
            return n;
        }
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (is_word(p, special[i]))
            return refuse(p, "the name", &p->at->text);
    node n = make(p, SYNTAX_NAME, line);
    return n && (n->name = take_name(p)) ? n : NULL;
}

static node parse_primary(struct parser *p)
{
    node n;
    if (p->at->kind == LEXER_NAME)
        return parse_word(p);
    if (p->at->kind == LEXER_STRING)
        return parse_strings(p);
    if (p->at->kind == LEXER_INTEGER || p->at->kind == LEXER_FLOAT) {
        n = make(p, SYNTAX_CONSTANT, p->at->line);
        if (n)
            n->value = p->at->kind == LEXER_INTEGER ? value_integer(p->at->of.integer)
                                                    : value_float(p->at->of.number);
        p->at++;
        return n;
    }
    if (!go_deeper(p))
        return NULL;
    if (skip_operator(p, "("))
        n = parse_round(p);
    else if (skip_operator(p, "["))
        n = parse_elements(p, SYNTAX_LIST, "]");
    else if (skip_operator(p, "{"))
        n = parse_elements(p, SYNTAX_MAPPING, "}");
    else
        n = unexpected(p, "an expression");
    p->depth--;
    return n;
}

/* [...] behind a value: an index or a slice. */
static node parse_subscript(struct parser *p, node of)
{
    node parts[3], n = make(p, SYNTAX_SUBSCRIPT, p->at->line);
    size_t colons = 0;
    for (size_t i = 0; n && i < 3; i++) {
        bool omitted = colons < i || is_operator(p, ":") || is_operator(p, "]");
        parts[i] = omitted ? make(p, SYNTAX_OMITTED, p->at->line) : parse_expression(p);
        if (!parts[i])
            return NULL;
        if (i < 2 && colons == i)
            colons += skip_operator(p, ":");
    }
    if (!n || !expect_operator(p, "]"))
        return NULL;
    n->a = of;
    n->b = parts[0];
    if (colons == 0)
        return n->b->kind == SYNTAX_OMITTED ? unexpected(p, "an index in front of") : n;
    n->kind = SYNTAX_SLICE;
    n->list = parts[0];
    parts[0]->next = parts[1];
    parts[1]->next = parts[2];
    return n;
}

/* Refuses calls of what no template can call; names are looked at when the template is complete,
 * since a macro may follow. */
static bool check_callee(struct parser *p, node callee)
{
    if (callee->kind == SYNTAX_ATTRIBUTE && filters_find_method(callee->name) < 0)
        return refuse(p, "the method", callee->name) != NULL;
    if (callee->kind != SYNTAX_NAME)
        return callee->kind == SYNTAX_ATTRIBUTE || unexpected(p, "an operator") != NULL;
    const struct value line = value_integer(callee->line);
    return value_mapping_get(p->called.of.mapping, callee->name)
        || value_mapping_set(p->called.of.mapping, callee->name, &line, p->w, p->err);
}

/* The bracket of a call behind `of` is passed. */
static node parse_call(struct parser *p, node of)
{
    node n = check_callee(p, of) ? make(p, SYNTAX_CALL, of->line) : NULL;
    if (!n || !go_deeper(p))
        return NULL;
    n->a = of;
    bool ok = parse_arguments(p, &n->list);
    p->depth--;
    return ok ? n : NULL;
}

static node parse_attribute(struct parser *p, node of)
{
    node n = make(p, SYNTAX_ATTRIBUTE, p->at->line);
    if (n && p->at->kind == LEXER_INTEGER) {            /* x.0 is x[0] */
        n->kind = SYNTAX_SUBSCRIPT;
        n->b = parse_primary(p);
    } else if (n && !(n->name = take_name(p)))
        return NULL;
    if (n)
        n->a = of;
    return n;
}

static node parse_postfix(struct parser *p, node n)
{
    for (unsigned links = 0; n; links++) {
        if (links == PARSER_CHAIN)
            return refuse(p, "an expression with more than 256 links", NULL);
        if (skip_operator(p, "."))
            n = parse_attribute(p, n);
        else if (skip_operator(p, "[")) {
            if (!go_deeper(p))
                return NULL;
            n = parse_subscript(p, n);
            p->depth--;
        } else if (skip_operator(p, "("))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

static node parse_filter(struct parser *p, node of)
{
    node n = make(p, SYNTAX_FILTER, p->at->line);
    if (!n || p->at->kind != LEXER_NAME)
        return n ? unexpected(p, "a filter") : NULL;
    int which = filters_find(&p->at->text);
    if (which < 0)
        return refuse(p, "the filter", &p->at->text);
    n->which = (unsigned)which;
    n->a = of;
    p->at++;
    if (!skip_operator(p, "("))
        return n;
    if (!go_deeper(p))
        return NULL;
    bool ok = parse_arguments(p, &n->list);
    p->depth--;
    return ok ? n : NULL;
}

/* None of the tests that are known has an argument. */
static node parse_test(struct parser *p, node of)
{
    bool negated = skip_word(p, "not");
    node n = make(p, SYNTAX_TEST, p->at->line);
    if (!n || p->at->kind != LEXER_NAME)
        return n ? unexpected(p, "a test") : NULL;
    int which = filters_find_test(&p->at->text);
    if (which < 0)
        return refuse(p, "the test", &p->at->text);
    n->which = (unsigned)which;
    n->a = of;
    p->at++;
    if (!negated)
        return n;
    node not = make(p, SYNTAX_NOT, n->line);
    if (not)
        not->a = n;
    return not;
}

static node parse_filters(struct parser *p, node n)
{
    for (unsigned links = 0; n; links++) {
        if (links == PARSER_CHAIN)
            return refuse(p, "an expression with more than 256 links", NULL);
        if (skip_operator(p, "|"))
            n = parse_filter(p, n);
        else if (skip_word(p, "is"))
            n = parse_test(p, n);
        else if (skip_operator(p, "("))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

static node parse_unary(struct parser *p, bool with_filters)
{
    node n;
    if (is_operator(p, "-")) {
        n = go_deeper(p) ? make(p, SYNTAX_NEGATE, p->at->line) : NULL;
        p->at++;
        if (!n || !(n->a = parse_unary(p, false)))
            return NULL;
        p->depth--;
    } else if (is_operator(p, "+"))
        return refuse(p, "the operator", &p->at->text);
    else
        n = parse_primary(p);
    n = n ? parse_postfix(p, n) : NULL;
    if (n && is_operator(p, "**"))
        return refuse(p, "the operator", &p->at->text);
    return n && with_filters ? parse_filters(p, n) : n;
}

struct operator_row {
    const char *text;
    enum syntax_operator op;
};
static const struct operator_row products[] = {
    { "*", SYNTAX_MULTIPLY }, { "/", SYNTAX_DIVIDE }, { "//", SYNTAX_FLOOR_DIVIDE },
    { "%", SYNTAX_REMAINDER }, { NULL, 0 },
};
static const struct operator_row joins[] = { { "~", SYNTAX_CONCATENATE }, { NULL, 0 } };
static const struct operator_row sums[] = {
    { "+", SYNTAX_ADD }, { "-", SYNTAX_SUBTRACT }, { NULL, 0 },
};
/* The levels of operators with two operands; the first binds most. */
static const struct operator_row *const levels[] = { products, joins, sums };

static node parse_binary(struct parser *p, size_t level)
{
    node n = level ? parse_binary(p, level - 1) : parse_unary(p, true);
    for (unsigned links = 0; n; links++) {
        const struct operator_row *row = levels[level];
        while (row->text && !is_operator(p, row->text))
            row++;
        if (!row->text)
            break;
        if (links == PARSER_CHAIN)
            return refuse(p, "an expression with more than 256 links", NULL);
        node left = n;
        n = make(p, SYNTAX_BINARY, p->at->line);
        p->at++;
        if (!n || !(n->b = level ? parse_binary(p, level - 1) : parse_unary(p, true)))
            return NULL;
        n->op = row->op;
        n->a = left;
    }
    return n;
}

/* Passes a comparison; false: there is none. */
static bool skip_comparison(struct parser *p, enum syntax_operator *op)
{
    static const struct operator_row rows[] = {
        { "==", SYNTAX_EQUAL }, { "!=", SYNTAX_UNEQUAL }, { "<", SYNTAX_LESS },
        { "<=", SYNTAX_LESS_EQUAL }, { ">", SYNTAX_GREATER }, { ">=", SYNTAX_GREATER_EQUAL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (skip_operator(p, rows[i].text)) {
            *op = rows[i].op;
            return true;
        }
    *op = SYNTAX_IN;
    if (skip_word(p, "in"))
        return true;
    *op = SYNTAX_NOT_IN;
    if (!is_word(p, "not") || p->at[1].kind != LEXER_NAME || !marked_text_is(&p->at[1].text, "in"))
        return false;
    p->at += 2;
    return true;
}

static node parse_compare(struct parser *p)
{
    const size_t top = sizeof levels / sizeof *levels - 1;
    node first = parse_binary(p, top), n = NULL, *tail = NULL;
    enum syntax_operator op;
    while (first && skip_comparison(p, &op)) {
        if (!n) {
            n = make(p, SYNTAX_COMPARE, first->line);
            if (!n)
                return NULL;
            n->a = first;
            tail = &n->list;
        }
        node compared = make(p, SYNTAX_COMPARED, p->at->line);
        if (!compared || !(compared->a = parse_binary(p, top)))
            return NULL;
        compared->op = op;
        attach(&tail, compared);
    }
    return n ? n : first;
}

static node parse_not(struct parser *p)
{
    if (!is_word(p, "not"))
        return parse_compare(p);
    node n = go_deeper(p) ? make(p, SYNTAX_NOT, p->at->line) : NULL;
    p->at++;
    if (!n || !(n->a = parse_not(p)))
        return NULL;
    p->depth--;
    return n;
}

/* `and`, of which `or` has a level more. */
static node parse_logic(struct parser *p, enum syntax_kind kind)
{
    const char *word = kind == SYNTAX_OR ? "or" : "and";
    node n = kind == SYNTAX_OR ? parse_logic(p, SYNTAX_AND) : parse_not(p);
    for (unsigned links = 0; n && is_word(p, word); links++) {
        if (links == PARSER_CHAIN)
            return refuse(p, "an expression with more than 256 links", NULL);
        node left = n;
        n = make(p, kind, p->at->line);
        p->at++;
        if (!n || !(n->b = kind == SYNTAX_OR ? parse_logic(p, SYNTAX_AND) : parse_not(p)))
            return NULL;
        n->a = left;
    }
    return n;
}

static node parse_condition(struct parser *p)
{
    node n = parse_logic(p, SYNTAX_OR);
    for (unsigned links = 0; n && skip_word(p, "if"); links++) {
        if (links == PARSER_CHAIN)
            return refuse(p, "an expression with more than 256 links", NULL);
        node then = n;
        n = make(p, SYNTAX_CONDITION, then->line);
        if (!n || !(n->b = parse_logic(p, SYNTAX_OR)))
            return NULL;
        n->a = then;
        if (skip_word(p, "else") && !(n->c = parse_expression(p)))
            return NULL;
    }
    return n;
}

static node parse_expression(struct parser *p)
{
    node n = go_deeper(p) ? parse_condition(p) : NULL;
    if (n)
        p->depth--;
    return n;
}

/* Expressions with commas between them become a tuple. */
static node parse_tuple(struct parser *p, bool with_condition)
{
    node n = NULL, *tail = NULL, first = NULL;
    do {
        if (first && !n) {
            n = make(p, SYNTAX_TUPLE, first->line);
            if (!n)
                return NULL;
            n->list = first;
            tail = &first->next;
        }
        node element = with_condition ? parse_expression(p) : parse_logic(p, SYNTAX_OR);
        if (!element)
            return NULL;
        if (n)
            attach(&tail, element);
        first = first ? first : element;
    } while (skip_operator(p, ","));
    return n ? n : first;
}

/* ---- statements -------------------------------------------------------------------- */

static bool parse_body(struct parser *p, node *body, const char *const *ends);

static bool note_callable(struct parser *p, const struct marked_text *name)
{
    const struct value yes = value_boolean(true);
    return value_mapping_set(p->callable.of.mapping, name, &yes, p->w, p->err);
}

/* A name, name.attribute (only where `set` has it), or names with commas between them. */
static node parse_target(struct parser *p, bool with_attribute)
{
    node tuple = NULL, *tail = NULL, n = NULL;
    do {
        node element = make(p, SYNTAX_NAME, p->at->line);
        if (!element || !(element->name = take_name(p)) || !note_callable(p, element->name))
            return NULL;
        if (with_attribute && !n && is_operator(p, ".")) {
            p->at++;
            return parse_attribute(p, element);
        }
        if (n && !tuple) {
            tuple = make(p, SYNTAX_TUPLE, n->line);
            if (!tuple)
                return NULL;
            tuple->list = n;
            tail = &n->next;
        }
        if (tuple)
            attach(&tail, element);
        n = n ? n : element;
    } while (skip_operator(p, ","));
    return tuple ? tuple : n;
}

static node parse_if(struct parser *p, unsigned line)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    node first = NULL, last = NULL;
    do {                                /* if, elif ... */
        node n = make(p, SYNTAX_IF, line);
        if (!n || !(n->a = parse_tuple(p, false))
            || !expect_kind(p, LEXER_BLOCK_END, "the end of the tag")
            || !parse_body(p, &n->list, ends))
            return NULL;
        if (last)
            last->b = n;
        first = first ? first : n;
        last = n;
        line = p->at->line;
    } while (skip_word(p, "elif"));
    if (skip_word(p, "else")
        && (!expect_kind(p, LEXER_BLOCK_END, "the end of the tag")
            || !parse_body(p, &last->b, &ends[2])))
        return NULL;
    p->at++;                            /* endif */
    return first;
}

/* Is it content, x.content or x['content']?  So vLLM finds templates that read content in parts
 * (vllm/renderers/hf.py). */
static bool is_content(const struct syntax_node *n)
{
    if (n->kind == SYNTAX_SUBSCRIPT)
        return n->b->kind == SYNTAX_CONSTANT && value_is_string(&n->b->value, "content");
    return (n->kind == SYNTAX_NAME || n->kind == SYNTAX_ATTRIBUTE)
        && marked_text_is(n->name, "content");
}

static node parse_for(struct parser *p, unsigned line)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    node n = make(p, SYNTAX_FOR, line);
    if (!n || !(n->a = parse_target(p, false)))
        return NULL;
    if (!skip_word(p, "in"))
        return unexpected(p, "'in'");
    if (!(n->b = parse_tuple(p, false)) || (skip_word(p, "if") && !(n->c = parse_expression(p))))
        return NULL;
    p->reads_parts = p->reads_parts || is_content(n->b);
    if (is_word(p, "recursive"))
        return refuse(p, "the loop that is", &p->at->text);
    p->loops++;
    bool ok =
        expect_kind(p, LEXER_BLOCK_END, "the end of the tag") && parse_body(p, &n->list, ends);
    p->loops--;
    if (ok && skip_word(p, "else"))
        ok = expect_kind(p, LEXER_BLOCK_END, "the end of the tag")
          && parse_body(p, &n->otherwise, &ends[1]);
    p->at += ok;                        /* endfor */
    return ok ? n : NULL;
}

static node parse_set(struct parser *p, unsigned line)
{
    node n = make(p, SYNTAX_SET, line);
    if (!n || !(n->a = parse_target(p, true)))
        return NULL;
    if (p->at->kind == LEXER_BLOCK_END)
        return refuse(p, "a set without '=' is not supported", NULL);
    return expect_operator(p, "=") && (n->b = parse_tuple(p, true)) ? n : NULL;
}

static bool parse_parameters(struct parser *p, node *list)
{
    node *tail = list;
    bool defaults = false;
    while (!skip_operator(p, ")")) {
        node parameter = make(p, SYNTAX_KEYWORD, p->at->line);
        if (!parameter || !(parameter->name = take_name(p)) || !note_callable(p, parameter->name))
            return false;
        if (skip_operator(p, "=")) {
            defaults = true;
            if (!(parameter->a = parse_expression(p)))
                return false;
        } else if (defaults)
            return unexpected(p, "a default") != NULL;
        attach(&tail, parameter);
        if (!skip_operator(p, ",") && !is_operator(p, ")"))
            return unexpected(p, "',' or ')'") != NULL;
    }
    return true;
}

static node parse_macro(struct parser *p, unsigned line)
{
    static const char *const ends[] = { "endmacro", NULL };
    node n = make(p, SYNTAX_MACRO, line);
    if (!n || !(n->name = take_name(p)) || !note_callable(p, n->name) || !expect_operator(p, "(")
        || !parse_parameters(p, &n->b) || !expect_kind(p, LEXER_BLOCK_END, "the end of the tag"))
        return NULL;
    unsigned loops = p->loops;
    p->loops = 0;
    bool ok = parse_body(p, &n->list, ends);
    p->loops = loops;
    p->at += ok;
    return ok ? n : NULL;
}

static node parse_jump(struct parser *p, unsigned line, enum syntax_kind kind)
{
    if (p->loops)
        return make(p, kind, line);
    return refuse(p, "break or continue outside of a loop", NULL);
}

/* What follows the beginning of a tag. */
static node parse_statement(struct parser *p)
{
    unsigned line = p->at->line;
    node n = NULL;
    if (!go_deeper(p))
        return NULL;
    if (skip_word(p, "if"))
        n = parse_if(p, line);
    else if (skip_word(p, "for"))
        n = parse_for(p, line);
    else if (skip_word(p, "set"))
        n = parse_set(p, line);
    else if (skip_word(p, "macro"))
        n = parse_macro(p, line);
    else if (skip_word(p, "break"))
        n = parse_jump(p, line, SYNTAX_BREAK);
    else if (skip_word(p, "continue"))
        n = parse_jump(p, line, SYNTAX_CONTINUE);
    else if (p->at->kind == LEXER_NAME)
        refuse(p, "the statement", &p->at->text);
    else
        unexpected(p, "a statement");
    p->depth--;
    return n && expect_kind(p, LEXER_BLOCK_END, "the end of the tag") ? n : NULL;
}

static node parse_output(struct parser *p)
{
    node n = make(p, SYNTAX_OUTPUT, p->at->line);
    return n && (n->a = parse_tuple(p, true)) && expect_kind(p, LEXER_OUTPUT_END, "}}") ? n : NULL;
}

/* Is p->at one of the words? */
static bool ends_body(const struct parser *p, const char *const *ends)
{
    for (; *ends; ends++)
        if (is_word(p, *ends))
            return true;
    return false;
}

/* Statements up to a tag that begins with one of `ends` (NULL-terminated), which is not passed; the
 * beginning of its tag is.  ends[0] == NULL: up to the end of the template. */
static bool parse_body(struct parser *p, node *body, const char *const *ends)
{
    node *tail = body, n;
    for (;;) {
        if (p->at->kind == LEXER_END)
            return !*ends || unexpected(p, ends[1] ? ends[1] : ends[0]) != NULL;
        if (p->at->kind == LEXER_TEXT) {
            n = make(p, SYNTAX_TEXT, p->at->line);
            if (n)
                n->value = value_string(p->at->text);
            p->at++;
        } else if (p->at++->kind == LEXER_OUTPUT_BEGIN)
            n = parse_output(p);
        else {
            if (ends_body(p, ends))
                return true;
            n = parse_statement(p);
        }
        if (!n)
            return false;
        attach(&tail, n);
    }
}

/* Functions that are called, and are neither among the global ones nor made by the template. */
static bool check_functions(const struct parser *p)
{
    static const char *const known[] = { "namespace", "raise_exception", "range", "strftime_now" };
    const struct value_mapping *called = p->called.of.mapping;
    for (size_t i = 0; i < called->n; i++) {
        const struct marked_text *name = &called->entries[i].key;
        bool found = value_mapping_get(p->callable.of.mapping, name) != NULL;
        for (size_t k = 0; !found && k < sizeof known / sizeof *known; k++)
            found = marked_text_is(name, known[k]);
        if (!found)
            return error_set(p->err, "%s: line %u: the function '%.*s' is not supported", p->path,
                             (unsigned)called->entries[i].value.of.integer,
                             (int)size_min(name->n, 100), name->bytes);
    }
    return true;
}

bool parser_run(struct parser_result *out, const struct lexer_token *tokens, const char *path,
                struct workspace *w, struct error *err)
{
    static const char *const no_end[] = { NULL };
    struct parser p = { .at = tokens, .path = path, .w = w, .err = err };
    if (!value_mapping_make(&p.names, VALUE_MAPPING, w, err)
        || !value_mapping_make(&p.callable, VALUE_MAPPING, w, err)
        || !value_mapping_make(&p.called, VALUE_MAPPING, w, err))
        return false;
    *out = (struct parser_result){ .names = p.names };
    if (!parse_body(&p, &out->body, no_end) || !check_functions(&p))
        return false;
    out->reads_parts = p.reads_parts;
    return true;
}
