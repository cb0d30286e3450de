/* Run folders made by the writer itself, then damaged in one way each. */
#include "eval/run/record.h"

#include <math.h>

#include "eval/run/run_folder.h"
#include "eval/protocol/sequence.h"
#include "eval/run/summary.h"
#include "tests/differ.h"
#include "tests/unit/formats/folder.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

/* Disjoint windows of 4 over 12 ids: three tokens are scored in each. */
enum { ROWS = 9, WINDOWS = 3, CONTEXT = 4, TOKENS = 12, WIDTH = 2 };

struct made_up {                        /* what the writer is given */
    struct token_place places[ROWS];
    struct engine_score scores[ROWS];
    float hidden[ROWS * WIDTH];
    enum surprisal_hidden keep;
    enum surprisal_protocol protocol;
    size_t prefixes[WINDOWS];
    bool documents;
    double mean_shift;                  /* what the summary is off by */
};

static struct made_up sound(void)
{
    struct made_up m = { .keep = SURPRISAL_HIDDEN_F32, .protocol = SURPRISAL_DISJOINT };
    for (int i = 0; i < ROWS; i++) {
        m.places[i] = (struct token_place){ i / 3 * 4 + i % 3 + 1, i / 3, 100 + i };
        m.scores[i] = (struct engine_score){ .nll = 0.5 + 0.1 * i, .logsumexp = 3, .top1 = i };
        m.hidden[2 * i] = (float)i;
    }
    return m;
}

static struct figures figures_of(const struct made_up *m)
{
    struct window_score windows[WINDOWS] = { 0 };
    for (int i = 0; i < ROWS; i++)
        if (m->places[i].window >= 0 && m->places[i].window < WINDOWS) {
            compensated_add(&windows[m->places[i].window].nll, m->scores[i].nll);
            windows[m->places[i].window].scored++;
        }
    struct figures f = statistics_figures(windows, WINDOWS);
    f.mean += m->mean_shift;
    return f;
}

static char *summary_text(const struct made_up *m, const struct run_digests *digests,
                          struct error *err)
{
    char path[] = "checkpoint";
    const struct checkpoint ck = { .path = path, .config.model_type = "qwen3_5" };
    const struct weights weights = { 0 };
    const struct input in = { .path = "ids", .n_ids = TOKENS, .bytes = 30, .n_documents = 2 };
    struct engine_window list[WINDOWS];
    size_t prefixes[WINDOWS];
    memcpy(prefixes, m->prefixes, sizeof prefixes);
    const struct windows windows = { .list = list, .n = WINDOWS };
    const struct sequence sequence = { .all = windows, .windows = windows, .prefixes = prefixes };
    const struct surprisal_eval_options options = { .hidden = m->keep };
    const struct surprisal_protocol_plan plan = {
        .protocol = m->protocol, .context = CONTEXT, .stride = CONTEXT,
        .task = m->documents ? SURPRISAL_TASK_WIKITEXT : SURPRISAL_TASK_NONE,
    };
    const struct summary s = {
        .options = &options, .plan = &plan, .checkpoint = &ck, .weights = &weights, .input = &in,
        .prefix_id = -1,
        .isa = "scalar", .threads = 1, .windows = WINDOWS, .scored = ROWS, .sequence = &sequence,
        .digests = *digests, .figures = figures_of(m),
    };
    return summary_json(&s, err);
}

static bool write_run(const char *path, const struct made_up *m, struct error *err)
{
    struct run_folder r;
    struct run_digests digests;
    char *summary = NULL;
    bool ok = run_folder_begin(&r, path, ROWS, m->keep, WIDTH, false, err)
           && run_folder_add(&r, 0, ROWS, m->places, m->scores, m->hidden, err)
           && run_folder_digests(&r, &digests, err) && (summary = summary_text(m, &digests, err))
           && run_folder_commit(&r, summary, err);
    if (!ok)
        run_folder_abandon(&r);
    free(summary);
    return ok;
}

/* With hidden states; after a failure nothing is to be closed. */
static bool open_whole(struct record *r, const char *folder, struct error *err)
{
    if (!record_open(r, folder, err))
        return false;
    if (record_view_hidden(r, err))
        return true;
    record_close(r);
    return false;
}

