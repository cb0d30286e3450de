/* surprisal.h - evaluate language-model checkpoints on the CPU.
 *
 *     struct surprisal_error err = { 0 };
 *     struct surprisal_eval_options options = surprisal_eval_defaults();
 *     options.checkpoint = "Qwen3.5-35B-A3B";
 *     options.text = "wiki.test.raw";
 *     struct surprisal_result result;
 *     if (!surprisal_eval(&options, &result, &err))
 *         fprintf(stderr, "%s\n", err.message);
 *     else
 *         printf("%.4f\n", result.perplexity);
 *     surprisal_result_free(&result);
 *
 * Conventions: a function that can fail returns bool (or NULL) and fills *err with one line that
 * names the file or argument, what was found and what was expected.  NLL is in nats.  Pointers
 * returned through an argument are owned by the caller and released by the function named beside
 * them; strings given in options are borrowed for the call.  Nothing is printed, and there is no
 * global state: calls on different objects may run in different threads.  Numbers are written and read
 * as in the C locale, whatever locale the program has set, and that stays as it is. */
#ifndef SURPRISAL_H
#define SURPRISAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SURPRISAL_API __attribute__((visibility("default")))

struct surprisal_error {
    char message[1024];
    bool interrupted;           /* report() asked to stop */
};

SURPRISAL_API const char *surprisal_version(void);

/* Gives safe->message: text from outside (an argument, a path) as messages and reports of the library
 * show it.  Control characters and broken UTF-8 become '?'; of what is too long the middle goes. */
SURPRISAL_API const char *surprisal_printable(struct surprisal_error *safe, const char *text);

/* Progress callbacks of long calls.  Both members may be NULL. */
struct surprisal_progress {
    /* done of total (0: unknown) `unit`s; stage says what is going on.  Return false to stop: the
     * call then fails with err->interrupted. */
    bool (*report)(void *user, const char *stage, double done, double total, const char *unit);
    /* One line that does not stop the work. */
    void (*warn)(void *user, const char *message);
    void *user;
};

/* ---- tokenizer -------------------------------------------------------- */

struct surprisal_tokenizer;

/* path: a tokenizer.json, or a folder that holds one.  Closing NULL is fine. */
SURPRISAL_API struct surprisal_tokenizer *surprisal_tokenizer_open(const char *path,
                                                                   struct surprisal_error *err);
SURPRISAL_API void surprisal_tokenizer_close(struct surprisal_tokenizer *t);

/* text: n_bytes of UTF-8 (NUL allowed).  *ids: [*n_ids], released with free(). */
SURPRISAL_API bool surprisal_tokenize(const struct surprisal_tokenizer *t, const char *text,
                                      size_t n_bytes, int32_t **ids, size_t *n_ids,
                                      struct surprisal_error *err);
/* *text: *n_bytes of UTF-8 and a NUL, released with free().  An unknown id is an error. */
SURPRISAL_API bool surprisal_detokenize(const struct surprisal_tokenizer *t, const int32_t *ids,
                                        size_t n_ids, char **text, size_t *n_bytes,
                                        struct surprisal_error *err);

/* ---- inputs ----------------------------------------------------------- */

/* The text of a data set: the file as it is, or its rows as Hugging Face's `datasets` holds them
 * (a line of white space is the row "", any other line a row with its newline) joined by two
 * newlines, as the Hugging Face perplexity guide does. */
enum surprisal_join { SURPRISAL_JOIN_RAW, SURPRISAL_JOIN_HF };

/* Reads a file as surprisal_eval does; path "-" is the standard input, and a pipe will do.  Anything
 * but UTF-8 is refused.  *text: *n_bytes and a NUL, released with free(). */
SURPRISAL_API bool surprisal_read_text(const char *path, enum surprisal_join join, char **text,
                                       size_t *n_bytes, struct surprisal_error *err);
/* Decimal ids separated by white space.  *ids: [*n_ids], released with free(). */
SURPRISAL_API bool surprisal_read_ids(const char *path, int32_t **ids, size_t *n_ids,
                                      struct surprisal_error *err);

