#include <stdio.h>
#include <surprisal.h>

#include "commands.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_eval_options eval;
    struct progress_line progress;
    bool json;
};

static void show_plan(void *user, const struct surprisal_plan *plan)
{
    const struct progress_line *p = user;
    if (!p->shown)
        return;
    char time[PROGRESS_TIME_BYTES] = "unknown";
    if (plan->seconds > 0)
        progress_time(time, plan->seconds);
    char state[64] = "";
    if (plan->state_bytes)
        snprintf(state, sizeof state, "; at most %.3g GB of state on disk",
                 (double)plan->state_bytes / 1e9);
    fprintf(stderr, "%zu windows: %zu tokens to score, %zu through the layers\n"
            "%zu pass%s, %.3g GB of weights to read, at most %.3g GB of memory%s\n"
            "%.3g TFLOP of matrix products, estimated time %s\n",
            plan->windows, plan->scored, plan->model_tokens, plan->passes,
            plan->passes == 1 ? "" : "es", (double)plan->bytes_read / 1e9,
            (double)plan->memory_bytes / 1e9, state, plan->flop / 1e12, time);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .eval = surprisal_eval_defaults() };
    int status = options_parse(c, &s, argc, argv);
    if (status != GO_ON)
        return status;
    struct surprisal_error err = { 0 };
    if (!surprisal_eval_check(&s.eval, &err))
        return usage_error(c, "%s", err.message);

    struct surprisal_result result;
    progress_begin(&s.progress);
    s.eval.progress = progress_callbacks(&s.progress);
    s.eval.plan = show_plan;
    bool ok = surprisal_eval(&s.eval, &result, &err);
    progress_end(&s.progress);
    if (!ok) {
        run_error(err.message);
        return err.interrupted ? INTERRUPTED : FAILED;
    }
    if (s.json)
        puts(result.summary_json);
    else
        ok = report_print(result.summary_json);
    surprisal_result_free(&result);
    return ok ? DONE : run_error("out of memory: the report");
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct choice protocols[] = {
    { "strided", SURPRISAL_STRIDED }, { "disjoint", SURPRISAL_DISJOINT },
    { "llama", SURPRISAL_LLAMA }, { "rolling", SURPRISAL_ROLLING }, { NULL, 0 },
};
static const struct choice joins[] = {
    { "raw", SURPRISAL_JOIN_RAW }, { "hf", SURPRISAL_JOIN_HF }, { NULL, 0 },
};
static const struct choice hidden_kinds[] = {
    { "f32", SURPRISAL_HIDDEN_F32 }, { "bf16", SURPRISAL_HIDDEN_BF16 }, { NULL, 0 },
};
static const struct choice documents[] = {
    { "wikitext", SURPRISAL_DOCUMENTS_WIKITEXT }, { NULL, 0 },
};
static const struct choice computes[] = {
    { "f32", SURPRISAL_COMPUTE_F32 }, { "bf16", SURPRISAL_COMPUTE_BF16 }, { NULL, 0 },
};

static const struct option options[] = {
    { .name = "text", .value = "FILE", .help = "UTF-8 text to score ('-': standard input); or",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(eval.text) },
    { .name = "ids", .value = "FILE",
      .help = "decimal token ids separated by white space; needs no tokenizer",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(eval.ids) },
    { .name = "protocol", .value = "NAME",
      .help = "disjoint (default): whole windows, all but the first token scored\n"
              "strided: windows start every --stride tokens, each token scored once\n"
              "llama: whole windows, the second half scored\n"
              "rolling: each token scored once, after a prefix token",
      .parse = parse_choice, .expected = "strided, disjoint, llama or rolling",
      .choices = protocols, FIELD(eval.protocol) },
    { .name = "context", .value = "N", .help = "tokens in a window (2048)",
      .parse = parse_context, .expected = EXPECTED_CONTEXT, FIELD(eval.context) },
    { .name = "stride", .value = "N",
      .help = "of the protocol strided: at most the context, which is the default",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(eval.stride) },
    { .name = "join", .value = "raw|hf",
      .help = "raw (default): the file as it is\n"
              "hf: its rows joined by two newlines, as Hugging Face's guide does",
      .parse = parse_choice, .expected = "raw or hf", .choices = joins, FIELD(eval.join) },
    { .name = "max-windows", .value = "N", .help = "score the first N windows only",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(eval.max_windows) },
    { .name = "documents", .value = "wikitext",
      .help = "rolling: score the articles of a WikiText file apart, prepared and\n"
              "counted as lm-evaluation-harness's task wikitext does",
      .parse = parse_choice, .expected = "wikitext", .choices = documents, FIELD(eval.documents) },
    { .name = "max-documents", .value = "N", .help = "the first N of the documents only",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(eval.max_documents) },
    { .name = "prefix-id", .value = "ID",
      .help = "rolling: the prefix token (default: the tokenizer's <|endoftext|>;\n"
              "with --ids the config's bos_token_id, else its eos_token_id)",
      .parse = parse_id, .expected = EXPECTED_ID, FIELD(eval.prefix_id) },
    { .name = "tokenizer", .value = "PATH",
      .help = "a tokenizer.json or its folder (default: the checkpoint's)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(eval.tokenizer) },
    { .name = "out", .value = "DIR",
      .help = "new folder for summary.json and tokens.safetensors",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(eval.out) },
    { .name = "resume", .help = "go on with the interrupted run of the same --out, if there is one",
      .parse = parse_switch, FIELD(eval.resume) },
    { .name = "hidden", .value = "bf16|f32", .alone = "f32",
      .help = "keep final hidden states in the folder, alone: as f32",
      .parse = parse_choice, .expected = "bf16 or f32", .choices = hidden_kinds,
      FIELD(eval.hidden) },
    { .name = "json", .help = "print the summary alone, as JSON", .parse = parse_switch,
      FIELD(json) },
    { .name = "compute", .value = "f32|bf16",
      .help = "f32 (default): exact to the fifth digit of an NLL\n"
              "bf16: activations rounded as transformers in bfloat16 rounds them",
      .parse = parse_choice, .expected = "f32 or bf16", .choices = computes,
      FIELD(eval.compute) },
    { .name = "threads", .value = "N", .help = "threads to compute with (default: all)",
      .parse = parse_threads, .expected = EXPECTED_THREADS, FIELD(eval.threads) },
    { .name = "memory", .value = "SIZE",
      .help = "memory to use, e.g. 8G (default: three quarters of what is free);\n"
              "less memory, more passes over the weights, the same result",
      .parse = parse_size, .expected = EXPECTED_SIZE, FIELD(eval.memory_bytes) },
    { .name = "isa", .value = "NAME", .help = "kernels to use (default: the best of this machine)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(eval.isa) },
    { .name = "quiet", .help = "no progress", .parse = parse_switch, FIELD(progress.quiet) },
    { .name = "progress", .help = "progress even when stderr is no terminal",
      .parse = parse_switch, FIELD(progress.wanted) },
};

const struct command command_eval = {
    .name = "eval",
    .arguments = "CHECKPOINT (--text FILE | --ids FILE) [options]",
    .summary = "Score a text: mean negative log-likelihood and perplexity, with standard errors.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, eval.checkpoint),
    .operand_required = true, .run = run,
};
