/* metrics.h - what the server has done so far, as Prometheus reads it (text format 0.0.4), by
 * vLLM's names, so that its dashboards fit. */
#ifndef SURPRISAL_SERVER_METRICS_H
#define SURPRISAL_SERVER_METRICS_H

#include <pthread.h>

#include "base/memory.h"
#include "decode/scheduler.h"
#include "grammar/matcher.h"

enum metrics_time {
    METRICS_FIRST_TOKEN, METRICS_BETWEEN_TOKENS, METRICS_REQUEST, METRICS_QUEUE, METRICS_TIMES
};
enum metrics_finish { METRICS_STOP, METRICS_LENGTH, METRICS_ABORT, METRICS_FINISHES };

#define METRICS_BUCKETS 18

struct metrics_histogram {
    size_t counts[METRICS_BUCKETS + 1];     /* the last: above all bounds */
    double sum;
};

struct metrics {
    pthread_mutex_t lock;
    struct metrics_histogram times[METRICS_TIMES];
    size_t finished[METRICS_FINISHES];
    size_t grammars, masks, mask_walks;         /* compiled; of tokens; walks over the vocabulary */
    double grammar_seconds, mask_seconds;
};

bool metrics_open(struct metrics *m, struct error *err);
void metrics_close(struct metrics *m);
void metrics_time(struct metrics *m, enum metrics_time which, double seconds);
void metrics_finish(struct metrics *m, enum metrics_finish how);
/* Forms of answers that were compiled, or refused. */
void metrics_grammar(struct metrics *m, double seconds);
/* Of an answer that has ended. */
void metrics_mask(struct metrics *m, const struct matcher_figures *f, double seconds);
/* model: valid UTF-8. */
bool metrics_write(struct metrics *m, const struct scheduler_figures *figures, const char *model,
                   struct buffer *b, struct error *err);

#endif
