/* pace.h - how fast the work goes and how long it will take: of the kind of work at hand, and of a
 * job in stages.  Times are given, in seconds of any clock: nothing here looks at one. */
#ifndef SURPRISAL_CLI_PACE_H
#define SURPRISAL_CLI_PACE_H

#include <stdbool.h>
#include <surprisal.h>

#define PACE_SECONDS 30.0               /* the rate is that of the last half minute */
#define PACE_SAMPLES 64                 /* half a second apart: more than PACE_SECONDS */

/* What was done when, of one kind of work.  Zero-initialise; zero again where another begins. */
struct pace {
    struct { double seconds, done; } samples[PACE_SAMPLES];     /* a ring: sample i at i modulo */
    size_t n;                           /* samples so far; the last PACE_SAMPLES are kept */
    double seconds, done, total;        /* the latest report */
    char unit[16];
};

/* A report.  Another total or unit, or less done than before, is another kind of work (hashing,
 * then scoring; the second of two evaluations), which is measured from here.  True for the first of
 * a kind. */
bool pace_add(struct pace *p, double seconds, double done, double total, const char *unit);
/* Units a second; 0: not known. */
double pace_rate(const struct pace *p);
/* Seconds until `total`; NaN: not known. */
double pace_left(const struct pace *p);

#define PACE_STAGES 8

/* Zero-initialise: no stages. */
struct pace_stages {
    size_t n, number;                   /* number: of the one at work, from 1; 0: none yet */
    double expected[PACE_STAGES];       /* seconds, as estimated before the work */
    double begun;                       /* the one at work */
    double before, spent;               /* seconds that those before it were expected to take, and
                                           took */
};

void pace_stages_plan(struct pace_stages *s, const struct surprisal_stage *stages, size_t n);
/* A stage begins; index: from 0. */
void pace_stages_next(struct pace_stages *s, size_t index, double seconds);
/* Seconds until the end of the last stage, given those of the one at work (NaN: not known).  By how
 * much the estimates were off so far is expected of the others, too.  NaN: not known. */
double pace_stages_left(const struct pace_stages *s, double left, double seconds);

#endif
