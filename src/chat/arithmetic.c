#include "chat/arithmetic.h"

#include <math.h>
#include <string.h>

#include "chat/filters.h"

bool arithmetic_refuse_undefined(const struct value *v, struct error *err)
{
    return error_set(err, "'%.*s' is undefined", (int)size_min(v->of.string.n, 100),
                     v->of.string.bytes);
}

/* ---- two operands -------------------------------------------------------------- */

static bool to_integer(int64_t *i, const struct value *v)
{
    if (v->kind == VALUE_INTEGER)
        *i = v->of.integer;
    else if (v->kind == VALUE_BOOLEAN)
        *i = v->of.boolean;
    else
        return false;
    return true;
}

static bool to_float(double *x, const struct value *v)
{
    int64_t i;
    if (v->kind == VALUE_FLOAT)
        *x = v->of.number;
    else if (to_integer(&i, v))
        *x = (double)i;
    else
        return false;
    return true;
}

static bool refuse_operands(const struct value *a, const struct value *b, const char *operator,
                            struct error *err)
{
    if (a->kind == VALUE_UNDEFINED || b->kind == VALUE_UNDEFINED)
        return arithmetic_refuse_undefined(a->kind == VALUE_UNDEFINED ? a : b, err);
    if (a->kind == VALUE_BIG_INTEGER || b->kind == VALUE_BIG_INTEGER)
        return error_set(err, "'%s' of a number beyond 64 bits", operator);
    return error_set(err, "'%s' of %s and %s", operator, value_type(a), value_type(b));
}

/* Python rounds quotients down, and a remainder has the divisor's sign. */
static bool integers(struct value *out, enum syntax_operator op, int64_t a, int64_t b,
                     struct error *err)
{
    int64_t result = 0;
    bool fits = true;
    switch (op) {
    case SYNTAX_ADD:      fits = !__builtin_add_overflow(a, b, &result); break;
    case SYNTAX_SUBTRACT: fits = !__builtin_sub_overflow(a, b, &result); break;
    case SYNTAX_MULTIPLY: fits = !__builtin_mul_overflow(a, b, &result); break;
    default:
        if (b == 0)
            return error_set(err, "division by zero");
        fits = !(a == INT64_MIN && b == -1);
        if (!fits)
            break;
        result = op == SYNTAX_REMAINDER ? a % b : a / b;
        if (a % b != 0 && (a % b < 0) != (b < 0))
            result += op == SYNTAX_REMAINDER ? b : -1;
    }
    *out = value_integer(result);
    return fits || error_set(err, "a number beyond 64 bits");
}

static bool floats(struct value *out, enum syntax_operator op, double a, double b,
                   struct error *err)
{
    if (op >= SYNTAX_DIVIDE && b == 0)
        return error_set(err, "division by zero");
    double remainder = op >= SYNTAX_FLOOR_DIVIDE ? fmod(a, b) : 0;
    double quotient = (a - remainder) / b;
    if (remainder != 0 && (remainder < 0) != (b < 0)) {
        remainder += b;
        quotient -= 1;
    }
    switch (op) {
    case SYNTAX_ADD:       *out = value_float(a + b); break;
    case SYNTAX_SUBTRACT:  *out = value_float(a - b); break;
    case SYNTAX_MULTIPLY:  *out = value_float(a * b); break;
    case SYNTAX_DIVIDE:    *out = value_float(a / b); break;
    case SYNTAX_REMAINDER: *out = value_float(remainder != 0 ? remainder : copysign(0, b)); break;
    default:                            /* FLOOR_DIVIDE */
        quotient = floor(quotient + 0.5);
        *out = value_float(quotient != 0 ? quotient : copysign(0, a / b));
    }
    return true;
}

static bool join_texts(struct value *out, const struct marked_text *a, const struct marked_text *b,
                       struct workspace *w, struct error *err)
{
    struct marked_text_builder sum = { .limit = w->bytes_limit };
    struct marked_text text;
    if (!workspace_step(w, a->n + b->n, err) || !marked_text_append(&sum, a, err)
        || !marked_text_append(&sum, b, err) || !marked_text_finish(&text, &sum, w, err)) {
        marked_text_builder_free(&sum);
        return false;
    }
    *out = value_string(text);
    return true;
}

