#include "server/request_body.h"

#include "chat/value_json.h"
#include "server/problem.h"

/* "model" may be absent, null or "": the first name. */
static const char *find_model(struct exchange *x, const struct value *body)
{
    const struct server *s = x->server;
    const struct value *v = value_member(body, "model");
    if (!v || v->kind == VALUE_NONE || value_is_string(v, ""))
        return s->names[0];
    if (v->kind != VALUE_STRING) {
        problem_set(&x->problem, 400, "model", "model is %s, expected a string", value_type(v));
        return NULL;
    }
    for (size_t i = 0; i < s->n_names; i++)
        if (value_is_string(v, s->names[i]))
            return s->names[i];
    problem_set(&x->problem, 404, "model", "the model '%.*s' does not exist",
                (int)size_min(v->of.string.n, 200), v->of.string.bytes);
    return NULL;
}

bool request_body_read(struct exchange *x, struct value *body, const char **model,
                       struct workspace *w)
{
    const char *text = x->body.data ? x->body.data : "";
    if (!value_json_read(body, text, x->body.size, "the body", true, w, &x->problem.err))
        return problem_say(&x->problem, 400, NULL);
    if (body->kind != VALUE_MAPPING)
        return problem_set(&x->problem, 400, NULL, "the body is %s, expected an object",
                           value_type(body));
    *model = find_model(x, body);
    return *model != NULL;
}
