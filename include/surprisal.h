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
 * global state: calls on different objects may run in different threads.  Numbers are written and
 * read as in the C locale, whatever the locale of the program; that locale is not changed. */
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

/* Gives safe->message: text from outside (an argument, a path) as the library shows it in messages
 * and reports.  Control characters and broken UTF-8 become '?'; a text that is too long loses its
 * middle. */
SURPRISAL_API const char *surprisal_printable(struct surprisal_error *safe, const char *text);

/* Progress callbacks of long calls.  Both members may be NULL. */
struct surprisal_progress {
    /* `done` units of `total` (0: unknown); stage names the current step.  Return false to stop:
     * the call then fails with err->interrupted. */
    bool (*report)(void *user, const char *stage, double done, double total, const char *unit);
    /* A warning of one line; the work continues. */
    void (*warn)(void *user, const char *message);
    void *user;
};

/* F32, or BF16: activations rounded where transformers in bfloat16 rounds them, sums in f32. */
enum surprisal_compute { SURPRISAL_COMPUTE_F32, SURPRISAL_COMPUTE_BF16 };

/* What a call may take of the machine, and how it reports on itself.  All zero is the default.  A
 * program can fill one of these and give it to each call.  Where a call has no use for some
 * members, its options name those that it uses. */
struct surprisal_machine {
    int threads;                        /* 0: all */
    /* Of the whole process; 0: three quarters of what is free.  Less memory means more passes over
     * the weights, and the same result. */
    size_t memory_bytes;
    /* Of an evaluation: processes of the same job on this machine, among which that memory is
     * divided; 0: 1. */
    int processes;
    const char *isa;                    /* the kernels; NULL: the best of this machine */
    enum surprisal_compute compute;     /* F32 */
    struct surprisal_progress progress;
};

/* ---- tokenizer -------------------------------------------------------- */

struct surprisal_tokenizer;

/* path: a tokenizer.json, a folder that holds one, or a GGUF.  Closing NULL is fine. */
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

/* ---- names of checkpoints ---------------------------------------------- */

struct surprisal_hub {
    const char *cache;                  /* folder of the hub client's cache; NULL: there is none */
    const char *revision;               /* branch, tag or commit; NULL: main */
};

/* The path of a checkpoint that may be named as on the hub.  A name OWNER/NAME at which no file is
 * is looked up in the cache: *path is the folder of its snapshot.  Any other name stays, and a
 * revision is refused for it.  A snapshot that lacks files is refused.  Nothing is downloaded.
 * *path is released with free().
 *
 * `checkpoint` below is this folder; or in a folder that holds two models its model.safetensors or
 * model.safetensors.index.json, which picks the one that is read; or a GGUF file, the first of a
 * split, or a folder with one model in such files. */
SURPRISAL_API bool surprisal_find_checkpoint(const char *name, const struct surprisal_hub *hub,
                                             char **path, struct surprisal_error *err);

/* ---- conversations to prompts ------------------------------------------ */

/* A chat template, with the special tokens that tokenizer_config.json names. */
struct surprisal_chat_template;

/* checkpoint: a folder, of which chat_template.jinja is read, else chat_template of
 * tokenizer_config.json.  file: a template that replaces the folder's.  Either may be NULL.  What
 * the template uses beyond the supported part of Jinja is refused by name and line.  Closing NULL
 * is fine; threads may share it. */
SURPRISAL_API struct surprisal_chat_template *
surprisal_chat_template_open(const char *checkpoint, const char *file, struct surprisal_error *err);
SURPRISAL_API void surprisal_chat_template_close(struct surprisal_chat_template *t);

/* DEFAULT leaves it to the template whether the answer begins with thinking. */
enum surprisal_thinking {
    SURPRISAL_THINKING_DEFAULT, SURPRISAL_THINKING_ON, SURPRISAL_THINKING_OFF,
};

/* All zero is the default. */
struct surprisal_prompt_options {
    /* JSON: the messages of a conversation as OpenAI's API has them, or an object as it is sent to
     * /v1/chat/completions, of which `messages`, `tools`, `documents`, `reasoning_effort`,
     * `chat_template_kwargs`, `add_generation_prompt` and `continue_final_message` count. */
    const char *messages;
    const char *tools;  /* JSON: a list of tools; NULL: none, or those beside messages */
    const char *kwargs; /* JSON: an object of the template's own variables; or NULL */
    size_t messages_bytes, tools_bytes, kwargs_bytes;   /* 0: up to the NUL that ends the text */
    enum surprisal_thinking thinking;
    bool no_generation_prompt;          /* without the beginning of an answer */
    bool continue_final_message;        /* ends with the text of the last message */
    bool merge_system_messages;         /* all become one in front */
    bool plain_messages;                /* special tokens that messages spell stay text */
};

struct surprisal_prompt {
    char *text;                         /* [n_bytes] of UTF-8, and a NUL */
    size_t n_bytes;
    int32_t *ids;                       /* [n_ids]; NULL without a tokenizer */
    size_t n_ids;
};

/* What the template makes of a conversation; tokenizer NULL: no ids. */
SURPRISAL_API bool surprisal_prompt(const struct surprisal_chat_template *t,
                                    const struct surprisal_tokenizer *tokenizer,
                                    const struct surprisal_prompt_options *options,
                                    struct surprisal_prompt *prompt, struct surprisal_error *err);
SURPRISAL_API void surprisal_prompt_free(struct surprisal_prompt *prompt);

/* ---- answers to messages ------------------------------------------------ */

/* What a model generated.  All zero but `text` is the default. */
struct surprisal_answer_options {
    const char *text;                   /* UTF-8 */
    const char *tools;                  /* JSON: a list of tools as in the prompt; NULL: none */
    size_t n_bytes, tools_bytes;        /* 0: up to the NUL that ends the text */
    /* With a tokenizer the tags of thinking and calls count only as tokens of their own; NULL:
     * wherever they are spelled out. */
    const struct surprisal_tokenizer *tokenizer;
    bool starts_in_content;             /* the prompt did not begin thinking */
    bool no_reasoning;                  /* all is content, <think> included */
    bool drop_calls;                    /* tool_choice none: calls are no part of the message */
    bool at_length;                     /* a limit ended generation */
    /* Deltas, one JSON document each, as they come when the text comes in pieces of so many
     * characters (0: of one token, or of one character without tokenizer).  NULL: none are wanted.
     * Return false to stop: the call then fails with err->interrupted. */
    bool (*delta)(void *user, const char *json);
    void *user;
    size_t delta_characters;
};

