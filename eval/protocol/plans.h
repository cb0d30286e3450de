/* plans.h - what a run scores by: the options' protocols, completed, checked and named. */
#ifndef SURPRISAL_EVAL_PROTOCOL_PLANS_H
#define SURPRISAL_EVAL_PROTOCOL_PLANS_H

#include "base/error.h"
#include "surprisal.h"

/* Complete: the protocol is not the default any more, context and stride are numbers (the stride of
 * a protocol other than strided is the context). */
struct plans {
    struct surprisal_protocol_plan *list;       /* owned [n], n >= 1 */
    size_t n;
};

/* Those of o->plans, or the one that o->protocol, context, stride and task state.  Refuses both
 * together, a plan that contradicts itself, and two that are the same. */
bool plans_make(struct plans *p, const struct surprisal_eval_options *o, struct error *err);
void plans_free(struct plans *p);

/* Of a complete plan: "strided-2048-512", "llama-512", "wikitext-2048". */
#define PLAN_NAME_BYTES sizeof ((struct surprisal_result *)NULL)->plan
void plan_name(char out[PLAN_NAME_BYTES], const struct surprisal_protocol_plan *plan);

#endif
