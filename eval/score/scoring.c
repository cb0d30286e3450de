#include "eval/score/scoring.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* The next target: its window and place; false after the last. */
static bool next_target(struct scoring *s, struct token_place *place)
{
    const struct sequence *q = s->sequence;
    while (s->window < q->windows.n && s->target == q->windows.list[s->window].end)
        if (++s->window < q->windows.n)
            s->target = q->windows.list[s->window].first;
    if (s->window == q->windows.n)
        return false;
    *place = (struct token_place){
        .position = (int32_t)(s->target - q->prefixes[q->first_window + s->window]),
        .window = (int32_t)(q->first_window + s->window),
        .id = q->ids[s->target++],
    };
    return true;
}

/* NaN: the window is left out. */
static void add_to_window(struct scoring *s, double nll)
{
    s->row++;
    if (isnan(nll))
        return;
    compensated_add(&s->windows[s->window].nll, nll);
    s->windows[s->window].scored++;
}

/* Notes the positions of the next n targets and adds their NLL to their windows. */
static bool place(struct scoring *s, size_t n, const struct engine_score *scores)
{
    for (size_t i = 0; i < n; i++) {
        if (!next_target(s, &s->places[i]))
            return false;
        add_to_window(s, scores[i].nll);
    }
    return true;
}

bool scoring_replay(struct scoring *s, size_t rows, struct error *err)
{
    double nll[1024];
    struct token_place place;
    for (size_t row = 0; row < rows;) {
        size_t n = size_min(sizeof nll / sizeof *nll, rows - row);
        if (!run_folder_read_nll(s->out, row, n, nll, err))
            return false;
        for (size_t i = 0; i < n; i++, row++) {
            if (!next_target(s, &place))
                return error_set(err, "%s: has more scores than the text has targets",
                                 s->out->path);
            add_to_window(s, nll[i]);
        }
    }
    return true;
}

bool scoring_consume(void *user, size_t row, size_t n, const struct engine_score *scores,
                 const float *hidden, struct error *err)
{
    struct scoring *s = user;
    assert(row == s->row);
    if (!mem_grow(&s->places, &s->capacity, n, sizeof *s->places, "scores", err))
        return false;
    if (!place(s, n, scores))
        return error_set(err, "more scores than targets");
    return !s->out || run_folder_add(s->out, row, n, s->places, scores, hidden, err);
}

bool scoring_begin(struct scoring *s, const struct sequence *sequence, struct run_folder *out,
                          struct error *err)
{
    *s = (struct scoring){ .sequence = sequence, .out = out };
    s->target = sequence->windows.list[0].first;
    s->windows = mem_array(sequence->windows.n, sizeof *s->windows, "windows", err);
    return s->windows != NULL;
}

void scoring_free(struct scoring *s)
{
    free(s->windows);
    free(s->places);
}
