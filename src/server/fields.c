#include "server/fields.h"

#include <math.h>
#include <string.h>

const struct value *fields_get(const struct fields *f, const char *name)
{
    const struct value *v = value_member(f->body, name);
    return v && v->kind != VALUE_NONE ? v : NULL;
}

static bool refuse_type(const struct fields *f, const char *name, const struct value *v,
                        const char *expected)
{
    return problem_set(f->problem, 400, name, "%s is %s, expected %s", name, value_type(v),
                       expected);
}

bool fields_flag(const struct fields *f, const char *name, bool *out)
{
    const struct value *v = fields_get(f, name);
    if (!v)
        return true;
    if (v->kind != VALUE_BOOLEAN)
        return refuse_type(f, name, v, "true or false");
    *out = v->of.boolean;
    return true;
}

bool fields_number(const struct fields *f, const char *name, double least, double most, double *out)
{
    const struct value *v = fields_get(f, name);
    if (!v)
        return true;
    if (v->kind != VALUE_INTEGER && v->kind != VALUE_FLOAT && v->kind != VALUE_BIG_INTEGER)
        return refuse_type(f, name, v, "a number");
    double x = v->kind == VALUE_INTEGER ? (double)v->of.integer
             : v->kind == VALUE_FLOAT ? v->of.number : INFINITY;
    if (!(x >= least && x <= most))
        return problem_set(f->problem, 400, name, "%s is out of range, expected %.10g to %.10g",
                           name, least, most);
    *out = x;
    return true;
}

bool fields_is_integer(const struct value *v, int64_t *out)
{
    if (v->kind == VALUE_INTEGER) {
        *out = v->of.integer;
        return true;
    }
    if (v->kind != VALUE_FLOAT || !(fabs(v->of.number) <= 0x1p53)
        || v->of.number != floor(v->of.number))
        return false;
    *out = (int64_t)v->of.number;
    return true;
}

bool fields_integer(const struct fields *f, const char *name, int64_t least, int64_t most,
                    int64_t *out)
{
    const struct value *v = fields_get(f, name);
    int64_t i;
    if (!v)
        return true;
    if (v->kind != VALUE_BIG_INTEGER && !fields_is_integer(v, &i))
        return refuse_type(f, name, v, "a whole number");
    if (v->kind == VALUE_BIG_INTEGER || i < least || i > most)
        return problem_set(f->problem, 400, name, "%s is out of range, expected %lld to %lld", name,
                           (long long)least, (long long)most);
    *out = i;
    return true;
}

bool fields_text(const struct fields *f, const char *name, const char **out)
{
    const struct value *v = fields_get(f, name);
    if (!v)
        return true;
    if (v->kind != VALUE_STRING)
        return refuse_type(f, name, v, "a string");
    if (memchr(v->of.string.bytes, '\0', v->of.string.n))
        return problem_set(f->problem, 400, name, "%s holds NUL", name);
    *out = workspace_copy(f->w, v->of.string.bytes, v->of.string.n, &f->problem->err);
    return *out || problem_say(f->problem, 503, name);
}

bool fields_ids_of(const struct fields *f, const char *name, const struct value *v,
                   size_t vocab_size, const int32_t **ids, size_t *n)
{
    if (v->kind != VALUE_LIST)
        return refuse_type(f, name, v, "a list of token ids");
    size_t count = v->of.list->n;
    int32_t *list = workspace_take(f->w, count * sizeof *list + 1, &f->problem->err);
    if (!list)
        return problem_say(f->problem, 503, name);
    for (size_t i = 0; i < count; i++) {
        int64_t id;
        if (!fields_is_integer(&v->of.list->items[i], &id))
            return refuse_type(f, name, &v->of.list->items[i], "a list of token ids");
        if (id < 0 || (uint64_t)id >= vocab_size)
            return problem_set(f->problem, 400, name, "%s: id %lld, the vocabulary has %zu", name,
                               (long long)id, vocab_size);
        list[i] = (int32_t)id;
    }
    *ids = list;
    *n = count;
    return true;
}

bool fields_ids(const struct fields *f, const char *name, size_t vocab_size, const int32_t **ids,
                size_t *n)
{
    const struct value *v = fields_get(f, name);
    return !v || fields_ids_of(f, name, v, vocab_size, ids, n);
}