/* *json, released with free(): {"reasoning", "content" (each a text or null), "tool_calls":
 * [{"name", "arguments"}], "finish_reason"}; arguments is JSON as text.  A stream gives the
 * same. */
SURPRISAL_API bool surprisal_parse_answer(const struct surprisal_answer_options *options,
                                          char **json, struct surprisal_error *err);

/* ---- opened checkpoints ------------------------------------------------ */

struct surprisal_model;

/* Opens a checkpoint folder for several calls: reads config.json, the index, the headers of the
 * files of weights and tokenizer.json, and maps the files; weights are read when a call needs them.
 * Options with `checkpoint` have `model` beside it: exactly one of the two is given.  A call that
 * gets a model opens no file of the checkpoint again, except where its options say so.
 *
 * A folder that surprisal_eval would refuse is refused.  One without a tokenizer.json that can be
 * used is not; a call that needs the tokenizer then fails with the reason.  Contradictions between
 * config and files are warnings, here and not again in each call; progress may be NULL.
 *
 * Threads can share a model: calls with the same one may run at the same time.  Files must stay as
 * they are: a call whose result rests on one that was changed since the model was opened fails and
 * names it.  Open the folder again then.  As long as the files have their sizes and times, the
 * digests of the weights that the first evaluation computes serve the later ones too. */
SURPRISAL_API struct surprisal_model *
surprisal_model_open(const char *checkpoint, const struct surprisal_progress *progress,
                     struct surprisal_error *err);
/* After the last call with it.  Closing NULL is fine. */
SURPRISAL_API void surprisal_model_close(struct surprisal_model *model);

/* The checkpoint's tokenizer, borrowed from the model: it is closed with it.  NULL: there is
 * none. */
SURPRISAL_API const struct surprisal_tokenizer *
surprisal_model_tokenizer(const struct surprisal_model *model, struct surprisal_error *err);

/* ---- inputs ----------------------------------------------------------- */

/* The text of a data set: the file as it is, or its rows as Hugging Face's `datasets` holds them
 * (a line of white space is the row "", any other line a row with its newline) joined by two
 * newlines, as the Hugging Face perplexity guide does. */
enum surprisal_join { SURPRISAL_JOIN_RAW, SURPRISAL_JOIN_HF };

/* Reads a file as surprisal_eval does; path "-" is the standard input, and it may be a pipe.  A
 * text that is not UTF-8 is refused.  *text: *n_bytes and a NUL, released with free(). */
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
 * DEFAULT is DISJOINT, or the protocol of the task. */
enum surprisal_protocol {
    SURPRISAL_PROTOCOL_DEFAULT,
    SURPRISAL_STRIDED, SURPRISAL_DISJOINT, SURPRISAL_LLAMA, SURPRISAL_ROLLING
};
enum surprisal_hidden { SURPRISAL_HIDDEN_NONE, SURPRISAL_HIDDEN_F32, SURPRISAL_HIDDEN_BF16 };
/* WIKITEXT is lm-evaluation-harness's task `wikitext`, with the context as its maximal length: the
 * articles of a WikiText file are split, detokenized and scored one by one with ROLLING; words and
 * bytes are counted in the original.  LINES scores each line that is not blank, without its
 * newline, as a document of its own with ROLLING. */
enum surprisal_task { SURPRISAL_TASK_NONE, SURPRISAL_TASK_WIKITEXT, SURPRISAL_TASK_LINES };

/* One way to score the text; all zero is the default. */
struct surprisal_protocol_plan {
    enum surprisal_protocol protocol;
    size_t context;                     /* at least 2; 0: 2048 */
    size_t stride;                      /* strided only, at most context; 0: = context */
    enum surprisal_task task;
};

/* The cost of an evaluation, known before the work starts; of a resumed one, the rest of the
 * cost. */
struct surprisal_plan {
    size_t windows, scored;             /* of all protocols together */
    size_t hidden_size;                 /* of a final hidden state */
    size_t model_tokens;                /* that go through the layers; windows may overlap */
    size_t passes;                      /* times that the weights are read */
    size_t bytes_read;                  /* of weights, in all passes */
    size_t memory_bytes;                /* of the process, at most */
    size_t disk_bytes;                  /* of the run folders, reserved before the work; 0: no
                                           folder */
    size_t state_bytes;                 /* of the state that is saved in OUT.partial; 0: none is
                                           saved */
    double flop;                        /* of matrix products with weights */
    double seconds;                     /* estimated from a short measurement; 0: not known */
};

#define SURPRISAL_MTP_MOST 8

struct surprisal_part {
    size_t index, of;                   /* index: from 1 */
};

struct surprisal_eval_options {
    const char *checkpoint;             /* folder; or */
    struct surprisal_model *model;      /* one that is open */
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
    /* What rolling puts before a document.  -1: what lm-evaluation-harness puts there, the
     * bos_token of the tokenizer_config.json beside the tokenizer, else its eos_token; without
     * them the config's eos_token_id. */
    int32_t prefix_id;
    const char *out;                    /* run folder to create, or NULL */
    /* Resume the run that was interrupted while it wrote `out`, if there is one.  Its state is
     * OUT.partial/state.safetensors; the state of another checkpoint, text or setting is
     * refused. */
    bool resume;
    enum surprisal_hidden hidden;       /* final hidden states into the run folder */
    /* Drafts of the checkpoint's MTP layer that are scored along the text, one after the other: at
     * most SURPRISAL_MTP_MOST; 0: none.  The summary gets `mtp`.  A run with drafts is not saved,
     * and cannot be resumed. */
    size_t mtp;
    /* A NaN or infinity in a window does not end the run: the window is left out of all figures,
     * with a warning, and the others are scored as without it.  A run of which nothing is left is a
     * failure.  Not for calibration, nor with mtp. */
    bool skip_nonfinite;
    /* Scores one part of the windows, as one of several machines does: `out` becomes a part of a
     * run, which surprisal_merge joins with the others.  of 0: the whole run.  Not for comparisons
     * and calibration, nor with mtp. */
    struct surprisal_part part;
    struct surprisal_machine machine;
    /* Called once, after all checks and before any scoring; gets machine.progress.user.  May be
     * NULL. */
    void (*plan)(void *user, const struct surprisal_plan *plan);
};

