#include "pace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SAMPLE_SECONDS 0.5
#define LEAST_SECONDS  0.5              /* a rate measured over less is noise */

/* ---- one kind of work ------------------------------------------------------------- */

static void keep_sample(struct pace *p, double seconds, double done)
{
    size_t at = p->n++ % PACE_SAMPLES;
    p->samples[at].seconds = seconds;
    p->samples[at].done = done;
}

bool pace_add(struct pace *p, double seconds, double done, double total, const char *unit)
{
    char short_unit[sizeof p->unit];
    snprintf(short_unit, sizeof short_unit, "%s", unit);
    bool same = p->n > 0 && total <= p->total && total >= p->total && done >= p->done
             && strcmp(short_unit, p->unit) == 0;
    if (!same) {
        *p = (struct pace){ .total = total };
        strcpy(p->unit, short_unit);
    }
    p->seconds = seconds;
    p->done = done;
    if (!same || seconds - p->samples[(p->n - 1) % PACE_SAMPLES].seconds >= SAMPLE_SECONDS)
        keep_sample(p, seconds, done);
    return !same;
}

/* From the latest sample that is half a minute old: where reports are rarer, that is one before the
 * last.  From the first, as long as none is so old. */
double pace_rate(const struct pace *p)
{
    size_t kept = p->n < PACE_SAMPLES ? p->n : PACE_SAMPLES;
    if (kept == 0)
        return 0;
    size_t from = p->n - kept;
    while (from + 1 < p->n
           && p->seconds - p->samples[(from + 1) % PACE_SAMPLES].seconds >= PACE_SECONDS)
        from++;
    double seconds = p->seconds - p->samples[from % PACE_SAMPLES].seconds;
    double done = p->done - p->samples[from % PACE_SAMPLES].done;
    return seconds > LEAST_SECONDS ? done / seconds : 0;
}

double pace_left(const struct pace *p)
{
    double rate = pace_rate(p);
    return rate > 0 && p->total > 0 ? (p->total - p->done) / rate : (double)NAN;
}

/* ---- stages ------------------------------------------------------------------------ */

void pace_stages_plan(struct pace_stages *s, const struct surprisal_stage *stages, size_t n)
{
    *s = (struct pace_stages){ .n = n <= PACE_STAGES ? n : 0 };
    for (size_t i = 0; i < s->n; i++)
        s->expected[i] = stages[i].seconds;
}

void pace_stages_next(struct pace_stages *s, size_t index, double seconds)
{
    if (index >= s->n)
        return;
    if (s->number > 0) {
        s->before += s->expected[s->number - 1];
        s->spent += seconds - s->begun;
    }
    s->number = index + 1;
    s->begun = seconds;
}

double pace_stages_left(const struct pace_stages *s, double left, double seconds)
{
    if (s->number == 0)
        return (double)NAN;
    double own = s->expected[s->number - 1], elapsed = seconds - s->begun, later = 0;
    double before = s->before, spent = s->spent;
    for (size_t i = 0; i < s->n; i++) {
        if (!(s->expected[i] > 0))
            return (double)NAN;
        later += i >= s->number ? s->expected[i] : 0;
    }
    if (isfinite(left)) {               /* this one tells about estimates as well */
        before += own;
        spent += elapsed + left;
    }
    double factor = before > 0 ? spent / before : 1;
    return (isfinite(left) ? left : fmax(0, factor * own - elapsed)) + factor * later;
}