/* ---- evaluation ------------------------------------------------------- */

/* Which windows of the text the model sees, and which of their tokens are scored; C is the context.
 *   STRIDED   windows start every `stride` tokens, the last is shorter; a token is scored in the
 *             first window that reaches it (Hugging Face's perplexity guide)
 *   DISJOINT  whole windows of C, all but the first token of each ("wikitext, 2048 ctx")
 *   LLAMA     whole windows of C, the second half of each (llama.cpp's perplexity tool)
 *   ROLLING   every token once, C a window, after a prefix token (lm-evaluation-harness)
 * DEFAULT is DISJOINT, or what the task says. */
enum surprisal_protocol {
    SURPRISAL_PROTOCOL_DEFAULT,
    SURPRISAL_STRIDED, SURPRISAL_DISJOINT, SURPRISAL_LLAMA, SURPRISAL_ROLLING
};
/* F32, or BF16: activations rounded where transformers in bfloat16 rounds them, sums in f32. */
enum surprisal_compute { SURPRISAL_COMPUTE_F32, SURPRISAL_COMPUTE_BF16 };
enum surprisal_hidden { SURPRISAL_HIDDEN_NONE, SURPRISAL_HIDDEN_F32, SURPRISAL_HIDDEN_BF16 };
/* WIKITEXT is lm-evaluation-harness's task `wikitext`, with the context as its maximal length: the
 * articles of a WikiText file are split, detokenized and scored one by one with ROLLING; words and
 * bytes are counted in the original. */
enum surprisal_task { SURPRISAL_TASK_NONE, SURPRISAL_TASK_WIKITEXT };

/* One way to score the text; all zero is the default. */
struct surprisal_protocol_plan {
    enum surprisal_protocol protocol;
    size_t context;                     /* at least 2; 0: 2048 */
    size_t stride;                      /* strided only, at most context; 0: = context */
    enum surprisal_task task;
};

/* What an evaluation will cost, known before the work starts; of one that is resumed, what is left. */
struct surprisal_plan {
    size_t windows, scored;             /* of all protocols together */
    size_t hidden_size;                 /* of a final hidden state */
    size_t model_tokens;                /* that go through the layers; windows may overlap */
    size_t passes;                      /* times that the weights are read */
    size_t bytes_read;                  /* of weights, in all passes */
    size_t memory_bytes;                /* of the process, at most */
    size_t disk_bytes;                  /* of the run folders, reserved before the work; 0: none is kept */
    size_t state_bytes;                 /* of what is saved now and then in OUT.partial; 0: nothing is */
    double flop;                        /* of matrix products with weights */
    double seconds;                     /* estimated from a short measurement; 0: not known */
};

struct surprisal_eval_options {
    const char *checkpoint;             /* folder */
    const char *text;                   /* UTF-8 file; or */
    const char *ids;                    /* file of decimal ids separated by white space */
    const char *tokenizer;              /* NULL: the one in the checkpoint */
    enum surprisal_protocol protocol;   /* these four: as in struct surprisal_protocol_plan */
    size_t context;
    size_t stride;
    enum surprisal_task task;
    /* Or several ways at once, in one pass over the weights: [n_plans], no two of them the same.
     * The four above stay zero then, and all other options apply to each plan. */
    const struct surprisal_protocol_plan *plans;
    size_t n_plans;
    enum surprisal_join join;           /* RAW */
    size_t max_documents;               /* of the task; 0: all */
    size_t max_windows;                 /* of each plan; 0: all */
    /* What rolling puts before a document.  -1: the tokenizer's <|endoftext|>, else (no tokenizer is
     * read with `ids`) the config's bos_token_id, else its eos_token_id. */
    int32_t prefix_id;
    enum surprisal_compute compute;     /* F32 */
    int threads;                        /* 0: all */
    /* Of the whole process; 0: three quarters of what is free.  Less memory means more passes over
     * the weights, and the same result. */
    size_t memory_bytes;
    const char *isa;                    /* NULL: the best of this machine */
    const char *out;                    /* run folder to create, or NULL */
    /* Go on with the run that was interrupted while it wrote `out`, if there is one.  Its state is
     * OUT.partial/state.safetensors; one of another checkpoint, text or setting is refused. */
    bool resume;
    enum surprisal_hidden hidden;       /* final hidden states into the run folder */
    struct surprisal_progress progress;
    /* Called once, when all is checked and nothing scored yet; gets progress.user.  May be NULL. */
    void (*plan)(void *user, const struct surprisal_plan *plan);
};

