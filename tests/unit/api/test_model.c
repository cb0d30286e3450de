/* An opened model in place of a path: the same results, no file opened again, shared by threads,
 * and files that change under it are found.  With public calls alone. */
#include <surprisal.h>

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "base/memory.h"
#include "tests/check.h"
#include "tests/same_files.h"
#include "tests/unit/formats/folder.h"

#define TEXT "data/demo/text.txt"
enum { CONTEXT = 32, WINDOWS = 2 };

/* Copies of the demo checkpoints, and what the calls write. */
static struct folder top;
static char bf16[256], mxfp4[256];
static char some_ids[CONTEXT * WINDOWS * 4];

static const char *in_top(const char *name)
{
    static char paths[8][256];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", top.path, name);
    return path;
}

static bool copy(const char *from, const char *to)
{
    struct buffer b;
    struct error err = { 0 };
    bool ok = file_read(&b, from, &err) && output_file_write(to, b.data, b.size, &err);
    buffer_free(&b);
    return ok || (fprintf(stderr, "%s\n", err.message), false);
}

static bool copy_checkpoint(char to[256], const char *as, const char *name)
{
    char **names = NULL, from[256], file[512], target[512];
    size_t n = 0;
    snprintf(from, sizeof from, "data/demo/%s", name);
    snprintf(to, 256, "%s", in_top(as));
    bool ok = mkdir(to, 0777) == 0 && file_list(&names, &n, from, "", NULL);
    for (size_t i = 0; ok && i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", from, names[i]);
        snprintf(target, sizeof target, "%s/%s", to, names[i]);
        ok = copy(file, target);
    }
    file_list_free(names, n);
    return ok;
}

/* ---- who opens files of a folder -------------------------------------------------------- */

static int watch(const char *folder)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0 && inotify_add_watch(fd, folder, IN_OPEN) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A file that was opened since the last look and is none of `allowed` (a list as text, or NULL);
 * "": there is none. */
static const char *opened_since(int fd, const char *allowed)
{
    static char name[256];
    _Alignas(struct inotify_event) char events[4096];
    name[0] = '\0';
    for (ssize_t n; (n = read(fd, events, sizeof events)) > 0;)
        for (char *at = events; at < events + n;) {
            const struct inotify_event *e = (const void *)at;
            const char *opened = e->len ? e->name : "the folder";
            if (!allowed || !strstr(allowed, opened))
                snprintf(name, sizeof name, "%s", opened);
            at += sizeof *e + e->len;
        }
    return name;
}

/* ---- calls ------------------------------------------------------------------------------- */

static struct surprisal_eval_options eval_options(const char *path, struct surprisal_model *model)
{
    struct surprisal_eval_options o = surprisal_eval_defaults();
    o.checkpoint = model ? NULL : path;
    o.model = model;
    o.text = TEXT;
    o.context = CONTEXT;
    o.max_windows = WINDOWS;
    o.machine.threads = 1;
    return o;
}

/* The NLL, or a number that none is. */
static double nll_of(const struct surprisal_eval_options *o, struct surprisal_error *err)
{
    struct surprisal_result r;
    if (!surprisal_eval(o, &r, err))
        return -1;
    double nll = r.mean_nll;
    surprisal_result_free(&r);
    return nll;
}

typedef bool call(const char *path, struct surprisal_model *model, const char *out,
                  struct surprisal_error *err);

static bool evaluate_f32(const char *path, struct surprisal_model *model, const char *out,
                         struct surprisal_error *err)
{
    struct surprisal_eval_options o = eval_options(path, model);
    o.out = out;
    o.hidden = SURPRISAL_HIDDEN_F32;
    return nll_of(&o, err) > 0;
}

static bool evaluate_bf16(const char *path, struct surprisal_model *model, const char *out,
                          struct surprisal_error *err)
{
    struct surprisal_eval_options o = eval_options(path, model);
    o.out = out;
    o.machine.compute = SURPRISAL_COMPUTE_BF16;
    return nll_of(&o, err) > 0;
}

static bool run_trace(const char *path, struct surprisal_model *model, const char *out,
                      struct surprisal_error *err)
{
    const struct surprisal_trace_options o = {
        .checkpoint = model ? NULL : path, .model = model, .ids = in_top("ids"), .out = out,
        .machine.threads = 1,
    };
    return surprisal_trace(&o, err);
}

