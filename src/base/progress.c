#include "base/progress.h"

bool progress_report(const struct progress *p, const char *stage, double done, double total,
                     const char *unit, struct error *err)
{
    if (!p || !p->report || p->report(p->user, stage, done, total, unit))
        return true;
    error_set(err, "interrupted");
    if (err)
        err->interrupted = true;
    return false;
}