SURPRISAL_API struct surprisal_eval_options surprisal_eval_defaults(void);

/* Refuses options that contradict each other or are out of range; touches no file.  surprisal_eval
 * does the same: this tells wrong usage from failure. */
SURPRISAL_API bool surprisal_eval_check(const struct surprisal_eval_options *options,
                                        struct surprisal_error *err);

struct surprisal_result {
    char plan[64];                          /* PROTOCOL-CONTEXT[-STRIDE], "strided-2048-512"; or
                                               TASK-CONTEXT, "wikitext-2048" */
    size_t windows, tokens, scored;
    double mean_nll, perplexity;
    double nll_stderr, perplexity_stderr;   /* over windows; NaN for one window */
    /* exp(mean_nll * tokens / words) and so on: lm-evaluation-harness's figures where all tokens are
     * scored (ROLLING); elsewhere the mean stands for the tokens that are not.  NaN without text. */
    double word_perplexity, byte_perplexity, bits_per_byte;
    /* Of the whole run, all plans together: of scoring and hashing, without opening and tokenizing;
     * tokens that went through the layers, by these seconds. */
    double seconds, tokens_per_second;
    char *summary_json;                     /* as summary.json; owned */
};

/* Scores a text and, with options->out, writes a run folder: summary.json and tokens.safetensors.
 * The folder must not exist; it appears when it is complete.  An interrupted run (also one that was
 * killed) leaves OUT.partial, from which `resume` goes on to the same bytes.
 *
 * With options->plans, `out` holds a run folder a plan, named as result.plan, and they appear
 * together.  tokens.safetensors has the bytes of that plan's own run.
 *
 * results: one, or [n_plans] in the order of the plans; valid after success only, each to be freed. */
SURPRISAL_API bool surprisal_eval(const struct surprisal_eval_options *options,
                                  struct surprisal_result *results, struct surprisal_error *err);
SURPRISAL_API void surprisal_result_free(struct surprisal_result *result);

/* ---- comparison ------------------------------------------------------- */

/* What comparing two checkpoints will cost beside the evaluations' own plans. */
struct surprisal_comparison_plan {
    size_t runs;                        /* evaluations */
    size_t disk_bytes;                  /* of their run folders */
    size_t free_bytes;                  /* where they go */
    const char *folder;
};

struct surprisal_compare_options {
    /* Two run folders, two folders of them that an evaluation by plans wrote, or two checkpoint
     * folders that are evaluated first; A is the original. */
    const char *a, *b;
    /* How checkpoints are evaluated: text or ids, protocol, memory and so on; checkpoint and resume
     * are not used.  Final hidden states are kept, as f32 unless `hidden` says BF16.  `out`: a new
     * folder in which the runs stay as `a`, `b` (and `floor`).  With run folders only `tokenizer`
     * (where it is now, to show text), `threads`, `memory_bytes`, `isa` and `progress` are used, and
     * giving another is refused. */
    struct surprisal_eval_options eval;
    /* A noise floor: A against itself in BF16 compute.  With checkpoints A is evaluated once more;
     * with run folders `floor_run` is the folder of such a run, with folders of plans one that has
     * such a run for each plan that is compared. */
    bool floor;
    const char *floor_run;
    /* Of checkpoints: windows, from the first, whose figures by layer are compared; 0: none. */
    size_t layer_windows;               /* 16 */
    size_t bootstrap;                   /* samples: 2000; 2 to a million */
    uint64_t seed;                      /* 1; at most 2^53 */
    const char *temporary;              /* where a folder for the runs is made without `out`: /tmp */
    const char *command;                /* for the record, how this was asked for; may be NULL */
    /* Called once before checkpoints are evaluated; gets eval.progress.user.  May be NULL. */
    void (*plan)(void *user, const struct surprisal_comparison_plan *plan);
};

