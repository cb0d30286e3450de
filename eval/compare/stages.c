#include "eval/compare/stages.h"

#include <assert.h>

void stages_add(struct stages *s, const char *name, double seconds)
{
    assert(s->n < STAGES_MAX);
    s->list[s->n++] = (struct surprisal_stage){ .name = name, .seconds = seconds };
}

void stages_next(struct stages *s, void (*tell)(void *user, size_t index), void *user)
{
    if (s->begun == s->n)
        return;
    size_t index = s->begun++;
    if (tell)
        tell(user, index);
}

bool stages_have_room(const struct surprisal_comparison_plan *plan, struct error *err)
{
    return plan->disk_bytes <= plan->free_bytes
        || error_set(err, "%s: the runs take %.3g GB with their final hidden states, but %.3g GB "
                     "are free", plan->folder, (double)plan->disk_bytes / 1e9,
                     (double)plan->free_bytes / 1e9);
}
