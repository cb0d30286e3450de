#include "eval_options.h"

#include <stdio.h>

void eval_options_show_plan(void *user, const struct surprisal_plan *plan)
{
    const struct progress_line *p = user;
    if (!p->shown)
        return;
    char time[PROGRESS_TIME_BYTES] = "unknown";
    if (plan->seconds >= 60)
        progress_time(time, plan->seconds);
    else if (plan->seconds > 0)
        snprintf(time, sizeof time, "%.3g s", plan->seconds);
    char disk[64] = "", state[64] = "";
    if (plan->disk_bytes)
        snprintf(disk, sizeof disk, "; %.3g GB of disk for results",
                 (double)plan->disk_bytes / 1e9);
    if (plan->state_bytes)
        snprintf(state, sizeof state, "; at most %.3g GB of state on disk",
                 (double)plan->state_bytes / 1e9);
    char scored[48] = "";
    if (plan->scored)
        snprintf(scored, sizeof scored, "%zu tokens to score, ", plan->scored);
    fprintf(stderr, "%zu windows: %s%zu through the layers\n"
            "%zu pass%s, %.3g GB of weights to read, at most %.3g GB of memory%s%s\n"
            "%.3g TFLOP of products with weights, estimated time %s\n",
            plan->windows, scored, plan->model_tokens, plan->passes,
            plan->passes == 1 ? "" : "es", (double)plan->bytes_read / 1e9,
            (double)plan->memory_bytes / 1e9, disk, state, plan->flop / 1e12, time);
}

#define FIELD(name) .field = offsetof(struct eval_settings, name)

const struct choice eval_options_protocols[] = {
    { "strided", SURPRISAL_STRIDED }, { "disjoint", SURPRISAL_DISJOINT },
    { "llama", SURPRISAL_LLAMA }, { "rolling", SURPRISAL_ROLLING }, { NULL, 0 },
};
static const struct choice joins[] = {
    { "raw", SURPRISAL_JOIN_RAW }, { "hf", SURPRISAL_JOIN_HF }, { NULL, 0 },
};
const struct choice eval_options_tasks[] = {
    { "wikitext", SURPRISAL_TASK_WIKITEXT }, { "lines", SURPRISAL_TASK_LINES }, { NULL, 0 },
};
static const struct choice computes[] = {
    { "f32", SURPRISAL_COMPUTE_F32 }, { "bf16", SURPRISAL_COMPUTE_BF16 }, { NULL, 0 },
};
const struct choice eval_options_hidden[] = {
    { "f32", SURPRISAL_HIDDEN_F32 }, { "bf16", SURPRISAL_HIDDEN_BF16 }, { NULL, 0 },
};

const struct option eval_options[EVAL_OPTIONS] = {
    OPTION_REVISION(FIELD(hub.revision)),
    { .name = "text",
      .value = "FILE",
      .help = "UTF-8 text to score ('-': standard input; may be a pipe); or",
      .parse = parse_text,
      .expected = EXPECTED_TEXT,
      FIELD(eval.text) },
    { .name = "ids",
      .value = "FILE",
      .help = "decimal token ids separated by white space; needs no tokenizer",
      .parse = parse_text,
      .expected = EXPECTED_TEXT,
      FIELD(eval.ids) },
    { .name = "protocol",
      .value = "NAME",
      .help = "disjoint (default): whole windows, all but the first token scored\n"
              "strided: windows start every --stride tokens, each token scored once\n"
              "llama: whole windows, the second half scored\n"
              "rolling: each token scored once, after a prefix token",
      .parse = parse_choice,
      .expected = "strided, disjoint, llama or rolling",
      .choices = eval_options_protocols,
      FIELD(eval.protocol) },
    { .name = "context",
      .value = "N",
      .help = "tokens in a window (2048)",
      .parse = parse_context,
      .expected = EXPECTED_CONTEXT,
      FIELD(eval.context) },
    { .name = "stride",
      .value = "N",
      .help = "for the protocol strided: at most the context, which is the default",
      .parse = parse_count,
      .expected = EXPECTED_COUNT,
      FIELD(eval.stride) },
    { .name = "join",
      .value = "raw|hf",
      .help = "raw (default): the file as it is\n"
              "hf: its rows joined by two newlines, as Hugging Face's guide does",
      .parse = parse_choice,
      .expected = "raw or hf",
      .choices = joins,
      FIELD(eval.join) },
    { .name = "max-windows",
      .value = "N",
      .help = "score only the first N windows",
      .parse = parse_count,
      .expected = EXPECTED_COUNT,
      FIELD(eval.max_windows) },
    { .name = "task",
      .value = "NAME",
      .help = "wikitext: lm-evaluation-harness's task, rolling over the articles of a\n"
              "WikiText file, at most --context tokens at a time;\n"
              "lines: rolling over the lines, each a document",
      .parse = parse_choice,
      .expected = "wikitext or lines",
      .choices = eval_options_tasks,
      FIELD(eval.task) },
    { .name = "max-documents",
      .value = "N",
      .help = "for the task: only the first N articles or lines",
      .parse = parse_count,
      .expected = EXPECTED_COUNT,
      FIELD(eval.max_documents) },
    { .name = "prefix-id",
      .value = "ID",
      .help = "rolling: the prefix token (default: lm_eval's, the bos_token, else\n"
              "the eos_token of tokenizer_config.json; without it the config's\n"
              "eos_token_id)",
      .parse = parse_id,
      .expected = EXPECTED_ID,
      FIELD(eval.prefix_id) },
    { .name = "tokenizer",
      .value = "PATH",
      .help = "a tokenizer.json or its folder (default: the checkpoint's)",
      .parse = parse_text,
      .expected = EXPECTED_TEXT,
      FIELD(eval.tokenizer) },
    { .name = "compute",
      .value = "f32|bf16",
      .help = "f32 (default): exact to the fifth digit of an NLL\n"
              "bf16: activations rounded as transformers in bfloat16 rounds them",
      .parse = parse_choice,
      .expected = "f32 or bf16",
      .choices = computes,
      FIELD(eval.machine.compute) },
    OPTION_THREADS(FIELD(eval.machine.threads)),
    { .name = "memory",
      .value = "SIZE",
      .help = "memory to use, e.g. 8G (default: three quarters of what is free);\n"
              "with less memory, more passes over the weights give the same result",
      .parse = parse_size,
      .expected = EXPECTED_SIZE,
      FIELD(eval.machine.memory_bytes) },
    OPTION_ISA(FIELD(eval.machine.isa)),
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};
