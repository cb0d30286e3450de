#include "eval/report/gate.h"

#include <math.h>
#include <string.h>

#include "base/format.h"
#include "eval/report/figure.h"

/* ---- parsing ----------------------------------------------------------------- */

struct cursor {
    const char *text, *at;
};

static void skip_spaces(struct cursor *c)
{
    c->at += strspn(c->at, " \t");
}

static bool refuse(const struct cursor *c, const char *expected, struct error *err)
{
    if (!*c->at)
        return error_set(err, "gate '%s': ends where %s is expected", c->text, expected);
    return error_set(err, "gate '%s': character %zu: found '%s', expected %s", c->text,
                     (size_t)(c->at - c->text) + 1, c->at, expected);
}

static bool parse_number(struct gate_term *t, struct cursor *c, struct error *err)
{
    const char *p = c->at + (*c->at == '+' || *c->at == '-');
    size_t whole = strspn(p, "0123456789"), fraction = 0;
    p += whole;
    if (*p == '.') {
        fraction = strspn(p + 1, "0123456789");
        p += 1 + fraction;
    }
    if (whole + fraction == 0)
        return refuse(c, "a figure or a number", err);
    if (*p == 'e' || *p == 'E') {
        const char *digits = p + 1 + (p[1] == '+' || p[1] == '-');
        size_t n = strspn(digits, "0123456789");
        if (!n)
            return refuse(c, "a number", err);
        p = digits + n;
    }
    t->number = format_parse(c->at, NULL);
    if (!isfinite(t->number))
        return refuse(c, "a number that a double can hold", err);
    c->at = p;
    return true;
}

static bool parse_figure(struct gate_term *t, struct cursor *c, struct error *err)
{
    size_t n = 0;
    while (ascii_letter(c->at[n]) || ascii_digit(c->at[n]) || c->at[n] == '_' || c->at[n] == '.')
        n++;
    t->figure = c->at;
    t->length = n;
    if (figure_known(c->at, n)) {
        c->at += n;
        return true;
    }
    struct buffer near = { 0 };
    if (figure_near(&near, c->at, n, err))
        error_set(err, "gate '%s': no figure is called '%.*s'%s%s", c->text, (int)n, c->at,
                  near.size ? "; near it: " : "", near.size ? near.data : "");
    buffer_free(&near);
    return false;
}

static bool parse_term(struct gate_term *t, struct cursor *c, struct error *err)
{
    *t = (struct gate_term){ 0 };
    skip_spaces(c);
    if (!ascii_letter(*c->at))
        return parse_number(t, c, err);
    size_t word = strspn(c->at, "abs");
    const char *after = c->at + word + strspn(c->at + word, " \t");
    t->absolute = word == 3 && memcmp(c->at, "abs", 3) == 0 && *after == '(';
    if (!t->absolute)
        return parse_figure(t, c, err);
    c->at = after + 1;
    skip_spaces(c);
    if (!ascii_letter(*c->at))
        return refuse(c, "a figure", err);
    if (!parse_figure(t, c, err))
        return false;
    skip_spaces(c);
    if (*c->at != ')')
        return refuse(c, "')'", err);
    c->at++;
    return true;
}

static bool parse_value(struct gate_value *v, struct cursor *c, struct error *err)
{
    *v = (struct gate_value){ 0 };
    skip_spaces(c);
    v->text = c->at;
    if (!parse_term(&v->first, c, err))
        return false;
    v->length = (size_t)(c->at - v->text);
    skip_spaces(c);
    if (!*c->at || !strchr("*/+-", *c->at))
        return true;
    v->operator = *c->at++;
    if (!parse_term(&v->second, c, err))
        return false;
    v->length = (size_t)(c->at - v->text);
    skip_spaces(c);
    return true;
}

static const char *parse_comparison(struct cursor *c)
{
    static const char *const all[] = { "<=", ">=", "==", "!=", "<", ">" };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strncmp(c->at, all[i], strlen(all[i])) == 0) {
            c->at += strlen(all[i]);
            return all[i];
        }
    return NULL;
}

