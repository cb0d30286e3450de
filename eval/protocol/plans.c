#include "eval/protocol/plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "eval/protocol/protocol.h"

#define DEFAULT_CONTEXT ((size_t)2048)

/* In place of their protocol's name. */
static const char *const task_names[] = {
    [SURPRISAL_TASK_NONE] = NULL, [SURPRISAL_TASK_WIKITEXT] = "wikitext",
    [SURPRISAL_TASK_LINES] = "lines",
};
#define N_TASKS (sizeof task_names / sizeof *task_names)

const char *plan_task_name(enum surprisal_task task)
{
    return task_names[task];
}

void plan_name(char out[PLAN_NAME_BYTES], const struct surprisal_protocol_plan *p)
{
    const char *task = plan_task_name(p->task);
    int n = snprintf(out, PLAN_NAME_BYTES, "%s-%zu", task ? task : protocol_name(p->protocol),
                     p->context);
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
    for (size_t i = SURPRISAL_TASK_NONE + 1; i < N_TASKS; i++)
        if (length == strlen(task_names[i]) && memcmp(name, task_names[i], length) == 0)
            return true;
    return protocol_find(&protocol, name, length);
}

static bool complete(struct surprisal_protocol_plan *p, struct error *err)
{
    if ((size_t)p->task >= N_TASKS)
        return error_set(err, "unknown task %d", (int)p->task);
    const char *task = plan_task_name(p->task);
    if (p->protocol == SURPRISAL_PROTOCOL_DEFAULT)
        p->protocol = task ? SURPRISAL_ROLLING : SURPRISAL_DISJOINT;
    if (!p->context)
        p->context = DEFAULT_CONTEXT;
    if (p->stride && p->protocol != SURPRISAL_STRIDED)
        return error_set(err, "a stride belongs to the protocol strided");
    if (!p->stride)
        p->stride = p->context;
    if (!protocol_check(p->protocol, p->context, p->stride, err))
        return false;
    if (task && p->protocol != SURPRISAL_ROLLING)
        return error_set(err, "the task %s is scored by the protocol rolling, not %s", task,
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