static void test_content(const struct folder *f)
{
    struct error err = { 0 };
    struct record r;
    struct made_up m = sound();
    if (!check(write_run(folder_path(f, "sound"), &m, &err)
               && open_whole(&r, folder_path(f, "sound"), &err), "a run is read again", "%s",
               err.message))
        return;
    bool same = r.scored == ROWS && r.windows == WINDOWS && r.tokens == TOKENS && !r.document;
    for (int i = 0; same && i < ROWS; i++)
        same = r.position[i] == m.places[i].position && r.window[i] == m.places[i].window
            && r.id[i] == m.places[i].id && r.nll[i] == m.scores[i].nll
            && r.top1[i] == m.scores[i].top1 && r.logsumexp[i] == m.scores[i].logsumexp
            && r.index_in_window[i] == i % 3 + 1;
    check(same, "rows are those written, with the index in the window", "they differ");
    char where[DIFFER_TEXT] = "";
    check(r.hidden.rows == ROWS && r.hidden.cols == WIDTH && r.hidden.dtype == DTYPE_F32
              && same_bytes(where, r.hidden.data, m.hidden, sizeof m.hidden),
          "hidden states are viewed", "%zu %s", r.hidden.cols, where);
    record_close(&r);
    check(record_open(&r, folder_path(f, "sound"), &err) && r.keeps_hidden && !r.hidden.data,
          "hidden states that are not asked for are not looked at", "%s", err.message);
    record_close(&r);

    /* Rolling: two documents, the first in two windows; every token is scored. */
    m.protocol = SURPRISAL_ROLLING;
    m.documents = true;
    memcpy(m.prefixes, (size_t[]){ 1, 1, 2 }, sizeof m.prefixes);
    for (int i = 0; i < ROWS; i++)
        m.places[i] = (struct token_place){ i, i < 4 ? 0 : i < 6 ? 1 : 2, 7 };
    static const int32_t index[ROWS] = { 1, 2, 3, 4, 3, 4, 1, 2, 3 };
    check(write_run(folder_path(f, "documents"), &m, &err)
          && record_open(&r, folder_path(f, "documents"), &err) && r.n_documents == 2
          && r.document[0] == 0 && r.document[1] == 0 && r.document[2] == 1
          && same_i32(where, r.index_in_window, index, ROWS),
          "windows know their documents; a last window is filled up from the left", "%s %s",
          err.message, where);
    record_close(&r);
}

/* ---- made wrong, with digests that fit ------------------------------------------------- */

static void swap_rows(struct made_up *m)
{
    struct token_place first = m->places[0];
    m->places[0] = m->places[1];
    m->places[1] = first;
}
static void jump(struct made_up *m) { m->places[4].window = 0; }
static void far_window(struct made_up *m) { m->places[ROWS - 1].window = WINDOWS; }
static void far_position(struct made_up *m) { m->places[ROWS - 1].position = TOKENS; }
static void other_window(struct made_up *m) { m->places[3].window = 0; }
static void negative_id(struct made_up *m) { m->places[2].id = -1; }
static void negative_nll(struct made_up *m) { m->scores[2].nll = -0.25; }
static void no_nll(struct made_up *m) { m->scores[2].nll = (double)NAN; }
static void other_mean(struct made_up *m) { m->mean_shift = 1e-6; }
static void no_hidden(struct made_up *m) { m->keep = SURPRISAL_HIDDEN_NONE; }

static void test_wrong(const struct folder *f)
{
    static const struct {
        const char *name, *says;
        void (*change)(struct made_up *m);
    } cases[] = {
        { "rows out of order", "row 1 has position 1, out of order", swap_rows },
        { "windows out of order", "row 4 has window 0, out of order", jump },
        { "a window that is none", "row 8 has window 3", far_window },
        { "a position beyond the text", "row 8 has position 12", far_position },
        { "a row in a window that does not reach it",
          "row 3 has position 5, which is not in window 0", other_window },
        { "a negative id", "row 2 has a negative token id", negative_id },
        { "a negative NLL", "row 2 has NLL -0.25", negative_nll },
        { "an NLL that is no number", "row 2 has NLL nan", no_nll },
        { "another mean in the summary", "mean_nll is 0.9000000000000001", other_mean },
        { "no hidden states", "holds no final hidden states", no_hidden },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct record r;
        char name[32];
        struct made_up m = sound();
        cases[i].change(&m);
        snprintf(name, sizeof name, "wrong-%zu", i);
        bool ok = write_run(folder_path(f, name), &m, &err);
        check(ok && !open_whole(&r, folder_path(f, name), &err)
              && strstr(err.message, cases[i].says) && strstr(err.message, name), cases[i].name,
              "'%s'", err.message);
    }
}