static bool run_trace_bf16(const char *path, struct surprisal_model *model, const char *out,
                           struct surprisal_error *err)
{
    const struct surprisal_trace_options o = {
        .checkpoint = model ? NULL : path, .model = model, .ids = in_top("ids"), .out = out,
        .machine = { .threads = 1, .compute = SURPRISAL_COMPUTE_BF16 },
    };
    return surprisal_trace(&o, err);
}

static bool run_calibrate(const char *path, struct surprisal_model *model, const char *out,
                          struct surprisal_error *err)
{
    struct surprisal_calibrate_options o = surprisal_calibrate_defaults();
    o.eval = eval_options(path, model);
    o.out = out;
    return surprisal_calibrate(&o, NULL, NULL, err);
}

static bool run_inspect(const char *path, struct surprisal_model *model, const char *out,
                        struct surprisal_error *err)
{
    const struct surprisal_inspect_options o = { .checkpoint = model ? NULL : path,
                                                 .model = model };
    char *json;
    struct error inner;
    if (!surprisal_inspect(&o, &json, NULL, err))
        return false;
    bool ok = output_file_write(out, json, strlen(json), &inner);
    free(json);
    return ok;
}

static bool run_dequantize(const char *path, struct surprisal_model *model, const char *out,
                           struct surprisal_error *err)
{
    const struct surprisal_dequantize_options o = {
        .checkpoint = model ? NULL : path, .model = model, .out = out, .machine.threads = 1,
    };
    return surprisal_dequantize(&o, NULL, NULL, err);
}

static bool run_quantize(const char *path, struct surprisal_model *model, const char *out,
                         struct surprisal_error *err)
{
    const struct surprisal_quantize_options o = {
        .checkpoint = model ? NULL : path, .model = model, .out = out, .machine.threads = 1,
    };
    return surprisal_quantize(&o, NULL, NULL, err);
}

static bool run_bench(const char *path, struct surprisal_model *model, const char *out,
                      struct surprisal_error *err)
{
    const struct surprisal_bench_options o = {
        .checkpoint = model ? NULL : path, .model = model, .seconds = 1e-4, .machine.threads = 1,
    };
    char *json = NULL;
    (void)out;
    bool ok = surprisal_bench(&o, &json, NULL, err) && strstr(json, path);
    free(json);
    return ok;
}

/* What it writes is compared: a file, or that one in the folder that it makes. */
static const struct {
    const char *name;
    call *run;
    bool of_bf16, is_slow;
    const char *file;                   /* NULL: nothing is written; "": `out` is the file */
    const char *opens;                  /* files that it may open again; NULL: none */
} calls[] = {
    { "eval", evaluate_f32, false, false, "/tokens.safetensors", NULL },
    { "eval in bf16", evaluate_bf16, false, false, "/tokens.safetensors", NULL },
    { "trace", run_trace, false, false, "", NULL },
    { "trace in bf16", run_trace_bf16, false, false, "", NULL },
    { "calibrate", run_calibrate, false, false, "", NULL },
    { "inspect", run_inspect, false, false, "", NULL },
    { "dequantize", run_dequantize, false, false, "/model-00001-of-00001.safetensors",
      "the folder, chat_template.jinja, generation_config.json, tokenizer.json,"
      " tokenizer_config.json" },
    { "quantize", run_quantize, true, false, "/model-00001-of-00001.safetensors",
      "the folder, chat_template.jinja, generation_config.json, tokenizer.json,"
      " tokenizer_config.json" },
    { "bench", run_bench, false, true, NULL, "model.safetensors-00001-of-00002.safetensors" },
};

