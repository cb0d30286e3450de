#include "report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define DIGEST_SHOWN 12                 /* hexadecimal digits */

/* In place, as a terminal may show it: never longer than it was. */
static const char *word(const cJSON *o, const char *key)
{
    char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
    struct surprisal_error safe = { 0 };
    return value ? strcpy(value, surprisal_printable(&safe, value)) : "?";
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

/* The token that rolling puts before a document, and how lm-evaluation-harness is told to take
 * it. */
static void print_prefix(const cJSON *root)
{
    if (!has(root, "prefix_id"))
        return;
    double id = number(root, "prefix_id");
    printf("%-16s ", "prefix token");
    if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(root, "prefix_token")))
        printf("%s, ", word(root, "prefix_token"));
    printf("id %.0f, %s; lm_eval: --model_args prefix_token_id=%.0f\n", id,
           word(root, "prefix_source"), id);
}

static void print_protocol(const cJSON *root)
{
    const cJSON *documents = cJSON_GetObjectItemCaseSensitive(root, "documents");
    printf("%-16s %s, context %.0f, stride %.0f", "protocol", word(root, "protocol"),
           number(root, "context"), number(root, "stride"));
    if (cJSON_IsObject(documents))
        printf(", %.0f documents (%s)", number(documents, "count"), word(documents, "split"));
    printf("\n");
    print_prefix(root);
    const cJSON *left_out = cJSON_GetObjectItemCaseSensitive(root, "left_out");
    double windows = number(root, "windows"), gone = has(left_out, "windows")
                                                   ? number(left_out, "windows") : 0;
    printf("%-16s %.0f in %.0f windows, of %.0f tokens", "scored", number(root, "scored"),
           windows - gone, number(root, "tokens"));
    if (gone > 0)
        printf("; %.0f window%s of %.0f left out (NaN or infinity)", gone, gone > 1 ? "s" : "",
               windows);
    printf("\n");
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

static void print_checkpoint(const cJSON *root)
{
    const cJSON *checkpoint = cJSON_GetObjectItemCaseSensitive(root, "checkpoint");
    printf("%-16s %s, digest %.*s, %s, %.4g M parameters, %.4g MB (%.4g MB quantized)\n",
           "checkpoint", word(checkpoint, "path"), DIGEST_SHOWN, word(checkpoint, "digest"),
           word(checkpoint, "model_type"), number(checkpoint, "parameters") / 1e6,
           number(checkpoint, "bytes") / 1e6, number(checkpoint, "quantized_bytes") / 1e6);
    const cJSON *rounded = cJSON_GetObjectItemCaseSensitive(checkpoint, "rounded_to_bf16"), *format;
    if (rounded)
        printf("%-16s", "rounded to BF16");
    cJSON_ArrayForEach(format, rounded)
        printf(" %s%s", format->valuestring, format->next ? "," : "\n");
}

static void print_computed(const cJSON *root)
{
    printf("%-16s %s, %s, %.0f thread%s, surprisal %s\n", "computed", word(root, "compute"),
           word(root, "isa"), number(root, "threads"), number(root, "threads") > 1 ? "s" : "",
           word(root, "surprisal"));
    printf("%-16s %.0f tokens/s, %.1f s, %.0f pass%s", "speed", number(root, "tokens_per_second"),
           number(root, "seconds"), number(root, "passes"), number(root, "passes") > 1 ? "es" : "");
    if (has(root, "peak_rss_bytes"))
        printf(", %.2f GB peak memory", number(root, "peak_rss_bytes") / 1e9);
    printf("\n\n");
}

static void print_by_token(const cJSON *root)
{
    print_figure(root, "mean NLL", "mean_nll", "nll_stderr", 6, " nats/token");
    print_figure(root, "perplexity", "perplexity", "perplexity_stderr", 4, "");
}

static void print_by_text(const cJSON *root)
{
    print_figure(root, "word perplexity", "word_perplexity", NULL, 4, "");
    print_figure(root, "byte perplexity", "byte_perplexity", NULL, 6, "");
    print_figure(root, "bits per byte", "bits_per_byte", NULL, 6, "");
}

/* What the MTP layer drafted, a line a draft. */
static void print_drafts(const cJSON *root, const char *of)
{
    const cJSON *draft;
    cJSON_ArrayForEach(draft, cJSON_GetObjectItemCaseSensitive(root, "mtp")) {
        printf("%sdraft %-10.0f ", of, number(draft, "draft"));
        if (has(draft, "accepted"))
            printf("accepted %.4f, same best token %.4f, mean NLL %.4f, at %.0f positions\n",
                   number(draft, "accepted"), number(draft, "same_top1"), number(draft, "mean_nll"),
                   number(draft, "positions"));
        else
            printf("windows are too short for it\n");
    }
}

static bool print_run(const char *summary_json)
{
    cJSON *root = cJSON_Parse(summary_json);
    if (!root)
        return false;
    print_checkpoint(root);
    print_input(root);
    print_protocol(root);
    print_computed(root);
    /* A task's own figures come first. */
    bool task = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "documents"));
    if (task)
        print_by_text(root);
    print_by_token(root);
    if (!task)
        print_by_text(root);
    print_drafts(root, "");
    cJSON_Delete(root);
    return true;
}