SURPRISAL_API struct surprisal_eval_options surprisal_eval_defaults(void);

/* Refuses options that contradict each other or are out of range; touches no file.  surprisal_eval
 * does the same; with this check a caller can tell wrong usage from failure. */
SURPRISAL_API bool surprisal_eval_check(const struct surprisal_eval_options *options,
                                        struct surprisal_error *err);

struct surprisal_result {
    char plan[64];                          /* PROTOCOL-CONTEXT[-STRIDE], "strided-2048-512"; or
                                               TASK-CONTEXT, "lines-2048" */
    size_t windows, tokens, scored;
    size_t left_out;                        /* windows, by skip_nonfinite; none of their tokens is
                                               in `scored` */
    double mean_nll, perplexity;
    double nll_stderr, perplexity_stderr;   /* over windows; NaN for one window */
    /* exp(mean_nll * tokens / words) and so on.  Where all tokens are scored (ROLLING), these are
     * lm-evaluation-harness's figures; elsewhere the mean is also used for tokens that are not
     * scored.  NaN without text. */
    double word_perplexity, byte_perplexity, bits_per_byte;
    /* Of the whole run, all plans together: the time of scoring and hashing, without opening and
     * tokenizing; tokens that went through the layers, divided by these seconds. */
    double seconds, tokens_per_second;
    char *summary_json;                     /* the content of summary.json; owned */
};

/* Scores a text and, with options->out, writes a run folder: summary.json and tokens.safetensors.
 * The folder must not exist; it appears when it is complete.  A run that is interrupted or killed
 * leaves OUT.partial; with `resume` the next run continues from there and writes the same bytes.
 *
 * With options->plans, `out` holds a run folder for each plan, named as result.plan; all appear
 * together.  tokens.safetensors has the same bytes as in a run of that plan alone.
 *
 * results: one, or [n_plans] in the order of the plans; valid after success only, each to be
 * freed. */
SURPRISAL_API bool surprisal_eval(const struct surprisal_eval_options *options,
                                  struct surprisal_result *results, struct surprisal_error *err);
SURPRISAL_API void surprisal_result_free(struct surprisal_result *result);

/* ---- parts of a run ----------------------------------------------------- */

struct surprisal_merge_options {
    const char *const *parts;           /* [n_parts] folders, in any order */
    size_t n_parts;
    const char *out;                    /* run folder to create */
    bool mixed;                         /* parts of several instruction sets are taken as well */
    struct surprisal_progress progress;
};

struct surprisal_merged {
    struct surprisal_result *results;   /* [n]: one for each plan, by name; or one, `plan` empty */
    size_t n;
};

/* Joins all parts of a run (surprisal_eval_options.part): `out` has the bytes that the run in one
 * piece has, but for what summary.json says of its work.  Parts of another run, parts that are
 * there twice, and missing ones are refused by name.  *merged is released with
 * surprisal_merged_free. */
SURPRISAL_API bool surprisal_merge_check(const struct surprisal_merge_options *options,
                                         struct surprisal_error *err);
SURPRISAL_API bool surprisal_merge(const struct surprisal_merge_options *options,
                                   struct surprisal_merged *merged, struct surprisal_error *err);
SURPRISAL_API void surprisal_merged_free(struct surprisal_merged *merged);

/* ---- a run divided among processes -------------------------------------- */

/* Several processes, on one machine or on many with a common file system, score the parts of one
 * run at once: each one calls surprisal_division_facts, one of them begins, all score, and the one
 * that began joins the parts and closes.  Who scores what, and when all is done, they agree upon
 * themselves; the program does it by MPI.  `out` has the bytes of the run in one piece, but for
 * what summary.json says of its work.  The options of all are the same, but for `machine`; with
 * `resume` an interrupted division goes on, with any number of processes. */
struct surprisal_division;

/* What a process knows before the work.  settings have to be the same in all processes; isa too,
 * unless instruction sets may be mixed. */
struct surprisal_division_facts {
    char *settings;                     /* lines "key: value"; released with free() */
    char isa[32];
    size_t model_tokens;                /* that go through the layers */
    size_t most_parts;                  /* that the windows can be divided into */
};
SURPRISAL_API bool surprisal_division_facts(const struct surprisal_eval_options *options,
                                            struct surprisal_division_facts *facts,
                                            struct surprisal_error *err);
/* Does the interrupted run of `out` consist of such parts? */
SURPRISAL_API bool surprisal_division_is_at(const char *out);

/* facts: of this process.  mixed: parts may be computed with several instruction sets.  options
 * stay borrowed. */
SURPRISAL_API struct surprisal_division *
surprisal_division_begin(const struct surprisal_eval_options *options,
                         const struct surprisal_division_facts *facts, size_t processes,
                         bool mixed, struct surprisal_error *err);
/* The number of parts, and which of them, from 1, are finished already. */
SURPRISAL_API size_t surprisal_division_parts(const struct surprisal_division *division);
SURPRISAL_API bool surprisal_division_has(const struct surprisal_division *division, size_t part);
/* Scores one part, or the rest of it; in any process, while the one that began keeps it open. */
SURPRISAL_API bool surprisal_division_score(const struct surprisal_eval_options *options,
                                            struct surprisal_part part,
                                            struct surprisal_error *err);
/* When all parts are finished.  *merged is released with surprisal_merged_free. */
SURPRISAL_API bool surprisal_division_join(struct surprisal_division *division,
                                           struct surprisal_merged *merged,
                                           struct surprisal_error *err);
/* What is finished stays, for `resume`.  Closing NULL is fine. */
SURPRISAL_API void surprisal_division_close(struct surprisal_division *division);

/* ---- comparison ------------------------------------------------------- */

