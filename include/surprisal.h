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
 * global state: calls on different objects may run in different threads. */
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

/* How long work tells where it is.  Both members may be NULL. */
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

/* Reads a file as surprisal_eval does; path "-" is the standard input.  Anything but UTF-8 is
 * refused.  *text: *n_bytes and a NUL, released with free(). */
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
 *   ROLLING   every token once, C a window, after a prefix token (lm-evaluation-harness) */
enum surprisal_protocol {
    SURPRISAL_STRIDED, SURPRISAL_DISJOINT, SURPRISAL_LLAMA, SURPRISAL_ROLLING
};
/* F32, or BF16: activations rounded where transformers in bfloat16 rounds them, sums in f32. */
enum surprisal_compute { SURPRISAL_COMPUTE_F32, SURPRISAL_COMPUTE_BF16 };
enum surprisal_hidden { SURPRISAL_HIDDEN_NONE, SURPRISAL_HIDDEN_F32, SURPRISAL_HIDDEN_BF16 };
/* Documents that ROLLING scores apart: the text is one, or it is a WikiText file whose articles are
 * found, undone of their tokenization and counted as lm-evaluation-harness's task `wikitext` does. */
enum surprisal_documents { SURPRISAL_DOCUMENTS_ONE, SURPRISAL_DOCUMENTS_WIKITEXT };

/* What an evaluation will cost, known before the work starts. */
struct surprisal_plan {
    size_t windows, tokens, scored;
    size_t model_tokens;                /* that go through the layers; windows may overlap */
    size_t passes;                      /* times that the weights are read */
    size_t bytes_read;                  /* of weights, in all passes */
    size_t memory_bytes;                /* of the process, at most */
    size_t state_bytes;                 /* of what is saved now and then in OUT.partial; 0: nothing is */
    double flop;                        /* of matrix products with weights */
    double seconds;                     /* estimated from a short measurement; 0: not known */
};

struct surprisal_eval_options {
    const char *checkpoint;             /* folder */
    const char *text;                   /* UTF-8 file; or */
    const char *ids;                    /* file of decimal ids separated by white space */
    const char *tokenizer;              /* NULL: the one in the checkpoint */
    enum surprisal_protocol protocol;   /* DISJOINT */
    size_t context;                     /* 2048; at least 2 */
    size_t stride;                      /* strided only, at most context; 0: = context */
    enum surprisal_join join;           /* RAW */
    enum surprisal_documents documents; /* ONE; rolling only */
    size_t max_documents;               /* 0: all */
    size_t max_windows;                 /* 0: all */
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
    size_t windows, tokens, scored;
    double mean_nll, perplexity;
    double nll_stderr, perplexity_stderr;   /* over windows; NaN for one window */
    /* exp(mean_nll * tokens / words) and so on: lm-evaluation-harness's figures where all tokens are
     * scored (ROLLING); elsewhere the mean stands for the tokens that are not.  NaN without text. */
    double word_perplexity, byte_perplexity, bits_per_byte;
    double seconds;                         /* of scoring and hashing, without opening and tokenizing */
    double tokens_per_second;               /* model tokens of the plan, by these seconds */
    char *summary_json;                     /* as summary.json; owned */
};

/* Scores a text and, with options->out, writes a run folder: summary.json and tokens.safetensors.
 * The folder must not exist; it appears when it is complete.  An interrupted run (also one that was
 * killed) leaves OUT.partial, from which `resume` goes on to the same bytes.
 * result is valid after success only. */
SURPRISAL_API bool surprisal_eval(const struct surprisal_eval_options *options,
                                  struct surprisal_result *result, struct surprisal_error *err);
SURPRISAL_API void surprisal_result_free(struct surprisal_result *result);

/* ---- looking inside --------------------------------------------------- */

/* What a checkpoint holds, for programs and for people.  Each is released with free(); either
 * pointer may be NULL. */
SURPRISAL_API bool surprisal_inspect(const char *checkpoint, char **json, char **text,
                                     struct surprisal_error *err);

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
 * reach on a model's shapes, for programs and for people; eval/bench_report.h describes the JSON.
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

#ifdef __cplusplus
}
#endif
#endif
