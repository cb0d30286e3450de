#include "vllm_flags.h"

#include <string.h>

/* vllm/entrypoints/openai/cli_args.py and vllm/engine/arg_utils.py, 0.33. */
static const struct {
    const char *name, *instead;         /* instead NULL: there is no such thing here */
} flags[] = {
    { "dtype", "--compute f32 or bf16" }, { "kv-cache-memory-bytes", "--memory" },
    { "enable-prefix-caching", "--prefix-cache SIZE" },
    { "no-enable-prefix-caching", "--prefix-cache 0" },
    { "prefix-caching-hash-algo", NULL }, { "speculative-config", "--speculative mtp:N" },
    { "allowed-origins", "--cors" }, { "allowed-methods", "--cors" },
    { "allowed-headers", "--cors" }, { "allow-credentials", NULL },
    { "enable-log-requests", "--log-requests FILE" },
    { "disable-log-requests", "no --log-requests" },
    { "enable-reasoning", "--reasoning-parser qwen3" },
    { "override-generation-config", "--temperature and so on" },
    { "enable-tokenizer-info-endpoint", "nothing: /tokenizer_info is always there" },
    { "chat-template-content-format", "nothing: the template decides" },
    { "ssl-keyfile", "a proxy that has TLS" }, { "ssl-certfile", "a proxy that has TLS" },
    { "ssl-ca-certs", "a proxy that has TLS" }, { "uds", "--host and --port" },
    { "tokenizer-mode", NULL }, { "tokenizer-revision", NULL }, { "trust-remote-code", NULL },
    { "quantization", "nothing: the checkpoint says it" }, { "load-format", NULL },
    { "max-num-batched-tokens", NULL }, { "enable-chunked-prefill", NULL },
    { "tensor-parallel-size", "--threads" }, { "pipeline-parallel-size", NULL },
    { "data-parallel-size", NULL }, { "enable-expert-parallel", NULL },
    { "swap-space", "--memory" },
    { "cpu-offload-gb", NULL }, { "enforce-eager", NULL }, { "block-size", NULL },
    { "hf-overrides", NULL }, { "rope-scaling", NULL }, { "language-model-only", NULL },
    { "limit-mm-per-prompt", NULL }, { "mm-processor-kwargs", NULL }, { "enable-lora", NULL },
    { "lora-modules", NULL }, { "response-role", NULL }, { "root-path", NULL },
    { "uvicorn-log-level", NULL }, { "disable-log-stats", NULL }, { "api-server-count", NULL },
    { "logprobs-mode", NULL }, { "guided-decoding-backend", NULL },
    { "structured-outputs-config", NULL }, { "scheduling-policy", NULL }, { "task", NULL },
    { "runner", NULL }, { "served-model-names", "--served-model-name" }, { "config", NULL },
    { "return-tokens-as-token-ids", "\"return_tokens_as_token_ids\" in a request" },
};

int vllm_flags_refuse(const struct command *c, int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        size_t n = strncmp(word, "--", 2) == 0 ? strcspn(word + 2, "=") : 0;
        for (size_t f = 0; n && f < sizeof flags / sizeof *flags; f++) {
            if (strlen(flags[f].name) != n || strncmp(flags[f].name, word + 2, n) != 0)
                continue;
            return flags[f].instead
                 ? options_refuse(c, "--%s is vLLM's: here it is %s", flags[f].name,
                                  flags[f].instead)
                 : options_refuse(c, "--%s is vLLM's, and there is no such thing here",
                                  flags[f].name);
        }
    }
    return GO_ON;
}
