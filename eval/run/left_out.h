/* left_out.h - the windows of a run that are left out of its figures, because a NaN or an infinity
 * shows in them (eval --skip-nonfinite).
 *
 * Their rows stay in tokens.safetensors, where every window has its place: NLL, log-sum-exp and
 * hidden states are NaN, top1 is -1.  In summary.json
 *     left_out {windows, tokens, list [{window, token, where}]}
 * has their number, the targets in them (`scored` does not count these), and for each its index and
 * where it was first not finite: the token in the window, and the step, "layer 2, mlp, expert 5".
 * null: none. */
#ifndef SURPRISAL_EVAL_RUN_LEFT_OUT_H
#define SURPRISAL_EVAL_RUN_LEFT_OUT_H

#include "base/json.h"
#include "base/memory.h"
#include "engine/types.h"
#include "eval/protocol/sequence.h"

struct left_out {
    const struct nonfinite *list;       /* borrowed [of]: of each window; NULL: none is left out */
    size_t of;                          /* windows that were scored */
    size_t first_window;                /* of these, among all of the run */
    size_t windows, tokens;
};

/* nonfinite [s->windows.n], or NULL. */
struct left_out left_out_count(const struct nonfinite *nonfinite, const struct sequence *s);

/* The member of a summary; NULL: out of memory. */
cJSON *left_out_json(const struct left_out *l);
/* The same of a list of windows, which is taken over, with so many tokens; none: null. */
cJSON *left_out_member(cJSON *list, size_t tokens);
/* Appends "2 of 10 windows are left out of all figures, as a NaN or infinity shows in them: window
 * 3 (layer 2, mlp, expert 5, token 17), ...".  json: the member of a summary, not null; of: windows
 * that were scored. */
bool left_out_text(struct buffer *out, const cJSON *json, size_t of, struct error *err);
/* Is a line of warnings what left_out_text gave, maybe behind the name of a plan? */
bool left_out_is_text(const char *line);

/* Reads the member of a summary: leaves out[n_windows] true for the windows in its list; out[0] is
 * the window with index `first`.  Refuses a list that is not one of these windows in ascending
 * order.  *tokens: their targets, as it says. */
bool left_out_read(bool *out, size_t first, size_t n_windows, size_t *tokens, const cJSON *summary,
                   const char *path, struct error *err);

/* A window in a state (run_state.h): its index, then what nonfinite.h has of it. */
#define LEFT_OUT_NUMBERS 7
void left_out_pack(int64_t out[LEFT_OUT_NUMBERS], size_t window, const struct nonfinite *n);
bool left_out_unpack(size_t *window, struct nonfinite *n, const int64_t in[LEFT_OUT_NUMBERS]);

#endif