/* A part of a long job. */
struct surprisal_stage {
    const char *name;                   /* "evaluation of A" */
    double seconds;                     /* estimated; 0: not known */
};

/* The cost of comparing two checkpoints, in addition to the plans of the evaluations. */
struct surprisal_comparison_plan {
    size_t runs;                        /* evaluations */
    size_t disk_bytes;                  /* of their run folders */
    size_t free_bytes;                  /* in the folder for them */
    const char *folder;
    const struct surprisal_stage *stages;   /* [n_stages], in the order of the work */
    size_t n_stages;
};

struct surprisal_compare_options {
    /* Two run folders; or two folders of run folders, from an evaluation with plans; or two
     * checkpoint folders, which are evaluated first.  A is the original. */
    const char *a, *b;
    /* Opened checkpoints in place of checkpoint folders (a, b are NULL then).  Beside run folders,
     * the checkpoints that they were made from, or NULL: KL divergence and the text of tokens come
     * from there then, and not from where the runs' summaries say that the checkpoints are. */
    struct surprisal_model *model_a, *model_b;
    /* How checkpoints are evaluated: text or ids, protocol, memory and so on; checkpoint, model and
     * resume are not used.  Final hidden states are kept, as f32 unless `hidden` says BF16.  `out`:
     * a new folder that keeps the runs as `a`, `b` (and `floor`).  For run folders only `tokenizer`
     * (its current path, to show text) and `machine` without its `compute` are used; other options
     * are refused. */
    struct surprisal_eval_options eval;
    /* A noise floor: A compared with itself in BF16 compute.  For checkpoints, A is evaluated once
     * more.  For run folders, `floor_run` is the folder of such a run; for folders of plans, it has
     * such a run for each plan that is compared. */
    bool floor;
    const char *floor_run;
    /* For checkpoints: the first windows, whose figures are compared by layer; 0: none. */
    size_t layer_windows;               /* 16 */
    size_t bootstrap;                   /* samples: 2000; 2 to a million */
    uint64_t seed;                      /* 1; at most 2^53 */
    const char *temporary;              /* parent of the folder for the runs without `out`: /tmp */
    const char *command;                /* the command line, for the record; may be NULL */
    /* Called once before checkpoints are evaluated; gets eval.machine.progress.user.  May be
     * NULL. */
    void (*plan)(void *user, const struct surprisal_comparison_plan *plan);
    /* Called as each stage of that plan begins, with its index; gets the same user.  May be NULL.
     * A program that owns its process can forget the most memory that it has held here (Linux: 5
     * to /proc/self/clear_refs), so that peak_rss_bytes of each run is known. */
    void (*stage)(void *user, size_t index);
};

SURPRISAL_API struct surprisal_compare_options surprisal_compare_defaults(void);

/* Refuses options that contradict each other or the kind of a and b; reads no file.
 * surprisal_compare does the same; with this check a caller can tell wrong usage from failure. */
SURPRISAL_API bool surprisal_compare_check(const struct surprisal_compare_options *options,
                                           struct surprisal_error *err);

/* Are a and b folders of plans?  Then run folders of the same name are compared, plan by plan.  A
 * plan that only one side has is a warning; no plan in common is a failure. */
SURPRISAL_API bool
surprisal_compare_takes_plans(const struct surprisal_compare_options *options);

struct surprisal_comparison {
    char *json;                         /* the document, eval/compare/comparison_json.h; for plans
                                         * {"comparisons": [document, ...]}; owned */
    char *text;                         /* the same for people; owned */
};

/* Compares runs that scored the same tokens: paired difference of NLL with its standard error over
 * windows, perplexity, agreement, and where they differ most.  Runs whose text, tokenizer, protocol
 * or context differ are refused with an error that names the difference; files that were cut short
 * or edited are found by their digests and refused.  result is valid after success only. */
SURPRISAL_API bool surprisal_compare(const struct surprisal_compare_options *options,
                                     struct surprisal_comparison *result,
                                     struct surprisal_error *err);
SURPRISAL_API void surprisal_comparison_free(struct surprisal_comparison *result);

/* ---- many candidates against one original -------------------------------- */

struct surprisal_rank_options {
    /* The original (a or model_a), and how checkpoints are evaluated and runs compared, as above.
     * b and model_b are NULL; there are no figures by layer.  A floor is one of the original, and
     * part of each comparison.  `out` keeps the runs as `original`, `floor` and b1, b2, ... by the
     * order of the candidates; with eval.resume an interrupted one is continued. */
    struct surprisal_compare_options compare;
    /* [n_candidates], at least 1: run folders and checkpoints, mixed, if the original is one of
     * these; folders of plans if it is such a folder. */
    const char *const *candidates;
    size_t n_candidates;
};

/* Refuses options that contradict each other or the kind of the original.  A candidate that cannot
 * be compared is not refused: the ranking says so. */
SURPRISAL_API bool surprisal_rank_check(const struct surprisal_rank_options *options,
                                        struct surprisal_error *err);

struct surprisal_ranking {
    char *json;                         /* {"rankings": [ranking, ...]}, one, or one a plan;
                                         * eval/compare/ranking.h describes it; owned */
    char *text;                         /* the same for people; owned */
    size_t n_left_out;                  /* candidates that could not be compared; of plans: pairs */
};

/* Evaluates the original once and each candidate that is a checkpoint, compares each with the
 * original as surprisal_compare does, and ranks them: size, divergence, Pareto front, which of them
 * cannot be told apart.  If a candidate cannot be evaluated or compared, the ranking says why and
 * has the others; a failure of the original is an error.  result is valid after success only. */
SURPRISAL_API bool surprisal_rank(const struct surprisal_rank_options *options,
                                  struct surprisal_ranking *result, struct surprisal_error *err);
SURPRISAL_API void surprisal_ranking_free(struct surprisal_ranking *result);

/* ---- reports of a comparison ------------------------------------------- */

