/* plans.h - the protocols of a run's options: defaults filled in, checked and named. */
#ifndef SURPRISAL_EVAL_PROTOCOL_PLANS_H
#define SURPRISAL_EVAL_PROTOCOL_PLANS_H

#include "base/error.h"
#include "surprisal.h"

/* Each plan is complete: its protocol is not the default, context and stride are above 0 (the
 * stride of a protocol other than strided equals the context). */
struct plans {
    struct surprisal_protocol_plan *list;       /* owned [n], n >= 1 */
    size_t n;
};

/* Takes the plans of o->plans, or the one given by o->protocol, context, stride and task.  Refuses
 * both together, a plan that contradicts itself, and a plan that is given twice. */
bool plans_make(struct plans *p, const struct surprisal_eval_options *o, struct error *err);
void plans_free(struct plans *p);

/* NULL for none. */
const char *plan_task_name(enum surprisal_task task);

/* The name of a complete plan: "strided-2048-512", "llama-512", "wikitext-2048". */
#define PLAN_NAME_BYTES sizeof ((struct surprisal_result *)NULL)->plan
void plan_name(char out[PLAN_NAME_BYTES], const struct surprisal_protocol_plan *plan);
/* Is it such a name?  n characters. */
bool plan_is_name(const char *name, size_t n);

#endif
