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

/* path: a tokenizer.json, or a folder that holds one. */
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

/* ---- evaluation ------------------------------------------------------- */

enum surprisal_protocol {
    SURPRISAL_STRIDED, SURPRISAL_DISJOINT, SURPRISAL_LLAMA, SURPRISAL_ROLLING
};
enum surprisal_join { SURPRISAL_JOIN_RAW, SURPRISAL_JOIN_HF };
enum surprisal_hidden { SURPRISAL_HIDDEN_NONE, SURPRISAL_HIDDEN_F32, SURPRISAL_HIDDEN_BF16 };

struct surprisal_eval_options {
    const char *checkpoint;             /* folder */
    const char *text;                   /* UTF-8 file; or */
    const char *ids;                    /* file of decimal ids separated by white space */
    const char *tokenizer;              /* NULL: the one in the checkpoint */
    enum surprisal_protocol protocol;   /* DISJOINT */
    size_t context;                     /* 2048 */
    size_t stride;                      /* strided only; 0: = context */
    enum surprisal_join join;           /* RAW */
    size_t max_windows;                 /* 0: all */
    int threads;                        /* 0: all */
    size_t memory_bytes;                /* 0: three quarters of what is free */
    const char *isa;                    /* NULL: the best of this machine */
    const char *out;                    /* run folder to create, or NULL */
    enum surprisal_hidden hidden;       /* final hidden states into the run folder */
    struct surprisal_progress progress;
};

SURPRISAL_API struct surprisal_eval_options surprisal_eval_defaults(void);

struct surprisal_result {
    size_t windows, tokens, scored;
    double mean_nll, perplexity;
    double nll_stderr, perplexity_stderr;   /* NaN for one window */
    double seconds, tokens_per_second;
    char *summary_json;                     /* as summary.json; owned */
};

/* Protocols, figures and files: see README and design.  result is valid after success only. */
SURPRISAL_API bool surprisal_eval(const struct surprisal_eval_options *options,
                                  struct surprisal_result *result, struct surprisal_error *err);
SURPRISAL_API void surprisal_result_free(struct surprisal_result *result);

/* ---- looking inside --------------------------------------------------- */

/* What a checkpoint holds: *json is released with free(). */
SURPRISAL_API bool surprisal_inspect(const char *checkpoint, char **json,
                                     struct surprisal_error *err);

struct surprisal_trace_options {
    const char *checkpoint;
    const char *ids;                    /* file of ids */
    const char *out;                    /* safetensors file to write */
    int threads;
    const char *isa;
    struct surprisal_progress progress;
};

/* Writes ids I32 [T], residual F32 [L, T, D], routing I32 [L, T, k] (mixture of experts only) and
 * logits F32 [T, V]. */
SURPRISAL_API bool surprisal_trace(const struct surprisal_trace_options *options,
                                   struct surprisal_error *err);

#ifdef __cplusplus
}
#endif
#endif