static bool join_lists(struct value *out, const struct value *a, const struct value *b,
                       struct workspace *w, struct error *err)
{
    const struct value_list *x = a->of.list, *y = b->of.list;
    if (!workspace_step(w, x->n + y->n, err) || !value_list_make(out, a->kind, x->n + y->n, w, err))
        return false;
    for (size_t i = 0; i < x->n; i++)
        out->of.list->items[i] = x->items[i];
    for (size_t i = 0; i < y->n; i++)
        out->of.list->items[x->n + i] = y->items[i];
    return true;
}

bool arithmetic_binary(struct value *out, enum syntax_operator op, const struct value *a,
                       const struct value *b, struct workspace *w, struct error *err)
{
    static const char *const names[] = { "+", "-", "*", "/", "//", "%", "~" };
    int64_t i, j;
    double x, y;
    if (op == SYNTAX_CONCATENATE) {
        struct marked_text s, t;
        return value_to_text(&s, a, w, err) && value_to_text(&t, b, w, err)
            && join_texts(out, &s, &t, w, err);
    }
    if (op != SYNTAX_DIVIDE && to_integer(&i, a) && to_integer(&j, b))
        return integers(out, op, i, j, err);
    if (to_float(&x, a) && to_float(&y, b))
        return floats(out, op, x, y, err);
    if (op == SYNTAX_ADD && a->kind == VALUE_STRING && b->kind == VALUE_STRING)
        return join_texts(out, &a->of.string, &b->of.string, w, err);
    if (op == SYNTAX_ADD && a->kind == b->kind
        && (a->kind == VALUE_LIST || a->kind == VALUE_TUPLE))
        return join_lists(out, a, b, w, err);
    return refuse_operands(a, b, names[op], err);
}

bool arithmetic_negate(struct value *out, const struct value *a, struct error *err)
{
    int64_t i;
    if (a->kind == VALUE_FLOAT) {
        *out = value_float(-a->of.number);
        return true;
    }
    if (to_integer(&i, a))
        return integers(out, SYNTAX_SUBTRACT, 0, i, err);
    return refuse_operands(a, a, "-", err);
}

/* ---- comparisons ---------------------------------------------------------------- */

static bool contains(bool *out, const struct value *list, const struct value *v,
                     struct workspace *w, struct error *err)
{
    *out = false;
    switch (list->kind) {
    case VALUE_UNDEFINED:
        return true;
    case VALUE_STRING:
        if (v->kind != VALUE_STRING)
            return error_set(err, "'in' a string of %s", value_type(v));
        *out = marked_text_find(&list->of.string, &v->of.string, 0) <= list->of.string.n;
        return workspace_step(w, list->of.string.n, err);
    case VALUE_MAPPING:
        if (v->kind == VALUE_LIST || v->kind == VALUE_MAPPING)
            return error_set(err, "'in' a mapping of %s", value_type(v));
        *out = v->kind == VALUE_STRING && value_mapping_get(list->of.mapping, &v->of.string);
        return workspace_step(w, 0, err);
    case VALUE_LIST: case VALUE_TUPLE:
        for (size_t i = 0; !*out && i < list->of.list->n; i++)
            if (!value_equal(out, &list->of.list->items[i], v, w, err))
                return false;
        return true;
    default:
        return error_set(err, "'in' %s", value_type(list));
    }
}

