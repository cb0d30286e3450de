#include "eval/run/run_folder.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "eval/run/unfinished_run.h"
#include "tests/differ.h"

static char folder[] = "/tmp/surprisal-run-folder-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static size_t entries(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n - 2;
}

enum { ROWS = 5, WIDTH = 3 };

static const struct token_place places[ROWS] = {
    { 1, 0, 11 }, { 2, 0, 12 }, { 5, 1, 15 }, { 6, 1, 16 }, { 9, 2, 19 },
};
static const struct engine_score scores[ROWS] = {
    { 0.5, 1.5f, 7 }, { 0x1.23456789abcdep-3, 2.5f, 8 }, { 2, 3.5f, 9 }, { 3, 4.5f, 10 },
    { 4, 5.5f, 11 },
};
/* 1 + 2^-8 lies between two BF16 and goes to the even one below, 1 + 3 * 2^-8 to the one above. */
static const float hidden[ROWS * WIDTH] = {
    1, 1 + 0x1p-8f, 1 + 0x3p-8f, -1, -1 - 0x1p-8f, 1 + 0x1.8p-8f, 0, -0.0f, 0x1p-126f,
    1e30f, -1e30f, 3.140625f, 1, 2, 3,
};
static const uint16_t hidden_bf16[6] = { 0x3F80, 0x3F80, 0x3F82, 0xBF80, 0xBF80, 0x3F81 };

static bool begin(struct unfinished_run *p, const char *path, bool resume, struct error *err)
{
    const struct output_request request = { .path = path, .kind = "run", .resume = resume };
    return unfinished_run_begin(p, &request, err);
}

static bool write_run(const char *path, enum surprisal_hidden kind, struct error *err)
{
    struct unfinished_run p;
    struct run_folder r = { 0 };
    bool ok = begin(&p, path, false, err)
           && run_folder_begin(&r, p.folder, ROWS, kind, WIDTH, false, err)
           && run_folder_add(&r, 0, 2, places, scores, hidden, err)
           && run_folder_add(&r, 2, 0, NULL, NULL, NULL, err)
           && run_folder_add(&r, 2, 3, places + 2, scores + 2, hidden + 2 * WIDTH, err)
           && !file_exists(path)
           && run_folder_commit(&r, "{}", err);
    run_folder_abandon(&r);
    if (ok)
        return unfinished_run_commit(&p, err);
    unfinished_run_abandon(&p);
    return false;
}

static bool column_is(const struct safetensors_file *f, const char *name, enum dtype dtype,
                      size_t n_bytes)
{
    const struct tensor *t = safetensors_find(f, name);
    return t && t->dtype == dtype && t->n_bytes == n_bytes;
}

static void test_content(void)
{
    struct error err = { 0 };
    const char *path = in_folder("run");
    bool ok = write_run(path, SURPRISAL_HIDDEN_BF16, &err);
    check(ok && entries(path) == 2 && entries(folder) == 1, "a run has its two files and no others",
          "%s", err.message);
    struct safetensors_file f;
    if (!check(safetensors_open(&f, in_folder("run/tokens.safetensors"), &err),
               "tokens.safetensors opens", "%s", err.message))
        return;
    check(column_is(&f, "position", DTYPE_I32, 20) && column_is(&f, "window", DTYPE_I32, 20)
          && column_is(&f, "id", DTYPE_I32, 20) && column_is(&f, "nll", DTYPE_F64, 40)
          && column_is(&f, "top1", DTYPE_I32, 20) && column_is(&f, "logsumexp", DTYPE_F32, 20)
          && column_is(&f, "hidden", DTYPE_BF16, 30), "columns have their types", "not all");
    bool same = true;
    for (size_t i = 0; i < ROWS; i++) {
        const size_t at = 4 * i;
        same = same
            && memcmp(safetensors_find(&f, "position")->data + at, &places[i].position, 4) == 0
            && memcmp(safetensors_find(&f, "window")->data + at, &places[i].window, 4) == 0
            && memcmp(safetensors_find(&f, "id")->data + at, &places[i].id, 4) == 0
            && memcmp(safetensors_find(&f, "nll")->data + 2 * at, &scores[i].nll, 8) == 0
            && memcmp(safetensors_find(&f, "top1")->data + at, &scores[i].top1, 4) == 0
            && memcmp(safetensors_find(&f, "logsumexp")->data + at, &scores[i].logsumexp, 4) == 0;
    }
    check(same, "columns hold what was added", "not all");
    check_equal_bytes("hidden states are rounded to nearest, ties to even",
                      safetensors_find(&f, "hidden")->data, hidden_bf16, sizeof hidden_bf16);
    safetensors_close(&f);

    struct buffer summary = { 0 };
    check(file_read(&summary, in_folder("run/summary.json"), NULL)
          && strcmp(summary.data, "{}") == 0, "summary.json holds the text given", "it does not");
    buffer_free(&summary);
    char where[DIFFER_TEXT] = "";
    check(write_run(in_folder("run-f32/"), SURPRISAL_HIDDEN_F32, &err)
          && safetensors_open(&f, in_folder("run-f32/tokens.safetensors"), &err)
          && same_bytes(where, safetensors_find(&f, "hidden")->data, hidden, sizeof hidden),
          "hidden states as f32; a slash at the end of the name", "%s %s", err.message, where);
    safetensors_close(&f);
}

