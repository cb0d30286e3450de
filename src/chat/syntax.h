/* syntax.h - the tree of a template, plain records in a workspace. */
#ifndef SURPRISAL_CHAT_SYNTAX_H
#define SURPRISAL_CHAT_SYNTAX_H

#include "chat/value.h"

enum syntax_kind {
    /* expressions: a, b, c are operands, `list` and `next` chain arguments and elements */
    SYNTAX_CONSTANT, /* value */
    SYNTAX_NAME,     /* name */
    SYNTAX_LIST,
    SYNTAX_TUPLE,     /* list */
    SYNTAX_MAPPING,   /* list: key, value, key, value */
    SYNTAX_ATTRIBUTE, /* a.name */
    SYNTAX_SUBSCRIPT, /* a[b] */
    SYNTAX_SLICE,     /* a[list], which has three; OMITTED is one that is not there */
    SYNTAX_OMITTED,
    SYNTAX_NEGATE, /* -a */
    SYNTAX_NOT,    /* not a */
    SYNTAX_AND,
    SYNTAX_OR,      /* a, b */
    SYNTAX_BINARY,  /* a op b, of numbers and texts */
    SYNTAX_COMPARE, /* a, then list: COMPARED each, with op and operand a */
    SYNTAX_COMPARED,
    SYNTAX_CONDITION, /* a if b else c (may be NULL) */
    SYNTAX_CALL,      /* a(list); a argument with a name is a KEYWORD */
    SYNTAX_KEYWORD,   /* name=a */
    SYNTAX_FILTER,    /* a | which(list) */
    SYNTAX_TEST,      /* a is which */
    /* statements, chained by next */
    SYNTAX_TEXT,   /* value */
    SYNTAX_OUTPUT, /* a */
    SYNTAX_IF,     /* a: condition, list: body, b: the else's first statement or NULL */
    SYNTAX_FOR,    /* a: target, b: sequence, c: condition or NULL; list, otherwise */
    SYNTAX_SET,    /* a: target, b: value */
    SYNTAX_MACRO,  /* name, b: parameters (KEYWORD; a: default or NULL), list */
    SYNTAX_BREAK,
    SYNTAX_CONTINUE,
};

enum syntax_operator {
    SYNTAX_ADD, SYNTAX_SUBTRACT, SYNTAX_MULTIPLY, SYNTAX_DIVIDE, SYNTAX_FLOOR_DIVIDE,
    SYNTAX_REMAINDER, SYNTAX_CONCATENATE,
    SYNTAX_EQUAL, SYNTAX_UNEQUAL, SYNTAX_LESS, SYNTAX_LESS_EQUAL, SYNTAX_GREATER,
    SYNTAX_GREATER_EQUAL, SYNTAX_IN, SYNTAX_NOT_IN,
};

struct syntax_node {
    enum syntax_kind kind;
    enum syntax_operator op;
    unsigned line;
    unsigned which;             /* index of a filter (filters.h) or test (tests.h) */
    const struct marked_text *name;     /* equal names have one address in a template */
    struct value value;
    struct syntax_node *a, *b, *c;
    struct syntax_node *list, *otherwise;
    struct syntax_node *next;
};

#endif