bool arithmetic_compare(bool *out, enum syntax_operator op, const struct value *a,
                        const struct value *b, struct workspace *w, struct error *err)
{
    int order = 0;
    if (op == SYNTAX_EQUAL || op == SYNTAX_UNEQUAL) {
        if (!value_equal(out, a, b, w, err))
            return false;
        *out ^= op == SYNTAX_UNEQUAL;
        return true;
    }
    if (op == SYNTAX_IN || op == SYNTAX_NOT_IN) {
        if (!contains(out, b, a, w, err))
            return false;
        *out ^= op == SYNTAX_NOT_IN;
        return true;
    }
    if (a->kind == VALUE_UNDEFINED || b->kind == VALUE_UNDEFINED
        || a->kind == VALUE_BIG_INTEGER || b->kind == VALUE_BIG_INTEGER)
        return refuse_operands(a, b, "<", err);
    if (!value_order(&order, a, b, err))
        return false;
    *out = op == SYNTAX_LESS ? order < 0 : op == SYNTAX_LESS_EQUAL ? order <= 0
         : op == SYNTAX_GREATER ? order > 0 : order >= 0;
    return true;
}

/* ---- slices ------------------------------------------------------------------------ */

size_t arithmetic_index(int64_t i, size_t n)
{
    if (i < 0)
        i += (int64_t)n;
    return i < 0 || i >= (int64_t)n ? n : (size_t)i;
}

/* Python's slice.indices: the bound as an index from -1 (before the first) to n. */
static bool resolve_bound(int64_t *out, const struct value *v, int64_t otherwise, int64_t n,
                          int64_t step, struct error *err)
{
    *out = otherwise;
    if (v->kind == VALUE_NONE)
        return true;
    if (!to_integer(out, v))
        return v->kind == VALUE_UNDEFINED ? arithmetic_refuse_undefined(v, err)
                                          : error_set(err, "a slice by %s", value_type(v));
    if (*out < 0)
        *out = *out < -n ? (step < 0 ? -1 : 0) : *out + n;
    else if (*out >= n)
        *out = step < 0 ? n - 1 : n;
    return true;
}

static bool join_characters(struct value *out, const struct value_list *list, struct workspace *w,
                            struct error *err)
{
    struct marked_text_builder b = { .limit = w->bytes_limit };
    struct marked_text text;
    bool ok = true;
    for (size_t i = 0; ok && i < list->n; i++)
        ok = marked_text_append(&b, &list->items[i].of.string, err);
    if (!ok || !marked_text_finish(&text, &b, w, err)) {
        marked_text_builder_free(&b);
        return false;
    }
    *out = value_string(text);
    return true;
}

bool arithmetic_slice(struct value *out, const struct value *a, const struct value bounds[3],
                      struct workspace *w, struct error *err)
{
    struct value_list *from;
    int64_t begin, end, step = 1;
    if (a->kind == VALUE_UNDEFINED)
        return arithmetic_refuse_undefined(a, err);
    if (a->kind != VALUE_STRING && a->kind != VALUE_LIST && a->kind != VALUE_TUPLE)
        return error_set(err, "a slice of %s", value_type(a));
    if (bounds[2].kind != VALUE_NONE && (!to_integer(&step, &bounds[2]) || step == 0))
        return error_set(err, "a slice with a step that is no number, or 0");
    if (!filters_iterate(&from, a, w, err))
        return false;
    int64_t n = (int64_t)from->n, kept = 0;
    if (!resolve_bound(&begin, &bounds[0], step < 0 ? n - 1 : 0, n, step, err)
        || !resolve_bound(&end, &bounds[1], step < 0 ? -1 : n, n, step, err))
        return false;
    if (step > 0 && begin < end)
        kept = (end - begin - 1) / step + 1;
    else if (step < 0 && begin > end)
        kept = (begin - end - 1) / (step == INT64_MIN ? INT64_MAX : -step) + 1;
    struct value sliced;
    enum value_kind kind = a->kind == VALUE_TUPLE ? VALUE_TUPLE : VALUE_LIST;
    if (!workspace_step(w, (size_t)kept, err)
        || !value_list_make(&sliced, kind, (size_t)kept, w, err))
        return false;
    for (int64_t i = 0; i < kept; i++)
        sliced.of.list->items[i] = from->items[begin + i * step];
    *out = sliced;
    return a->kind != VALUE_STRING || join_characters(out, sliced.of.list, w, err);
}