SURPRISAL_API struct surprisal_compare_options surprisal_compare_defaults(void);

/* Refuses options that contradict each other or what stands at a and b; reads no file.
 * surprisal_compare does the same: this tells wrong usage from failure. */
SURPRISAL_API bool surprisal_compare_check(const struct surprisal_compare_options *options,
                                           struct surprisal_error *err);

/* Are a and b folders of plans?  Then the run folders of the same name are compared, plan by plan, and
 * one that only one side has is warned about.  No common one is a failure. */
SURPRISAL_API bool
surprisal_compare_takes_plans(const struct surprisal_compare_options *options);

struct surprisal_comparison {
    char *json;                         /* the document, eval/compare/comparison_json.h; of plans
                                         * {"comparisons": [document, ...]}; owned */
    char *text;                         /* the same for people; owned */
};

/* Compares runs that scored the same tokens: paired difference of NLL with its standard error over
 * windows, perplexity, agreement, and where they differ most.  Runs of another text, tokenizer,
 * protocol or context are refused with what differs, records that were cut short or edited by their
 * digests.  result is valid after success only. */
SURPRISAL_API bool surprisal_compare(const struct surprisal_compare_options *options,
                                     struct surprisal_comparison *result,
                                     struct surprisal_error *err);
SURPRISAL_API void surprisal_comparison_free(struct surprisal_comparison *result);

/* ---- reports of a comparison ------------------------------------------- */

/* What becomes of a comparison.  All members may be NULL or 0. */
struct surprisal_report_options {
    /* Files to write; each appears complete or not at all. */
    const char *html;                   /* one page with everything inside, plots by gnuplot */
    const char *markdown;               /* the quality section of a model card */
    const char *junit;                  /* JUnit XML, a test case a gate */
    const char *baseline;               /* what an earlier comparison printed as JSON, to stand beside */
    const char *const *inputs;          /* [n_inputs]: files and folders of the comparison, or NULL; none of
                                           their files is written over (surprisal_report_prepare) */
    size_t n_inputs;
    /* Conditions on figures of the JSON document: "mean_kld<=0.02", "abs(delta_nll) < 0.005",
     * "mean_kld/floor.mean_kld <= 20", "mean_kld <= baseline.mean_kld*1.05"; eval/report/gate.h has the
     * grammar. */
    const char *const *gates;           /* [n_gates] */
    size_t n_gates;
    bool plans;                         /* of plans: a page, a section and a baseline are refused */
    struct surprisal_progress progress; /* only warn(): there are tables where plots should be */
};

/* Refuses gates with wrong syntax or unknown figures, and options that contradict each other; touches
 * no file. */
SURPRISAL_API bool surprisal_report_check(const struct surprisal_report_options *options,
                                          struct surprisal_error *err);
/* The same, and what would fail only after hours of work: a baseline that cannot be read or is no
 * comparison, outputs that cannot be written.  Writes nothing. */
SURPRISAL_API bool surprisal_report_prepare(const struct surprisal_report_options *options,
                                            struct surprisal_error *err);

struct surprisal_report {
    size_t n_failed;                    /* gates that are not met */
    char *failed;                       /* "gate failed: mean_kld<=1e-9: mean_kld is 0.0213", a line each */
    char *baseline;                     /* a table of figures now and then; NULL without a baseline */
};

/* comparison_json: the JSON document of a comparison; of plans, gates apply to each comparison and
 * a failing line names the plan after "gate failed: ".  Writes the files, also when gates fail: that is
 * no error.  A baseline of another original, text or protocol is one.  report is valid after
 * success only. */
SURPRISAL_API bool surprisal_report(const char *comparison_json,
                                    const struct surprisal_report_options *options,
                                    struct surprisal_report *report, struct surprisal_error *err);