/* Every call twice with one model: both give what the call by path gives. */
static void test_call(size_t i, const char *path, struct surprisal_model *model)
{
    struct surprisal_error err = { 0 };
    char name[128], outs[3][128], files[3][400];
    int fd = watch(path);
    bool ok = true, same = true, watched = false;
    for (int k = 0; k < 3; k++) {
        snprintf(outs[k], sizeof outs[k], "%s/call%zu-%d", top.path, i, k);
        snprintf(files[k], sizeof files[k], "%s%s", outs[k], calls[i].file ? calls[i].file : "");
        if (k == 1 && fd >= 0)
            watched = *opened_since(fd, NULL) != '\0';
        ok = ok && calls[i].run(path, k ? model : NULL, outs[k], &err);
    }
    for (int k = 1; ok && calls[i].file && k < 3; k++)
        same = same && same_files(files[0], files[k]);
    snprintf(name, sizeof name, "%s: a model gives what its path gives", calls[i].name);
    check(ok && same, name, "%s", err.message);
    snprintf(name, sizeof name, "%s: opens no file of the checkpoint again", calls[i].name);
    if (fd < 0) {
        check_skip(name, "no inotify");
        return;
    }
    const char *opened = opened_since(fd, calls[i].opens);
    check(watched && !*opened, name, "%s", watched ? opened : "the call by path is not seen");
    close(fd);
}

/* ---- comparisons ---------------------------------------------------------------------------- */

static const char *const figures[] = { "delta_nll", "mean_kld", "p_value", "layers" };

static cJSON *compare(const struct surprisal_compare_options *o, struct surprisal_error *err)
{
    struct surprisal_comparison c;
    if (!surprisal_compare(o, &c, err))
        return NULL;
    cJSON *document = cJSON_Parse(c.json);
    surprisal_comparison_free(&c);
    return document;
}

static bool same_figures(const cJSON *a, const cJSON *b)
{
    bool same = a && b;
    for (size_t i = 0; same && i < sizeof figures / sizeof *figures; i++) {
        const cJSON *x = cJSON_GetObjectItem(a, figures[i]);
        const cJSON *y = cJSON_GetObjectItem(b, figures[i]);
        same = (!x && !y) || cJSON_Compare(x, y, true);
    }
    return same;
}

static void test_comparisons(struct surprisal_model *a, struct surprisal_model *b)
{
    struct surprisal_error err = { 0 };
    int fd = watch(bf16), fd_b = watch(mxfp4);
    struct surprisal_compare_options o = surprisal_compare_defaults();
    o.eval = eval_options(NULL, NULL);
    o.eval.out = in_top("runs");
    o.a = bf16;
    o.b = mxfp4;
    cJSON *by_path = compare(&o, &err);
    check(by_path != NULL, "compare by path", "%s", err.message);
    bool watched = fd >= 0 && fd_b >= 0 && *opened_since(fd, NULL) && *opened_since(fd_b, NULL);
    o = surprisal_compare_defaults();
    o.eval = eval_options(NULL, NULL);
    o.model_a = a;
    o.model_b = b;
    cJSON *by_model = compare(&o, &err);
    check(same_figures(by_path, by_model), "compare: two models give what their paths give", "%s",
          err.message);
    o = surprisal_compare_defaults();
    o.a = in_top("runs/a");
    o.b = in_top("runs/b");
    o.model_a = a;
    o.model_b = b;
    o.eval.machine.threads = 1;
    cJSON *of_runs = compare(&o, &err);
    cJSON_DeleteItemFromObject(by_path, "layers");
    check(same_figures(by_path, of_runs), "compare: runs with the models that they are of", "%s",
          err.message);
    if (watched)
        check(!*opened_since(fd, NULL) && !*opened_since(fd_b, NULL),
              "compare: opens no file of a checkpoint again", "one was opened");
    else
        check_skip("compare: opens no file of a checkpoint again", "no inotify");
    close(fd);
    close(fd_b);
    cJSON_Delete(by_path);
    cJSON_Delete(by_model);
    cJSON_Delete(of_runs);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 3, ROUNDS = 2 };

struct worker {
    struct surprisal_model *model;
    enum surprisal_compute compute;
    bool inspects;
    double nll[ROUNDS];
    int32_t first_id;
    struct surprisal_error err;
};