/* ---- damaged afterwards ---------------------------------------------------------------- */

/* Writes `to` over the bytes `after` bytes behind `mark`. */
static bool overwrite(struct buffer *b, const char *mark, size_t after, const char *to)
{
    char *at = memmem(b->data, b->size, mark, strlen(mark));
    if (at)
        memcpy(at + after, to, strlen(to));
    return at != NULL;
}

static void test_damage(const struct folder *f)
{
    static const struct {
        const char *name, *file, *mark;
        size_t after;
        const char *to;                 /* NULL: the file is cut `after` bytes before its end;
                                           without a mark a bit there is flipped */
        const char *says;
    } cases[] = {
        { "an edited figure", "summary.json", "mean_nll\":\t0.", 12, "8",
          "summary.json: was edited" },
        { "an edited digest", "summary.json", "\t\"sha256\":\t\"", 11, "xx",
          "summary.json: was edited" },
        { "a summary that was cut short", "summary.json", NULL, 1, NULL,
          "does not end with its own sha256" },
        { "a summary of a version without digests", "summary.json", NULL, 80, NULL,
          "evaluate again" },
        { "rows that were cut short", "tokens.safetensors", NULL, 1, NULL, "tokens.safetensors" },
        { "an edited row", "tokens.safetensors", NULL, sizeof(float[ROWS * WIDTH]) + 1, "flip",
          "tokens_sha256" },
        { "an edited hidden state", "tokens.safetensors", NULL, 1, "flip", "hidden_sha256" },
        { "a column of another type", "tokens.safetensors", "\"top1\":{\"dtype\":\"", 17, "F32",
          "'top1' is F32 [9]" },
        { "a column by another name", "tokens.safetensors", "\"top1\"", 1, "top2",
          "has no column 'top1'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct record r;
        struct buffer b;
        char name[32], file[64];
        struct made_up m = sound();
        snprintf(name, sizeof name, "damaged-%zu", i);
        snprintf(file, sizeof file, "%s/%s", name, cases[i].file);
        bool ok = write_run(folder_path(f, name), &m, &err)
               && file_read(&b, folder_path(f, file), &err);
        if (ok && !cases[i].to)
            b.size -= cases[i].after;
        else if (ok && cases[i].mark)
            ok = overwrite(&b, cases[i].mark, cases[i].after, cases[i].to);
        else if (ok)
            b.data[b.size - cases[i].after] ^= 1;
        folder_write(f, file, b.data, b.size);
        buffer_free(&b);
        check(ok && !open_whole(&r, folder_path(f, name), &err)
              && strstr(err.message, cases[i].says) && strstr(err.message, name), cases[i].name,
              "%d '%s'", ok, err.message);
    }
}

static void test_swapped(const struct folder *f)
{
    struct error err = { 0 };
    struct record r;
    struct buffer b;
    struct made_up m = sound();
    m.scores[4].nll += 1;
    bool ok = write_run(folder_path(f, "other"), &m, &err)
           && file_read(&b, folder_path(f, "other/tokens.safetensors"), &err);
    folder_write(f, "sound/tokens.safetensors", b.data, b.size);
    buffer_free(&b);
    check(ok && !record_open(&r, folder_path(f, "sound"), &err)
          && strstr(err.message, "belongs to another summary"), "rows of another run", "'%s'",
          err.message);
    check(record_is_folder(folder_path(f, "other")) && !record_is_folder(f->path)
          && !record_is_folder(folder_path(f, "none")), "a run folder is told from others",
          "it is not");
}

int main(void)
{
    struct folder f = folder_make();
    test_content(&f);
    test_wrong(&f);
    test_damage(&f);
    test_swapped(&f);
    folder_remove(&f);
    return check_done();
}
