#include "eval/protocol/plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "eval/protocol/protocol.h"

#define DEFAULT_CONTEXT ((size_t)2048)

static const char wikitext_name[] = "wikitext";     /* in place of its protocol's name */

void plan_name(char out[PLAN_NAME_BYTES], const struct surprisal_protocol_plan *p)
{
    bool wikitext = p->task == SURPRISAL_TASK_WIKITEXT;
    int n = snprintf(out, PLAN_NAME_BYTES, "%s-%zu",
                     wikitext ? wikitext_name : protocol_name(p->protocol), p->context);
    if (p->protocol == SURPRISAL_STRIDED)
        snprintf(out + n, PLAN_NAME_BYTES - (size_t)n, "-%zu", p->stride);
}

bool plan_is_name(const char *name, size_t n)
{
    const char *dash = memchr(name, '-', n);
    if (!dash || dash + 1 == name + n || strspn(dash, "-0123456789") < n - (size_t)(dash - name))
        return false;
    enum surprisal_protocol protocol;
    size_t length = (size_t)(dash - name);
    bool wikitext = length == strlen(wikitext_name) && memcmp(name, wikitext_name, length) == 0;
    return wikitext || protocol_find(&protocol, name, length);
}

static bool complete(struct surprisal_protocol_plan *p, struct error *err)
{
    bool wikitext = p->task == SURPRISAL_TASK_WIKITEXT;
    if ((unsigned)p->task > SURPRISAL_TASK_WIKITEXT)
        return error_set(err, "unknown task %d", (int)p->task);
    if (p->protocol == SURPRISAL_PROTOCOL_DEFAULT)
        p->protocol = wikitext ? SURPRISAL_ROLLING : SURPRISAL_DISJOINT;
    if (!p->context)
        p->context = DEFAULT_CONTEXT;
    if (p->stride && p->protocol != SURPRISAL_STRIDED)
        return error_set(err, "a stride belongs to the protocol strided");
    if (!p->stride)
        p->stride = p->context;
    if (!protocol_check(p->protocol, p->context, p->stride, err))
        return false;
    if (wikitext && p->protocol != SURPRISAL_ROLLING)
        return error_set(err, "the task wikitext is scored by the protocol rolling, not %s",
                         protocol_name(p->protocol));
    return true;
}

static bool is_new(const struct plans *p, size_t i, struct error *err)
{
    char name[PLAN_NAME_BYTES], other[PLAN_NAME_BYTES];
    plan_name(name, &p->list[i]);
    for (size_t k = 0; k < i; k++) {
        plan_name(other, &p->list[k]);
        if (strcmp(name, other) == 0)
            return error_set(err, "the plan %s is given twice", name);
    }
    return true;
}

bool plans_make(struct plans *p, const struct surprisal_eval_options *o, struct error *err)
{
    const struct surprisal_protocol_plan one = { .protocol = o->protocol, .context = o->context,
                                                 .stride = o->stride, .task = o->task };
    *p = (struct plans){ 0 };
    if (o->n_plans && (one.protocol || one.context || one.stride || one.task))
        return error_set(err, "a plan names its protocol, context and stride, or its task: these "
                         "options cannot be given beside it");
    p->n = size_max(o->n_plans, 1);
    p->list = mem_array(p->n, sizeof *p->list, "plans", err);
    if (!p->list)
        return false;
    memcpy(p->list, o->n_plans ? o->plans : &one, p->n * sizeof *p->list);
    for (size_t i = 0; i < p->n; i++)
        if (!complete(&p->list[i], err) || !is_new(p, i, err)) {
            plans_free(p);
            return false;
        }
    return true;
}

void plans_free(struct plans *p)
{
    free(p->list);
    *p = (struct plans){ 0 };
}