static void *work(void *user)
{
    struct worker *w = user;
    struct surprisal_eval_options o = eval_options(NULL, w->model);
    const struct surprisal_inspect_options inspect = { .model = w->model };
    const struct surprisal_tokenizer *t = surprisal_model_tokenizer(w->model, &w->err);
    o.machine.compute = w->compute;
    for (int i = 0; i < ROUNDS; i++) {
        char *json = NULL;
        int32_t *ids = NULL;
        size_t n = 0;
        bool ok = !w->inspects || (surprisal_inspect(&inspect, &json, NULL, &w->err)
                                   && surprisal_tokenize(t, "The", 3, &ids, &n, &w->err));
        w->first_id = n ? ids[0] : -1;
        w->nll[i] = ok ? nll_of(&o, &w->err) : -1;
        free(json);
        free(ids);
    }
    return NULL;
}

/* With a model of their own, of which nothing is known yet. */
static void test_threads(void)
{
    struct surprisal_error err = { 0 };
    struct surprisal_model *model = surprisal_model_open(mxfp4, NULL, &err);
    if (!check(model != NULL, "a model for threads", "%s", err.message))
        return;
    struct worker workers[THREADS] = {
        { .model = model }, { .model = model, .compute = SURPRISAL_COMPUTE_BF16 },
        { .model = model, .inspects = true },
    };
    pthread_t threads[THREADS];
    int started = 0;
    while (started < THREADS && !pthread_create(&threads[started], NULL, work, &workers[started]))
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    struct surprisal_eval_options o = eval_options(mxfp4, NULL);
    double f32 = nll_of(&o, &err);
    o.machine.compute = SURPRISAL_COMPUTE_BF16;
    double in_bf16 = nll_of(&o, &err);
    for (int i = 0; i < started; i++)
        for (int k = 0; k < ROUNDS; k++) {
            double expected = workers[i].compute == SURPRISAL_COMPUTE_BF16 ? in_bf16 : f32;
            check(memcmp(&workers[i].nll[k], &expected, sizeof expected) == 0,
                  "threads that share a model get what one gets", "%.17g, expected %.17g: %s",
                  workers[i].nll[k], expected, workers[i].err.message);
        }
    check(started == THREADS && f32 > 0 && f32 != in_bf16 && workers[2].first_id >= 0,
          "three threads", "%d, %s", started, err.message);
    surprisal_model_close(model);
}

/* ---- changes and refusals ---------------------------------------------------------------- */

enum change { SAME, TOUCHED, REPLACED, GONE, OTHER_RIGHTS, OTHER_BYTES };

/* Its last byte, under its old time. */
static void change_byte(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR);
    uint8_t byte;
    if (fd < 0 || fstat(fd, &st) != 0 || pread(fd, &byte, 1, st.st_size - 1) != 1)
        exit(1);
    byte ^= 1;
    const struct timespec times[2] = { st.st_atim, st.st_mtim };
    if (pwrite(fd, &byte, 1, st.st_size - 1) != 1 || futimens(fd, times) != 0)
        exit(1);
    close(fd);
}

static void change_file(const char *path, enum change change)
{
    char copied[600];
    const struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
    if (change == TOUCHED)
        utimensat(AT_FDCWD, path, old, 0);
    if (change == GONE)
        unlink(path);
    if (change == OTHER_RIGHTS)
        chmod(path, 0400);
    if (change == OTHER_BYTES)
        change_byte(path);
    if (change == REPLACED) {
        snprintf(copied, sizeof copied, "%s.new", path);
        if (!copy(path, copied) || rename(copied, path) != 0)
            perror(path);
    }
}

#define FILE_1 "model.safetensors-00001-of-00002.safetensors"
#define FILE_2 "model.safetensors-00002-of-00002.safetensors"

