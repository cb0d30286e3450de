#include <stdlib.h>
#include <string.h>

#include "grammar/regex.h"

void regex_free(struct regex *r)
{
    for (size_t i = 0; i < r->n_sets; i++)
        charset_free(&r->sets[i]);
    free(r->sets);
    free(r->steps);
    *r = (struct regex){ 0 };
}

static bool reserve(struct regex *r, size_t more, struct error *err)
{
    if (r->n_steps + more > REGEX_MAX_STEPS)
        return error_set(err, "regular expression: it needs more than %zu steps", REGEX_MAX_STEPS);
    return mem_grow(&r->steps, &r->steps_capacity, r->n_steps + more, sizeof *r->steps,
                    "regular expression", err);
}

bool regex_add(struct regex *r, struct regex_step step, struct error *err)
{
    if (!reserve(r, 1, err))
        return false;
    r->steps[r->n_steps++] = step;
    return true;
}

bool regex_insert(struct regex *r, size_t at, struct regex_step step, struct error *err)
{
    if (!reserve(r, 1, err))
        return false;
    memmove(r->steps + at + 1, r->steps + at, (r->n_steps - at) * sizeof *r->steps);
    r->steps[at] = step;
    r->n_steps++;
    return true;
}

bool regex_add_set(struct regex *r, struct charset *set, struct error *err)
{
    if (!mem_grow(&r->sets, &r->sets_capacity, r->n_sets + 1, sizeof *r->sets,
                  "regular expression", err)) {
        charset_free(set);
        return false;
    }
    r->sets[r->n_sets++] = *set;
    return regex_add(r, (struct regex_step){ .kind = REGEX_SET, .set = (uint32_t)r->n_sets - 1 },
                     err);
}

bool regex_add_any(struct regex *r, struct error *err)
{
    struct charset all = { 0 };
    if (charset_add(&all, 0, CHARSET_LAST, err) && charset_tidy(&all, err))
        return regex_add_set(r, &all, err);
    charset_free(&all);
    return false;
}

bool regex_repeat(struct regex *r, size_t begin, size_t min, size_t max, struct error *err)
{
    size_t n = r->n_steps - begin, optional = max == SIZE_MAX ? 1 : max - min;
    struct regex_step *block = mem_array(n, sizeof *block, "regular expression", err);
    bool ok = block != NULL;
    if (ok && n)
        memcpy(block, r->steps + begin, n * sizeof *block);
    r->n_steps = begin;
    for (size_t i = 0; ok && n && i < min + optional; i++) {
        size_t rest = (min + optional - i) * (n + 1) + (max == SIZE_MAX);
        ok = (i < min || regex_add(r, regex_either(1, rest), err)) && reserve(r, n, err);
        if (ok) {
            memcpy(r->steps + r->n_steps, block, n * sizeof *block);
            r->n_steps += n;
        }
    }
    if (ok && n && max == SIZE_MAX)
        ok = regex_add(r, (struct regex_step){ .kind = REGEX_JUMP, .a = -(int32_t)n - 1 }, err);
    free(block);
    return ok;
}