/* What to write and to check after a comparison.  All members may be NULL or 0. */
struct surprisal_report_options {
    /* Files to write; each appears complete or not at all. */
    const char *html;                   /* one page with everything inside, plots by gnuplot */
    const char *markdown;               /* the quality section of a model card */
    const char *junit;                  /* JUnit XML, a test case for each gate */
    const char *baseline;               /* the JSON of an earlier comparison, to show beside this
                                           one */
    const char *const *inputs;          /* [n_inputs]: files and folders of the comparison, or NULL;
                                           their files are never overwritten
                                           (surprisal_report_prepare) */
    size_t n_inputs;
    /* Conditions on figures of the JSON document: "mean_kld<=0.02", "abs(delta_nll) < 0.005",
     * "mean_kld/floor.mean_kld <= 20", "mean_kld <= baseline.mean_kld*1.05"; eval/report/gate.h has
     * the grammar. */
    const char *const *gates;           /* [n_gates] */
    size_t n_gates;
    bool plans;                         /* for plans: html, markdown and baseline are refused */
    struct surprisal_progress progress; /* only warn(): tables replace the plots */
    bool ranking;                       /* for a ranking, plans or not: baseline is refused */
    const char *csv;                    /* a table of the candidates; of a ranking only */
};

/* Refuses gates with wrong syntax or unknown figures, and options that contradict each other;
 * touches no file. */
SURPRISAL_API bool surprisal_report_check(const struct surprisal_report_options *options,
                                          struct surprisal_error *err);
/* The same, and also what would otherwise fail after hours of work: a baseline that cannot be read
 * or is not a comparison, outputs that cannot be written.  Writes nothing. */
SURPRISAL_API bool surprisal_report_prepare(const struct surprisal_report_options *options,
                                            struct surprisal_error *err);

struct surprisal_report {
    size_t n_failed;                    /* gates that are not met */
    char *failed;                       /* lines "gate failed: mean_kld<=1e-9: mean_kld is
                                           0.0213" */
    char *baseline;                     /* a table of figures, then and now; NULL without a
                                           baseline */
};

/* comparison_json: the JSON document of a comparison or a ranking.  For plans and candidates, gates
 * apply to each comparison, and the line of a failed gate names them after "gate failed: "; a
 * candidate that is not comparable fails each gate.  Writes the files even if
 * gates fail, which is not an error.  A baseline with another original, text or protocol is an
 * error.  report is valid after success only. */
SURPRISAL_API bool surprisal_report(const char *comparison_json,
                                    const struct surprisal_report_options *options,
                                    struct surprisal_report *report, struct surprisal_error *err);
SURPRISAL_API void surprisal_report_free(struct surprisal_report *report);

/* ---- calibration ------------------------------------------------------ */

struct surprisal_calibrate_options {
    /* The checkpoint, its text or ids, the windows over them (of one protocol), and the machine;
     * options that keep or resume runs are not used. */
    struct surprisal_eval_options eval;
    const char *out;                    /* file to write */
    size_t min_tokens;                  /* 32: experts with fewer tokens are named */
};

SURPRISAL_API struct surprisal_calibrate_options surprisal_calibrate_defaults(void);

/* Refuses options that contradict each other or are out of range; touches no file. */
SURPRISAL_API bool surprisal_calibrate_check(const struct surprisal_calibrate_options *options,
                                             struct surprisal_error *err);

/* Runs a text through the layers and writes, for each linear layer except the head, the mean square
 * of each input channel and the number of tokens (eval/score/calibration_file.h).  A quantizer
 * weighs its errors with these.  Results do not depend on threads or memory.  A file at `out` is
 * replaced when the new one is complete.  json and text report what was done, for programs and for
 * people: each is released with free(); either pointer may be NULL. */
SURPRISAL_API bool surprisal_calibrate(const struct surprisal_calibrate_options *options,
                                       char **json, char **text, struct surprisal_error *err);

/* ---- generation ------------------------------------------------------- */

/* How tokens are drawn, in the order of the members (src/decode/sampler.h); ranges as in vLLM.  A
 * double that is NaN and SURPRISAL_TOP_K_DEFAULT mean what the checkpoint's generation_config.json
 * says, else what stands here. */
struct surprisal_sampling {
    double repetition_penalty;          /* above 0; 1: off */
    double frequency_penalty;           /* -2 to 2; 0: off */
    double presence_penalty;            /* the same */
    double temperature;                 /* 0 to 2; 1.  0: always the most probable token */
    double min_p;                       /* 0 to 1; 0: off */
    int64_t top_k;                      /* 0 and -1: off */
    double top_p;                       /* above 0, at most 1: off */
    uint64_t seed;                      /* the same: the same answer, whatever the threads */
    bool random_seed;                   /* another seed in each call; the result names it */
};
#define SURPRISAL_TOP_K_DEFAULT INT64_MIN

/* Added to the logit of an id: -100 to 100. */
struct surprisal_logit_bias {
    int32_t id;
    float value;
};

struct surprisal_token {
    int32_t id;                         /* -1: no more tokens, only the rest of the text */
    double logprob; /* natural logarithm, before bias, penalties and temperature */
    /* What the answer's text has gained: whole characters, without what may still become a stop
     * text.  n_bytes may be 0. */
    const char *text;
    size_t n_bytes;
};

enum surprisal_chat_part {
    SURPRISAL_CHAT_REASONING, SURPRISAL_CHAT_CONTENT,
    SURPRISAL_CHAT_CALL,                /* a tool call begins: the name of its function */
    SURPRISAL_CHAT_ARGUMENTS            /* more of the JSON of that call's arguments */
};

/* How a conversation becomes prompts, and answers become messages.  All zero is the default. */
struct surprisal_chat_settings {
    /* messages: what comes before the first turn; NULL: nothing.  tools: those that may be called;
     * without any, the markup of calls is text.  no_generation_prompt and continue_final_message
     * are not used. */
    struct surprisal_prompt_options prompt;
    const char *system;                 /* instead of messages: a system message; or NULL */
    const char *chat_template;          /* file; NULL: the checkpoint's template */
    bool no_reasoning;                  /* all of an answer is content, <think> included */
    /* Called with each piece of an answer as soon as it is certain: n_bytes of UTF-8.  Gets
     * machine.progress.user; false ends the answer as interrupted.  May be NULL. */
    bool (*delta)(void *user, enum surprisal_chat_part part, const char *text, size_t n_bytes);
};

/* How keys and values are kept: as the compute type says, or F32 or BF16 in any case.  With BF16
 * compute both give the same bits; with F32, BF16 rounds keys and values. */
