#include "report.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGEST_SHOWN 12                 /* hexadecimal digits */

static const char *word(const cJSON *o, const char *key)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
    return value ? value : "?";
}

static double number(const cJSON *o, const char *key)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o, key));
}

static bool has(const cJSON *o, const char *key)
{
    return cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(o, key));
}

static void print_input(const cJSON *root)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "text");
    const cJSON *tokenizer = cJSON_GetObjectItemCaseSensitive(root, "tokenizer");
    bool is_text = has(text, "words");
    printf("%-16s %s, sha256 %.*s, %.0f bytes", is_text ? "text" : "ids", word(text, "path"),
           DIGEST_SHOWN, word(text, "sha256"), number(text, "bytes"));
    if (is_text)
        printf(", %.0f words, join %s", number(text, "words"), word(text, "join"));
    printf("\n");
    if (cJSON_IsObject(tokenizer))
        printf("%-16s %s, sha256 %.*s\n", "tokenizer", word(tokenizer, "path"), DIGEST_SHOWN,
               word(tokenizer, "sha256"));
}

static void print_protocol(const cJSON *root)
{
    const cJSON *documents = cJSON_GetObjectItemCaseSensitive(root, "documents");
    printf("%-16s %s, context %.0f, stride %.0f", "protocol", word(root, "protocol"),
           number(root, "context"), number(root, "stride"));
    if (cJSON_IsObject(documents))
        printf(", %.0f documents (%s)", number(documents, "count"), word(documents, "split"));
    if (has(root, "prefix_id"))
        printf(", prefix id %.0f", number(root, "prefix_id"));
    printf("\n%-16s %.0f in %.0f windows, of %.0f tokens\n", "scored", number(root, "scored"),
           number(root, "windows"), number(root, "tokens"));
}

/* "NAME  x" or "NAME  x ± e". */
static void print_figure(const cJSON *root, const char *name, const char *key, const char *error,
                         int digits, const char *unit)
{
    if (!has(root, key))
        return;
    printf("%-16s %.*f", name, digits, number(root, key));
    if (error && has(root, error))
        printf(" ± %.*f", digits, number(root, error));
    printf("%s\n", unit);
}

bool report_print(const char *summary_json)
{
    cJSON *root = cJSON_Parse(summary_json);
    if (!root)
        return false;
    const cJSON *checkpoint = cJSON_GetObjectItemCaseSensitive(root, "checkpoint");
    printf("%-16s %s, digest %.*s, %s, %.4g M parameters, %.4g MB (%.4g MB quantized)\n",
           "checkpoint", word(checkpoint, "path"), DIGEST_SHOWN, word(checkpoint, "digest"),
           word(checkpoint, "model_type"), number(checkpoint, "parameters") / 1e6,
           number(checkpoint, "bytes") / 1e6, number(checkpoint, "quantized_bytes") / 1e6);
    print_input(root);
    print_protocol(root);
    printf("%-16s %s, %s, %.0f thread%s, surprisal %s\n", "computed", word(root, "compute"),
           word(root, "isa"), number(root, "threads"), number(root, "threads") > 1 ? "s" : "",
           word(root, "surprisal"));
    printf("%-16s %.0f tokens/s, %.1f s, %.0f pass%s, %.2f GB peak memory\n\n", "speed",
           number(root, "tokens_per_second"), number(root, "seconds"), number(root, "passes"),
           number(root, "passes") > 1 ? "es" : "", number(root, "peak_rss_bytes") / 1e9);
    print_figure(root, "mean NLL", "mean_nll", "nll_stderr", 6, " nats/token");
    print_figure(root, "perplexity", "perplexity", "perplexity_stderr", 4, "");
    print_figure(root, "word perplexity", "word_perplexity", NULL, 4, "");
    print_figure(root, "byte perplexity", "byte_perplexity", NULL, 6, "");
    print_figure(root, "bits per byte", "bits_per_byte", NULL, 6, "");
    cJSON_Delete(root);
    return true;
}

void report_either(char *json, char *text)
{
    if (json)
        puts(json);
    else
        fputs(text, stdout);
    free(json);
    free(text);
}