SURPRISAL_API void surprisal_report_free(struct surprisal_report *report);

/* ---- calibration ------------------------------------------------------ */

struct surprisal_calibrate_options {
    /* The checkpoint, its text or ids, the windows over them (of one protocol) and what to compute with;
     * what keeps or resumes runs is not used. */
    struct surprisal_eval_options eval;
    const char *out;                    /* file to write */
    size_t min_tokens;                  /* 32: experts that got fewer are named */
};

SURPRISAL_API struct surprisal_calibrate_options surprisal_calibrate_defaults(void);

/* Refuses options that contradict each other or are out of range; touches no file. */
SURPRISAL_API bool surprisal_calibrate_check(const struct surprisal_calibrate_options *options,
                                             struct surprisal_error *err);

/* Takes a text through the layers and writes, for each linear layer but the head, the mean square of
 * each of its input channels and the number of tokens that it saw (eval/score/calibration_file.h): what a
 * quantizer weighs its errors by.  Results do not depend on threads or memory.  A file at `out` is
 * replaced when the new one is complete.  What was done, for programs and for people: each is released
 * with free(); either pointer may be NULL. */
SURPRISAL_API bool surprisal_calibrate(const struct surprisal_calibrate_options *options, char **json,
                                       char **text, struct surprisal_error *err);

/* ---- looking inside --------------------------------------------------- */

/* What a checkpoint holds, for programs and for people.  Each is released with free(); either
 * pointer may be NULL. */
SURPRISAL_API bool surprisal_inspect(const char *checkpoint, char **json, char **text,
                                     struct surprisal_error *err);

struct surprisal_verify_options {
    const char *checkpoint;             /* folder */
    const char *against;                /* the original that it was made from, or NULL */
    const char *html;                   /* page to write, or NULL; a file there is replaced */
    int threads;                        /* 0: all */
    struct surprisal_progress progress;
};

struct surprisal_verify_result {
    size_t findings;                    /* faults; 0: none was found */
    size_t notes;                       /* what is worth knowing and no fault */
    char *json, *text;                  /* for programs and for people; owned */
};

/* Looks for damage: files, index and config against the tensors, what quantization_config says
 * against what is packed, and every value.  Against an original also what is missing or differs, and
 * how far the quantized weights are from it.  A folder that surprisal_eval would refuse is no failure:
 * every fault is listed.  src/verify/verify_report.h describes the JSON.  result is valid after
 * success only. */
SURPRISAL_API bool surprisal_verify(const struct surprisal_verify_options *options,
                                    struct surprisal_verify_result *result,
                                    struct surprisal_error *err);
SURPRISAL_API void surprisal_verify_result_free(struct surprisal_verify_result *result);

struct surprisal_bench_options {
    const char *checkpoint;             /* folder: its shapes are measured, and the disk with its
                                           largest file; NULL: the shapes of Qwen3.5-35B-A3B */
    int threads;                        /* 0: all */
    const char *isa;                    /* NULL: the best of this machine */
    double seconds;                     /* of each of three rounds that a figure gets; 0: 0.15 */
    struct surprisal_progress progress;
    /* Called once before the work with what it will take; gets progress.user.  May be NULL. */
    void (*plan)(void *user, size_t figures, double seconds);
};

/* This machine's limits (arithmetic in registers, memory, disk), and what share of them the kernels
 * reach on a model's shapes, for programs and for people; src/bench/bench_report.h describes the JSON.
 * Weights are random.  Each is released with free(); either pointer may be NULL. */
SURPRISAL_API bool surprisal_bench(const struct surprisal_bench_options *options, char **json,
                                   char **text, struct surprisal_error *err);

struct surprisal_trace_options {
    const char *checkpoint;
    const char *ids;                    /* file of ids */
    const char *out;                    /* safetensors file to write */
    int threads;
    const char *isa;
    struct surprisal_progress progress;
};

