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