bool gate_parse(struct gate *g, const char *text, struct error *err)
{
    struct cursor c = { text, text };
    *g = (struct gate){ .text = text };
    if (!parse_value(&g->left, &c, err))
        return false;
    g->comparison = parse_comparison(&c);
    if (!g->comparison)
        return refuse(&c, "<=, <, >=, >, == or !=", err);
    if (!parse_value(&g->right, &c, err))
        return false;
    if (*c.at)
        return refuse(&c, "the end", err);
    if (!g->left.first.figure && !g->left.second.figure && !g->right.first.figure
        && !g->right.second.figure)
        return error_set(err, "gate '%s': names no figure", text);
    return true;
}

static bool of_baseline(const struct gate_term *t)
{
    size_t n = strlen(FIGURE_BASELINE);
    return t->figure && t->length > n && memcmp(t->figure, FIGURE_BASELINE, n) == 0;
}

bool gate_needs_baseline(const struct gate *g)
{
    return of_baseline(&g->left.first) || of_baseline(&g->left.second)
        || of_baseline(&g->right.first) || of_baseline(&g->right.second);
}

/* ---- evaluation ---------------------------------------------------------------- */

struct documents {
    const cJSON *now, *baseline;
};

static bool term_value(double *out, const struct gate_term *t, const struct documents *d,
                       struct error *found)
{
    *out = t->number;
    if (!t->figure)
        return true;
    size_t scope = of_baseline(t) ? strlen(FIGURE_BASELINE) : 0;
    *out = figure_value(scope ? d->baseline : d->now, t->figure + scope, t->length - scope);
    if (!isfinite(*out))
        return error_set(found, "%.*s is null: %s does not have it", (int)t->length, t->figure,
                         scope ? "the baseline" : "this comparison");
    if (t->absolute)
        *out = fabs(*out);
    return true;
}

static bool value_of(double *out, const struct gate_value *v, const struct documents *d,
                     struct error *found)
{
    double x, y;
    if (!term_value(&x, &v->first, d, found) || !term_value(&y, &v->second, d, found))
        return false;
    *out = v->operator == '*' ? x * y : v->operator == '/' ? x / y
         : v->operator == '+' ? x + y : v->operator == '-' ? x - y : x;
    return isfinite(*out)
        || error_set(found, "%.*s is %s", (int)v->length, v->text,
                     isnan(*out) ? "0/0" : "infinite");
}

static bool holds(double x, const char *comparison, double y)
{
    bool or_equal = comparison[1] == '=';
    switch (comparison[0]) {
    case '<': return or_equal ? x <= y : x < y;
    case '>': return or_equal ? x >= y : x > y;
    case '=': return x == y;
    default:  return x != y;
    }
}

static bool names_figure(const struct gate_value *v)
{
    return v->first.figure || v->second.figure;
}

/* "LEFT is x, RIGHT is y", without a side that is a plain number.  Prints enough digits that the
 * printed numbers compare the same way. */
static void describe(const struct gate *g, double x, double y, bool met, struct error *found)
{
    char left[32], right[32];
    for (int digits = 6; digits <= 17; digits++) {
        format_text(left, sizeof left, "%.*g", digits, x);
        format_text(right, sizeof right, "%.*g", digits, y);
        if (holds(format_parse(left, NULL), g->comparison, format_parse(right, NULL)) == met)
            break;
    }
    const struct gate_value *l = &g->left, *r = &g->right;
    if (names_figure(l) && names_figure(r))
        error_set(found, "%.*s is %s, %.*s is %s", (int)l->length, l->text, left, (int)r->length,
                  r->text, right);
    else if (names_figure(l))
        error_set(found, "%.*s is %s", (int)l->length, l->text, left);
    else
        error_set(found, "%.*s is %s", (int)r->length, r->text, right);
}

bool gate_met(const struct gate *g, const cJSON *document, const cJSON *baseline,
              struct error *found)
{
    const struct documents d = { document, baseline };
    double x, y;
    if (!value_of(&x, &g->left, &d, found) || !value_of(&y, &g->right, &d, found))
        return false;
    bool met = holds(x, g->comparison, y);
    describe(g, x, y, met, found);
    return met;
}