/* Writes ids I32 [T], residual F32 [L, T, D] after each layer, routing I32 [L, T, k] (mixture of
 * experts only) and logits F32 [T, V].  A file at `out` is replaced when the new one is complete. */
SURPRISAL_API bool surprisal_trace(const struct surprisal_trace_options *options,
                                   struct surprisal_error *err);

/* ---- quantizing -------------------------------------------------------- */

/* What is packed when no pattern says it: the routed experts of the text model, or every linear
 * layer of the checkpoint. */
enum surprisal_recipe {
    SURPRISAL_RECIPE_DEFAULT, SURPRISAL_RECIPE_EXPERTS, SURPRISAL_RECIPE_LINEARS
};
/* How the exponent of a block's scale is chosen: qstream's three candidates, the best of all
 * exponents, or floor(log2(max)) - 2 of the OCP specification (convert/mxfp4.h). */
enum surprisal_scale { SURPRISAL_SCALE_QSTREAM, SURPRISAL_SCALE_EXACT, SURPRISAL_SCALE_OCP };

struct surprisal_quantize_options {
    const char *checkpoint;             /* folder: BF16, F16 or F32, experts fused or split */
    const char *out;                    /* folder to create; may be NULL with dry_run */
    /* DEFAULT: EXPERTS without patterns, LINEARS with `exclude` alone.  Refused with `include`. */
    enum surprisal_recipe recipe;
    /* Patterns on tensor names, as qstream reads them: with a '*' a shell glob on the whole name,
     * without one a part of it.  Packed is what `include` or the recipe selects, without what
     * `exclude` matches.  An expert's weight goes by its own name or by that of the fused tensor. */
    const char *const *include, *const *exclude;
    size_t n_include, n_exclude;
    bool allow_unmatched;               /* patterns that match nothing are an error without it */
    enum surprisal_scale scale;         /* QSTREAM */
    double scale_percentile;            /* of QSTREAM alone: at most 100; 0: its default, 99.5 */
    /* safetensors files that weigh the errors (convert/importance.h); at most one, not with OCP. */
    const char *gamma;                  /* F32 [in] by module name; or "MODULE.hessian" */
    const char *activations;            /* of `surprisal calibrate` */
    size_t shard_bytes;                 /* of a file, at most; 0: 5,000,000,000 */
    bool dry_run;                       /* no more than the plan */
    bool resume;                        /* go on with what an interrupted run left in OUT.partial */
    int threads;                        /* 0: all */
    const char *isa;                    /* NULL: the best of this machine */
    struct surprisal_progress progress;
    /* Called once with the plan as text, before anything is written; gets progress.user.  May be
     * NULL. */
    void (*plan)(void *user, const char *text);
};

/* All zeros but for the two folders is the default.  Refuses options that contradict each other or
 * are out of range; touches no file. */
SURPRISAL_API bool surprisal_quantize_check(const struct surprisal_quantize_options *options,
                                            struct surprisal_error *err);

/* Writes `out`: a checkpoint with MXFP4 weights as compressed-tensors has them
 * (`mxfp4-pack-quantized`), experts split, shards of at most 5 GB, every other file copied.  The
 * folder must not exist; it appears when it is complete and durable.  What was done, as JSON (with
 * the plan) and as text; each is released with free(), either pointer may be NULL. */
SURPRISAL_API bool surprisal_quantize(const struct surprisal_quantize_options *options, char **json,
                                      char **text, struct surprisal_error *err);

struct surprisal_dequantize_options {
    const char *checkpoint, *out;       /* folders, as above */
    size_t shard_bytes;                 /* 0: 5,000,000,000 */
    bool resume;
    int threads;                        /* 0: all */
    const char *isa;                    /* NULL: the best of this machine */
    struct surprisal_progress progress;
};

/* The way back: every MXFP4 weight in BF16, experts fused as the original checkpoints are published,
 * no quantization_config. */
SURPRISAL_API bool surprisal_dequantize(const struct surprisal_dequantize_options *options,
                                        char **json, char **text, struct surprisal_error *err);

#ifdef __cplusplus
}
#endif
#endif