enum surprisal_kv_cache {
    SURPRISAL_KV_CACHE_DEFAULT, SURPRISAL_KV_CACHE_F32, SURPRISAL_KV_CACHE_BF16
};

/* The memory of a generation, known before the work starts. */
struct surprisal_generate_plan {
    size_t weight_bytes;                /* mapped: the system may drop and read them again */
    size_t weight_memory_bytes;         /* of them in memory at a time: less than all where
                                           machine.memory_bytes has no room for all */
    size_t kv_cache_bytes;              /* of prompt and answer, when the answer is longest */
    bool kv_cache_bf16;
    size_t buffer_bytes;                /* delta nets, logits, buffers of layers */
    size_t memory_bytes;                /* of the process, at most, all of these included */
};

struct surprisal_generate_options {
    const char *checkpoint;             /* folder; or */
    struct surprisal_model *model;      /* one that is open */
    const struct surprisal_chat_settings *chat;     /* the prompt is a user's turn; NULL: text */
    const char *prompt;                 /* UTF-8; or */
    const char *text;                   /* file of it; or */
    const char *ids;                    /* file of ids */
    /* NULL: the one in the checkpoint.  With ids, an answer has no text if there is none. */
    const char *tokenizer;
    size_t max_tokens;                  /* 0: generation_config.json's max_new_tokens, else 16 */
    const char *const *stop;            /* [n_stop], at most 64 of 1 to 1024 bytes: the answer ends
                                           before the first of them */
    size_t n_stop;
    bool ignore_eos;                    /* tokens that end an answer do not */
    struct surprisal_sampling sampling;
    const struct surprisal_logit_bias *bias;    /* [n_bias] */
    size_t n_bias;
    enum surprisal_kv_cache kv_cache;
    /* Tokens that the checkpoint's MTP layer drafts for a step, at most SURPRISAL_MTP_MOST; 0:
     * none.  Answers are the same, bit for bit.  A checkpoint without such a layer is refused. */
    size_t mtp;
    struct surprisal_machine machine;   /* memory_bytes counts the weights, too, if it is given */
    /* Called once, before the first token; gets machine.progress.user.  May be NULL. */
    void (*plan)(void *user, const struct surprisal_generate_plan *plan);
    /* Called for each token; gets machine.progress.user.  False ends the answer as interrupted.
     * May be NULL. */
    bool (*token)(void *user, const struct surprisal_token *token);
};

/* CONTEXT: the model's context is full.  INTERRUPTED: token() or report() asked for it. */
enum surprisal_finish {
    SURPRISAL_FINISH_STOP, SURPRISAL_FINISH_LENGTH, SURPRISAL_FINISH_CONTEXT,
    SURPRISAL_FINISH_INTERRUPTED
};

struct surprisal_chat_call {
    char *name;
    char *arguments;                    /* JSON; incomplete if the answer was cut off there */
};

/* How many of the steps' first drafts (of their second ones, ...) were checked, those after a
 * rejected one included, and accepted: the model drew them. */
struct surprisal_draft_count {
    size_t checked, accepted;
};

struct surprisal_generate_result {
    size_t prompt_tokens, tokens;       /* of the prompt; of the answer */
    size_t cached_tokens;               /* of the prompt, whose state was at hand */
    int32_t *ids; /* [tokens], the one that ended the answer included; owned */
    double *logprobs;                   /* [tokens]; owned */
    char *text; /* n_bytes and a NUL, special tokens left out; NULL: there is
                                           no tokenizer; owned */
    size_t n_bytes;
    enum surprisal_finish finish;
    double prefill_seconds;             /* up to the first token */
    double decode_seconds;              /* for the other tokens */
    struct surprisal_draft_count drafts[SURPRISAL_MTP_MOST];
    size_t drafts_stopped;              /* tokens of the answer when drafts were given up, because
                                           too few were accepted; 0: they were not */
    char *json;                         /* all of it, docs/generate.md; owned */
    /* Of a chat, owned.  Texts may hold NUL and have another behind them; NULL: none. */
    char *reasoning, *content;
    size_t reasoning_bytes, content_bytes;
    struct surprisal_chat_call *calls;  /* [n_calls] */
    size_t n_calls;
    bool wants_results;                 /* it ended by itself with a complete call */
};

SURPRISAL_API struct surprisal_generate_options surprisal_generate_defaults(void);
/* Refuses options that contradict each other or are out of range; touches no file. */
SURPRISAL_API bool surprisal_generate_check(const struct surprisal_generate_options *options,
                                            struct surprisal_error *err);

/* Continues a prompt.  The same options, seed and kind of kernels give the same bits.  An answer
 * that was interrupted is a result; an interruption before the first token is an error.  result is
 * valid after success only. */
SURPRISAL_API bool surprisal_generate(const struct surprisal_generate_options *options,
                                      struct surprisal_generate_result *result,
                                      struct surprisal_error *err);
SURPRISAL_API void surprisal_generate_result_free(struct surprisal_generate_result *result);

/* ---- chat -------------------------------------------------------------- */

/* A conversation with a model, turn by turn.  One thread at a time uses it. */
struct surprisal_chat;

/* Refuses options that contradict each other or are out of range; touches no file. */
SURPRISAL_API bool surprisal_chat_check(const struct surprisal_generate_options *options,
                                        struct surprisal_error *err);

/* context: tokens that the conversation may have, answers included; 0: as many as the model was
 * made for.  Their keys and values are counted before anything is computed, and with
 * machine.memory_bytes the weights, too: where not all have room, those stay in memory that are
 * used most often.  A budget below the least is refused with the sum.  options has neither prompt
 * nor text nor ids; what it points to is borrowed until surprisal_chat_close.  max_tokens 0:
 * max_new_tokens of generation_config.json, else up to the end of the context. */
SURPRISAL_API struct surprisal_chat *
surprisal_chat_open(const struct surprisal_generate_options *options, size_t context,
                    struct surprisal_error *err);
SURPRISAL_API void surprisal_chat_close(struct surprisal_chat *chat);