/* "x ± e" in a column; bytes are no measure of its width. */
static void print_with_error(int width, int digits, double x, double error)
{
    printf("  %*.*f", width, digits, x);
    if (isnan(error))
        printf("   %*s", width, "");
    else
        printf(" ± %-*.*f", width, digits, error);
}

static void print_plan(const struct surprisal_result *r, int width)
{
    printf("%-*s  %7zu  %8zu", width, r->plan, r->windows - r->left_out, r->scored);
    print_with_error(9, 6, r->mean_nll, r->nll_stderr);
    print_with_error(10, 4, r->perplexity, r->perplexity_stderr);
    if (!isnan(r->bits_per_byte))
        printf("  %15.4f  %13.6f", r->word_perplexity, r->bits_per_byte);
    printf("\n");
}

/* All plans with a prefix have the same one. */
static void print_prefix_of(const struct surprisal_result *results, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cJSON *root = cJSON_Parse(results[i].summary_json);
        bool found = has(root, "prefix_id");
        if (found)
            print_prefix(root);
        cJSON_Delete(root);
        if (found)
            return;
    }
}

static bool print_plans(const struct surprisal_result *results, size_t n)
{
    cJSON *root = cJSON_Parse(results->summary_json);
    if (!root)
        return false;
    print_checkpoint(root);
    print_input(root);
    print_prefix_of(results, n);
    print_computed(root);
    cJSON_Delete(root);
    size_t width = strlen("plan");
    for (size_t i = 0; i < n; i++)
        width = strlen(results[i].plan) > width ? strlen(results[i].plan) : width;
    printf("%-*s  %7s  %8s  %-21s  %-23s%s\n", (int)width, "plan", "windows", "scored",
           "mean NLL, nats/token", "perplexity",
           isnan(results->bits_per_byte) ? "" : "  word perplexity  bits per byte");
    for (size_t i = 0; i < n; i++)
        print_plan(&results[i], (int)width);
    for (size_t i = 0; i < n; i++) {
        char of[sizeof results->plan + 2];
        snprintf(of, sizeof of, "%s ", results[i].plan);
        root = cJSON_Parse(results[i].summary_json);
        print_drafts(root, of);
        cJSON_Delete(root);
    }
    for (size_t i = 0; i < n; i++)
        if (results[i].left_out)
            printf("%s: %zu of its windows %s left out (NaN or infinity)\n", results[i].plan,
                   results[i].left_out, results[i].left_out == 1 ? "is" : "are");
    return true;
}

int report_failure(const struct surprisal_error *err)
{
    options_fail("%s", err->message);
    return err->interrupted ? INTERRUPTED : FAILED;
}

int report_either(bool ok, char *json, char *text, const struct surprisal_error *err)
{
    if (!ok)
        return report_failure(err);
    if (json)
        puts(json);
    else
        fputs(text, stdout);
    free(json);
    free(text);
    return DONE;
}

bool report_print_results(const struct surprisal_result *results, size_t n, bool plans, bool json)
{
    if (!json)
        return plans ? print_plans(results, n) : print_run(results->summary_json);
    for (size_t i = 0; i < n; i++)
        printf("%s%s", plans ? i ? ",\n" : "[\n" : "", results[i].summary_json);
    puts(plans ? "\n]" : "");
    return true;
}