static void test_refusals(void)
{
    static const struct {
        const char *name, *path, *says;
    } cases[] = {
        { "a folder that exists", "run", "exists already" },
        { "a file that exists", "run/summary.json", "exists already" },
        { "a parent that does not exist", "none/run", "cannot create: No such file" },
        { "a parent that is a file", "run/summary.json/x", "cannot create: Not a directory" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        size_t before = entries(folder);
        bool ok = write_run(in_folder(cases[i].path), SURPRISAL_HIDDEN_NONE, &err);
        check(!ok && strstr(err.message, cases[i].says) && strstr(err.message, cases[i].path)
              && entries(folder) == before && entries(in_folder("run")) == 2,
              cases[i].name, "%d '%s'", ok, err.message);
    }
    struct unfinished_run p;
    check(!begin(&p, "", false, NULL), "an empty name", "accepted");
}

static void test_abandon(void)
{
    struct error err = { 0 };
    struct unfinished_run p;
    struct run_folder r = { 0 };
    size_t before = entries(folder);
    bool ok = begin(&p, in_folder("left"), false, &err)
           && run_folder_begin(&r, p.folder, ROWS, SURPRISAL_HIDDEN_NONE, 0, false, &err);
    size_t during = entries(folder);
    run_folder_abandon(&r);
    unfinished_run_abandon(&p);
    check(ok && during == before + 1 && entries(folder) == before,
          "what is abandoned leaves nothing",
          "%s", err.message);

    ok = begin(&p, in_folder("raced"), false, &err)
      && run_folder_begin(&r, p.folder, ROWS, SURPRISAL_HIDDEN_NONE, 0, false, &err)
      && run_folder_commit(&r, "{}", &err)
      && mkdir(in_folder("raced"), 0777) == 0 && !unfinished_run_commit(&p, &err);
    check(ok && strstr(err.message, "File exists") && strstr(err.message, "raced.partial")
          && entries(in_folder("raced")) == 0,
          "L1: a folder that appears meanwhile is not replaced", "'%s'", err.message);
    check(entries(in_folder("raced.partial")) == 3, "L1: and the results stay, with their mark",
          "%zu entries", entries(in_folder("raced.partial")));
    ok = rmdir(in_folder("raced")) == 0 && begin(&p, in_folder("raced"), true, &err)
      && unfinished_run_commit(&p, &err);
    check(ok && entries(in_folder("raced")) == 2, "L1: --resume gives them their name", "'%s'",
          err.message);
}

static bool make_file(const char *name)
{
    return output_file_write(in_folder(name), "x", 1, NULL);
}

static bool make_mark(const char *name, const char *kind)
{
    char text[64];
    snprintf(text, sizeof text, "{\"folder\":\"1\",\"unfinished\":\"%s\"}", kind);
    return output_file_write(in_folder(name), text, strlen(text), NULL);
}

/* What a killed process left. */
static void test_leftovers(void)
{
    struct error err = { 0 };
    struct unfinished_run p;
    bool ok = mkdir(in_folder("old.partial"), 0777) == 0
           && mkdir(in_folder("old.partial/llama-8"), 0777) == 0
           && make_mark("old.partial/surprisal-state.json", "run")
           && make_file("old.partial/tokens.safetensors")
           && make_file("old.partial/.surprisal-0123456789abcdef0123456789abcdef.tmp")
           && make_file("old.partial/llama-8/tokens.safetensors")
           && make_file("old.partial/llama-8/.surprisal-0123456789abcdef0123456789abcdef.tmp")
           && begin(&p, in_folder("old"), false, &err);
    check(ok && entries(in_folder("old.partial")) == 1,
          "runs without a state are begun anew", "%s, %zu entries", err.message,
          entries(in_folder("old.partial")));
    ok = ok && make_file("old.partial/state.safetensors")
      && make_file("old.partial/tokens.safetensors");
    unfinished_run_abandon(&p);
    check(ok && entries(in_folder("old.partial")) == 3, "a state keeps what stands with it",
          "%zu entries", entries(in_folder("old.partial")));
    check(!begin(&p, in_folder("old"), false, &err) && strstr(err.message, "--resume"),
          "it is not overwritten", "'%s'", err.message);
    ok = make_file("old.partial/.surprisal-0123456789abcdef0123456789abcdef.tmp")
      && begin(&p, in_folder("old"), true, &err);
    check(ok && entries(in_folder("old.partial")) == 3 && unfinished_run_commit(&p, &err)
          && entries(in_folder("old")) == 1 && !file_exists(in_folder("old.partial")),
          "resumed and complete: no state, no mark, nothing unfinished", "'%s'", err.message);
}

/* Nothing of the user's is touched. */
static void test_foreign(void)
{
    struct error err = { 0 };
    struct unfinished_run p;
    bool ok = mkdir(in_folder("mine.partial"), 0777) == 0
           && mkdir(in_folder("mine.partial/llama-8"), 0777) == 0
           && make_file("mine.partial/llama-8/tokens.safetensors");
    check(ok && !begin(&p, in_folder("mine"), true, &err) && strstr(err.message, "mine.partial")
          && file_exists(in_folder("mine.partial/llama-8/tokens.safetensors")),
          "L4: a folder without our mark is refused", "'%s'", err.message);
    check(make_mark("mine.partial/surprisal-state.json", "checkpoint")
          && !begin(&p, in_folder("mine"), true, &err)
          && strstr(err.message, "unfinished checkpoint")
          && entries(in_folder("mine.partial")) == 2,
          "L4: one of another kind, too", "'%s'", err.message);
    check(make_mark("mine.partial/surprisal-state.json", "run") && make_file("mine.partial/notes")
          && !begin(&p, in_folder("mine"), false, &err) && strstr(err.message, "notes")
          && file_exists(in_folder("mine.partial/llama-8/tokens.safetensors")),
          "L4: a file of somebody's beside ours: nothing is touched", "'%s'", err.message);
}

/* A limit on file sizes stands in for a full disk: the same code meets EFBIG instead of ENOSPC. */
static void test_full_disk(void)
{
    struct rlimit old, small = { 64, RLIM_INFINITY };
    struct error err = { 0 };
    size_t before = entries(folder);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    bool ok = write_run(in_folder("full"), SURPRISAL_HIDDEN_NONE, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    check(!ok && strstr(err.message, "tokens.safetensors") && strstr(err.message, "File too large")
          && entries(folder) == before, "no room: an error that names the file, nothing left",
          "%d '%s'", ok, err.message);
}

int main(void)
{
    if (!check(mkdtemp(folder) != NULL, "temporary folder", "cannot create"))
        return check_done();
    test_content();
    test_refusals();
    test_abandon();
    test_leftovers();
    test_foreign();
    test_full_disk();
    char command[4096];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) != 0 || check_done();
}