struct surprisal_chat_size {
    size_t context;                     /* tokens */
    size_t memory_bytes;                /* with a full context: weights, states, buffers */
};
SURPRISAL_API struct surprisal_chat_size surprisal_chat_size(const struct surprisal_chat *chat);
/* Does the conversation end with a message of a user or tool, which has no answer yet? */
SURPRISAL_API bool surprisal_chat_waits(const struct surprisal_chat *chat);

enum surprisal_chat_role { SURPRISAL_CHAT_USER, SURPRISAL_CHAT_TOOL };

/* A user's message, or the result of a tool: one for each call, in their order. */
struct surprisal_chat_message {
    enum surprisal_chat_role role;
    const char *text;                   /* n_bytes of UTF-8, NUL allowed */
    size_t n_bytes;
};

/* Adds messages (n may be 0 if the conversation waits) and the model's answer to them.  An answer
 * that was interrupted is a result, too, and stays in the conversation as far as it came.  After a
 * failure (the template refuses the messages, they do not fit into the context, an interruption
 * before the first token) the conversation is as it was before.
 *
 * What the prompt has in common with that of the turn before is not computed again where the state
 * allows that; the answer has the same bits as surprisal_generate gives for the prompt's ids. */
SURPRISAL_API bool surprisal_chat_send(struct surprisal_chat *chat,
                                       const struct surprisal_chat_message *messages, size_t n,
                                       struct surprisal_generate_result *result,
                                       struct surprisal_error *err);

/* ---- serving ------------------------------------------------------------ */

enum surprisal_serve_wish {
    SURPRISAL_SERVE_GO_ON,
    SURPRISAL_SERVE_DRAIN,              /* take no new requests, and end within five seconds */
    SURPRISAL_SERVE_STOP                /* end at once */
};

struct surprisal_serve_options {
    /* checkpoint or model, tokenizer, sampling, kv_cache, mtp and machine count; sampling is for
     * requests that say nothing else. */
    struct surprisal_generate_options generate;
    const char *host;                   /* an address, not a name: 127.0.0.1 */
    unsigned port;                      /* 0: any that is free */
    size_t context;                     /* tokens of prompt and answer; 0: the model's */
    const char *const *names;           /* [n_names]: of the model; none: the checkpoint as given,
                                           and the last part of its path */
    size_t n_names;
    const char *const *api_keys;        /* [n_api_keys]: one of them is needed under /v1 */
    size_t n_api_keys;
    size_t max_sequences;               /* choices that run at once: 8 */
    size_t max_queue;                   /* requests that wait: 1024 */
    double request_timeout_seconds;     /* of a request as a whole: 3600 */
    bool reasoning_parser;              /* thinking becomes `reasoning`, not content */
    bool auto_tool_choice;              /* the model may call tools by itself */
    const char *chat_template;          /* file; NULL: the checkpoint's template */
    const char *default_kwargs;         /* JSON: chat_template_kwargs of all requests; or NULL */
    bool merge_system_messages, plain_messages;     /* as in surprisal_prompt_options */
    /* A folder whose generation_config.json counts; "": none counts; NULL: the checkpoint's. */
    const char *generation_config;
    int64_t max_logprobs;               /* alternatives of a token: 20; -1: the vocabulary */
    size_t prefix_cache_bytes;          /* 1 GiB; 0: none */
    double keep_alive_seconds;          /* of silence in a stream, before a comment: 10; 0: none */
    bool cors;                          /* pages of any origin may ask */
    bool log_texts;                     /* log lines have prompts and answers */
    /* Get generate.machine.progress.user.  log, one line of JSON a request, and notice, one line
     * for people, may be NULL; wish is asked several times a second. */
    void (*log)(void *user, const char *json);
    void (*notice)(void *user, const char *line);
    enum surprisal_serve_wish (*wish)(void *user);
};

SURPRISAL_API struct surprisal_serve_options surprisal_serve_defaults(void);
/* Refuses options that contradict each other or are out of range; touches no file. */
SURPRISAL_API bool surprisal_serve_check(const struct surprisal_serve_options *options,
                                         struct surprisal_error *err);
/* Serves OpenAI's API over HTTP (docs/serve.md) until `wish` asks to end. */
SURPRISAL_API bool surprisal_serve(const struct surprisal_serve_options *options,
                                   struct surprisal_error *err);

/* ---- looking inside --------------------------------------------------- */

struct surprisal_inspect_options {
    const char *checkpoint;             /* folder; or */
    struct surprisal_model *model;      /* one that is open */
};

/* Describes a checkpoint, for programs and for people.  Each is released with free(); either
 * pointer may be NULL. */
SURPRISAL_API bool surprisal_inspect(const struct surprisal_inspect_options *options, char **json,
                                     char **text, struct surprisal_error *err);

/* Takes folders alone: a model is open only if nothing in its folder is refused, and verification
 * looks for what would be. */
struct surprisal_verify_options {
    const char *checkpoint;             /* folder */
    const char *against;                /* the original that it was made from, or NULL */
    const char *html;                   /* page to write, or NULL; a file there is replaced */
    struct surprisal_machine machine;   /* threads and progress */
    bool all;                           /* text and page: a line also for what repeats */
};

struct surprisal_verify_result {
    size_t findings;                    /* faults; 0: none was found */
    size_t suspicions;                  /* values unlike those of any model that is known */
    size_t notes;                       /* worth knowing, but not faults */
    char *json, *text;                  /* for programs and for people; owned */
};

/* Looks for damage: compares files, index and config with the tensors, and quantization_config with
 * the packed weights, and checks every value.  With an original, also finds what is missing or
 * differs, and measures the error of the quantized weights.  A folder that surprisal_eval would
 * refuse is not a failure: every fault is listed.  src/verify/verify_report.h describes the JSON.
 * result is valid after success only. */
SURPRISAL_API bool surprisal_verify(const struct surprisal_verify_options *options,
                                    struct surprisal_verify_result *result,
                                    struct surprisal_error *err);
SURPRISAL_API void surprisal_verify_result_free(struct surprisal_verify_result *result);