static void test_changes(void)
{
    static const struct {
        const char *name, *file;
        enum change change;
        bool first, ids, refused;       /* first: before any call */
    } cases[] = {
        { "no change", "config.json", SAME, false, false, false },
        { "weights with another time", FILE_1, TOUCHED, false, false, true },
        { "weights replaced by a copy", FILE_2, REPLACED, false, false, true },
        { "weights with other rights", FILE_1, OTHER_RIGHTS, false, false, false },
        { "other rights, before a call", FILE_1, OTHER_RIGHTS, true, false, true },
        { "weights with other bytes, time set back", FILE_2, OTHER_BYTES, false, false, true },
        { "a config that is gone", "config.json", GONE, false, false, true },
        { "a tokenizer with another time", "tokenizer.json", TOUCHED, false, false, true },
        { "a tokenizer that ids do not need", "tokenizer.json", TOUCHED, false, true, false },
        { "another file of the folder", "generation_config.json", GONE, false, false, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct surprisal_error err = { 0 };
        char path[256], file[512];
        if (!copy_checkpoint(path, "changed", "mxfp4"))
            exit(1);
        struct surprisal_model *model = surprisal_model_open(path, NULL, &err);
        struct surprisal_eval_options o = eval_options(NULL, model);
        if (cases[i].ids) {
            o.text = NULL;
            o.ids = in_top("ids");
        }
        double before = cases[i].first ? 1 : model ? nll_of(&o, &err) : -1;
        snprintf(file, sizeof file, "%s/%s", path, cases[i].file);
        change_file(file, cases[i].change);
        double after = nll_of(&o, &err);
        check(before > 0 && (cases[i].refused ? after < 0 && strstr(err.message, file) : after > 0),
              cases[i].name, "%g, %g: %s", before, after, err.message);
        surprisal_model_close(model);
        nftw(path, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/* "" for a call that went well. */
static const char *message_of(bool ok, struct surprisal_error *err)
{
    if (ok)
        err->message[0] = '\0';
    return err->message;
}

static void refuse(const char *name, bool ok, struct surprisal_error *err, const char *expected)
{
    check(!ok && strstr(message_of(ok, err), expected), name, "'%s'", message_of(ok, err));
}

static void test_both(struct surprisal_model *model)
{
    static const char both[] = "both a checkpoint";
    struct surprisal_error err = { 0 };
    const char *out = in_top("refused");
    struct surprisal_eval_options eval = eval_options(NULL, model);
    eval.checkpoint = mxfp4;
    struct surprisal_calibrate_options calibrate = surprisal_calibrate_defaults();
    calibrate.eval = eval;
    calibrate.out = out;
    struct surprisal_compare_options compare = surprisal_compare_defaults();
    compare.eval = eval_options(NULL, NULL);
    compare.a = mxfp4;
    compare.model_a = compare.model_b = model;
    const struct surprisal_trace_options trace = { mxfp4, model, in_top("ids"), out, { 0 } };
    const struct surprisal_inspect_options inspect = { mxfp4, model };
    const struct surprisal_bench_options bench = { .checkpoint = mxfp4, .model = model };
    const struct surprisal_quantize_options quantize = { .checkpoint = mxfp4, .model = model,
                                                         .out = out };
    const struct surprisal_dequantize_options dequantize = { .checkpoint = mxfp4, .model = model,
                                                             .out = out };
    refuse("eval of both", surprisal_eval_check(&eval, &err), &err, both);
    refuse("calibrate of both", surprisal_calibrate_check(&calibrate, &err), &err, both);
    refuse("compare of both", surprisal_compare_check(&compare, &err), &err, both);
    refuse("trace of both", surprisal_trace(&trace, &err), &err, both);
    refuse("inspect of both", surprisal_inspect(&inspect, NULL, NULL, &err), &err, both);
    refuse("bench of both", surprisal_bench(&bench, NULL, NULL, &err), &err, both);
    refuse("quantize of both", surprisal_quantize_check(&quantize, &err), &err, both);
    refuse("dequantize of both", surprisal_dequantize(&dequantize, NULL, NULL, &err), &err, both);
}

static void test_none(struct surprisal_model *model)
{
    struct surprisal_error err = { 0 };
    const struct surprisal_eval_options eval = eval_options(NULL, NULL);
    struct surprisal_compare_options compare = surprisal_compare_defaults();
    compare.model_a = model;
    const struct surprisal_trace_options trace = { .ids = in_top("ids"), .out = in_top("refused") };
    const struct surprisal_inspect_options inspect = { .model = NULL };
    const struct surprisal_quantize_options quantize = { .out = in_top("refused") };
    refuse("eval of none", surprisal_eval_check(&eval, &err), &err, "no checkpoint is given");
    refuse("compare with one side", surprisal_compare_check(&compare, &err), &err, "B is missing");
    refuse("trace of none", surprisal_trace(&trace, &err), &err, "needs a checkpoint");
    refuse("inspect of none", surprisal_inspect(&inspect, NULL, NULL, &err), &err,
           "no checkpoint is given");
    refuse("quantize of none", surprisal_quantize_check(&quantize, &err), &err, "missing");
    refuse("a model of none", surprisal_model_open(NULL, NULL, &err), &err,
           "no checkpoint is given");
    refuse("a model of a folder that is not there", surprisal_model_open("/none", NULL, &err), &err,
           "/none");
    surprisal_model_close(NULL);
}

/* 16.25: what the process held before is not the peak of a run. */
static void test_peak(struct surprisal_model *model)
{
    enum { BYTES = 400 << 20 };
    struct surprisal_error err = { 0 };
    struct surprisal_result result = { 0 };
    const struct surprisal_eval_options o = eval_options(NULL, model);
    char *much = malloc(BYTES);
    if (much)
        memset(much, 1, BYTES);
    free(much);
    bool ok = surprisal_eval(&o, &result, &err);
    cJSON *summary = ok ? cJSON_Parse(result.summary_json) : NULL;
    const cJSON *peak = cJSON_GetObjectItemCaseSensitive(summary, "peak_rss_bytes");
    check(cJSON_IsNull(peak) || (cJSON_IsNumber(peak) && cJSON_GetNumberValue(peak) < BYTES),
          "16.25 what the process held before is not a run's peak memory", "%g, %s",
          cJSON_GetNumberValue(peak), err.message);
    cJSON_Delete(summary);
    surprisal_result_free(&result);
}

/* Rolling's prefix is that of a folder, for a text and for ids. */
static void test_prefix(struct surprisal_model *model)
{
    static const char *const is_end = "\"prefix_token\":\t\"<|im_end|>\"";
    struct surprisal_error err = { 0 };
    struct surprisal_eval_options options[] = {
        eval_options(bf16, NULL), eval_options(NULL, model), eval_options(NULL, model),
    };
    options[2].text = NULL;
    options[2].ids = in_top("ids");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct surprisal_result result = { 0 };
        options[i].protocol = SURPRISAL_ROLLING;
        check(surprisal_eval(&options[i], &result, &err) && strstr(result.summary_json, is_end),
              "a model has rolling's prefix token", "%zu: %s", i, err.message);
        surprisal_result_free(&result);
    }
}

/* tests/fixtures/mini has no tokenizer. */
static void test_no_tokenizer(void)
{
    struct surprisal_error err = { 0 };
    struct surprisal_model *model = surprisal_model_open("tests/fixtures/mini", NULL, &err);
    struct surprisal_eval_options o = eval_options(NULL, model);
    if (!check(model != NULL, "a model without a tokenizer", "%s", err.message))
        return;
    refuse("its tokenizer", surprisal_model_tokenizer(model, &err), &err, "tokenizer.json");
    refuse("a text for it", nll_of(&o, &err) > 0, &err, "tokenizer.json");
    o.text = NULL;
    o.ids = in_top("ids");
    check(nll_of(&o, &err) > 0, "ids for it", "%s", err.message);
    surprisal_model_close(model);
}

int main(void)
{
    struct surprisal_error err = { 0 };
    bool is_quick = getenv("SURPRISAL_TEST_QUICK") != NULL;
    top = folder_make();
    for (int i = 0; i < CONTEXT * WINDOWS; i++)
        sprintf(some_ids + strlen(some_ids), "%d ", 1 + i % 20);
    folder_write_text(&top, "ids", some_ids);
    if (!copy_checkpoint(bf16, "bf16", "bf16") || !copy_checkpoint(mxfp4, "mxfp4", "mxfp4"))
        return 1;
    struct surprisal_model *a = surprisal_model_open(bf16, NULL, &err);
    struct surprisal_model *b = surprisal_model_open(mxfp4, NULL, &err);
    if (check(a && b, "two models", "%s", err.message)) {
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
            if (!is_quick || !calls[i].is_slow)
                test_call(i, calls[i].of_bf16 ? bf16 : mxfp4, calls[i].of_bf16 ? a : b);
        test_comparisons(a, b);
        test_prefix(a);
        test_threads();
        test_both(b);
        test_none(b);
        test_peak(b);
    }
    surprisal_model_close(a);
    surprisal_model_close(b);
    test_no_tokenizer();
    test_changes();
    folder_remove(&top);
    return check_done();
}