struct surprisal_bench_options {
    const char *checkpoint;             /* folder: gives the shapes, and its largest file to measure
                                           the disk; or */
    struct surprisal_model *model;      /* one that is open (the file is opened again, to be read
                                           from the disk); neither: the shapes of Qwen3.5-35B-A3B */
    double seconds;                     /* of a round; each figure takes three; 0: 0.15 */
    struct surprisal_machine machine;   /* threads, isa, progress; both types are measured */
    /* Called once before the work with its cost; gets machine.progress.user.  May be NULL. */
    void (*plan)(void *user, size_t figures, double seconds);
};

/* Measures this machine's limits (arithmetic in registers, memory, disk), and the share of them
 * that the kernels reach on a model's shapes, for programs and for people; src/bench/bench_report.h
 * describes the JSON.  Weights are random.  Each is released with free(); either pointer may be
 * NULL. */
SURPRISAL_API bool surprisal_bench(const struct surprisal_bench_options *options, char **json,
                                   char **text, struct surprisal_error *err);

struct surprisal_trace_options {
    const char *checkpoint;             /* folder; or */
    struct surprisal_model *model;      /* one that is open */
    const char *ids;                    /* file of ids */
    const char *out;                    /* safetensors file to write */
    struct surprisal_machine machine;
};

/* Writes ids I32 [T], residual F32 [L, T, D] after each layer, routing I32 [L, T, k] (mixture of
 * experts only), hidden F32 [T, D] after the last norm and logits F32 [T, V].  A file at `out` is
 * replaced when the new one is complete. */
SURPRISAL_API bool surprisal_trace(const struct surprisal_trace_options *options,
                                   struct surprisal_error *err);
/* Compares with a trace that another program wrote: `against` holds the tensors above by the same
 * names, or some of them.  `ids` may be NULL, if `against` has ids; `out` may be NULL.  Differences
 * are not a failure.  eval/score/trace_report.h describes the JSON.  Each is released with free();
 * either pointer may be NULL. */
SURPRISAL_API bool surprisal_trace_against(const struct surprisal_trace_options *options,
                                           const char *against, char **json, char **text,
                                           struct surprisal_error *err);

/* ---- quantizing -------------------------------------------------------- */

/* The weights that are packed if no pattern selects them: the routed experts of the text model, or
 * every linear layer of the checkpoint. */
enum surprisal_recipe {
    SURPRISAL_RECIPE_DEFAULT, SURPRISAL_RECIPE_EXPERTS, SURPRISAL_RECIPE_LINEARS
};
/* How the exponent of a block's scale is chosen: qstream's three candidates, the best of all
 * exponents, or floor(log2(max)) - 2 of the OCP specification (convert/mxfp4.h). */
enum surprisal_scale { SURPRISAL_SCALE_QSTREAM, SURPRISAL_SCALE_EXACT, SURPRISAL_SCALE_OCP };

struct surprisal_quantize_options {
    const char *checkpoint;             /* folder: BF16, F16 or F32, experts fused or split; or */
    struct surprisal_model *model;      /* one that is open (the files without weights are copied,
                                           and so opened again) */
    const char *out;                    /* folder to create; may be NULL with dry_run */
    /* DEFAULT: EXPERTS without patterns, LINEARS with `exclude` alone.  Refused with `include`. */
    enum surprisal_recipe recipe;
    /* Patterns on tensor names, as in qstream: a pattern with '*' is a shell glob on the whole
     * name, one without matches a part of it.  Weights are packed if `include` or the recipe
     * selects them and `exclude` does not match.  An expert's weight matches by its own name or by
     * the fused tensor's. */
    const char *const *include, *const *exclude;
    size_t n_include, n_exclude;
    bool allow_unmatched;               /* without it, a pattern that matches nothing is an error */
    enum surprisal_scale scale;         /* QSTREAM */
    double scale_percentile;            /* for QSTREAM only: at most 100; 0: its default, 99.5 */
    /* safetensors files that weigh the errors (convert/importance.h); at most one, not with OCP. */
    const char *gamma;                  /* F32 [in] by module name; or "MODULE.hessian" */
    const char *activations;            /* of `surprisal calibrate` */
    size_t shard_bytes;                 /* of a file, at most; 0: 5,000,000,000 */
    bool dry_run;                       /* only make the plan */
    bool resume;                        /* continue the interrupted run in OUT.partial */
    struct surprisal_machine machine;   /* threads, isa and progress */
    /* Called once with the plan as text, before anything is written; gets machine.progress.user.
     * May be NULL. */
    void (*plan)(void *user, const char *text);
};

/* The default is all zeros except the two folders.  Refuses options that contradict each other or
 * are out of range; touches no file. */
SURPRISAL_API bool surprisal_quantize_check(const struct surprisal_quantize_options *options,
                                            struct surprisal_error *err);

/* Writes `out`: a checkpoint with MXFP4 weights as compressed-tensors has them
 * (`mxfp4-pack-quantized`), experts split, shards of at most 5 GB, every other file copied.  The
 * folder must not exist; it appears when it is complete and durable.  json (with the plan) and text
 * report what was done; each is released with free(); either pointer may be NULL. */
SURPRISAL_API bool surprisal_quantize(const struct surprisal_quantize_options *options, char **json,
                                      char **text, struct surprisal_error *err);

enum surprisal_dequantize_dtype { SURPRISAL_DEQUANTIZE_BF16, SURPRISAL_DEQUANTIZE_F32 };

struct surprisal_dequantize_options {
    const char *checkpoint;             /* these three as above */
    struct surprisal_model *model;
    const char *out;
    size_t shard_bytes;                 /* 0: 5,000,000,000 */
    bool resume;
    struct surprisal_machine machine;   /* threads, isa and progress */
    enum surprisal_dequantize_dtype dtype;      /* of what was quantized */
};

/* The reverse, of every quantized format that is read: writes each such weight in BF16 or F32, with
 * experts fused as in the published originals and without quantization_config.  F32 is exact;
 * "rounded" of the JSON counts the weights that BF16 does not hold.  A GGUF, or a folder of MLX,
 * becomes one in the published layout, too; values of A_log that F32 does not hold are counted as
 * well. */
SURPRISAL_API bool surprisal_dequantize(const struct surprisal_dequantize_options *options,
                                        char **json, char **text, struct surprisal_error *err);

#ifdef __cplusplus
}
#endif
#endif
