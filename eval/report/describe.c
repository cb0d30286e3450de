#include "eval/report/describe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "eval/report/figure.h"

const struct key_figure describe_key_figures[] = {
    { "Is the difference real?", "mean NLL, B - A", "nats/token", "delta_nll", "delta_nll_stderr",
      NUMBER_DIFFERENCE },
    { NULL, "95 % interval", "nats/token", "delta_nll_ci95", NULL, NUMBER_INTERVAL },
    { NULL, "p-value, paired, by unit", "", "p_value", NULL, NUMBER_PLAIN },
    { NULL, "perplexity ratio, B / A", "", "perplexity_ratio", "perplexity_ratio_stderr",
      NUMBER_PLAIN },
    { NULL, "perplexity, B - A", "", "perplexity_difference", "perplexity_difference_stderr",
      NUMBER_DIFFERENCE },
    { NULL, "units needed for this difference", "", "units_needed", NULL, NUMBER_COUNT },
    { "Other standard errors of the same difference", "standard error by bootstrap", "nats/token",
      "bootstrap.stderr", NULL, NUMBER_PLAIN },
    { NULL, "standard error, tokens as if independent", "nats/token", "naive.delta_nll_stderr",
      NULL, NUMBER_PLAIN },
    { NULL, "standard error, unpaired", "nats/token", "unpaired.delta_nll_stderr", NULL,
      NUMBER_PLAIN },
    { "How far apart are they?", "KL divergence, mean", "nats/token", "mean_kld", "kld_stderr",
      NUMBER_PLAIN },
    { NULL, "KL, median", "nats", "kld.median", NULL, NUMBER_PLAIN },
    { NULL, "KL, 90th percentile", "nats", "kld.p90", NULL, NUMBER_PLAIN },
    { NULL, "KL, 95th percentile", "nats", "kld.p95", NULL, NUMBER_PLAIN },
    { NULL, "KL, 99th percentile", "nats", "kld.p99", NULL, NUMBER_PLAIN },
    { NULL, "KL, 99.9th percentile", "nats", "kld.p999", NULL, NUMBER_PLAIN },
    { NULL, "KL, largest", "nats", "kld.max", NULL, NUMBER_PLAIN },
    { NULL, "KL the other way, A from B", "nats/token", "mean_kld_reverse", "kld_reverse_stderr",
      NUMBER_PLAIN },
    { NULL, "KL with A's head on both", "nats/token", "mean_kld_same_head",
      "kld_same_head_stderr", NUMBER_PLAIN },
    { NULL, "the head's part of the mean", "nats/token", "kld_of_head", NULL, NUMBER_DIFFERENCE },
    { NULL, "same most probable token", "", "same_top1", NULL, NUMBER_SHARE },
    { NULL, "overlap of the five most probable", "", "top5_overlap", NULL, NUMBER_SHARE },
    { NULL, "right token's probability, mean change", "", "mean_delta_p", NULL, NUMBER_DIFFERENCE },
    { NULL, "right token's probability, RMS change", "", "rms_delta_p", NULL, NUMBER_PLAIN },
    { NULL, "its change, 1st percentile", "", "delta_p.p1", NULL, NUMBER_DIFFERENCE },
    { NULL, "its change, 99th percentile", "", "delta_p.p99", NULL, NUMBER_DIFFERENCE },
    { NULL, "right token's probability, correlation", "", "p_correlation", NULL, NUMBER_PLAIN },
};
const size_t describe_n_key_figures = sizeof describe_key_figures / sizeof *describe_key_figures;

const struct key_figure describe_run_figures[] = {
    { NULL, "size", "GB", "checkpoint.bytes", NULL, NUMBER_GIGABYTES },
    { NULL, "mean NLL", "nats/token", "mean_nll", "nll_stderr", NUMBER_PLAIN },
    { NULL, "perplexity", "", "perplexity", "perplexity_stderr", NUMBER_PLAIN },
    { NULL, "word perplexity", "", "word_perplexity", NULL, NUMBER_FINE },
    { NULL, "bits per byte", "", "bits_per_byte", NULL, NUMBER_FINE },
};
const size_t describe_n_run_figures = sizeof describe_run_figures / sizeof *describe_run_figures;

const struct setting describe_settings[] = {
    { "Checkpoint", "checkpoint.path", NUMBER_WORD },
    { "Checkpoint digest", "checkpoint.digest", NUMBER_WORD },
    { "Model type", "checkpoint.model_type", NUMBER_WORD },
    { "Parameters", "checkpoint.parameters", NUMBER_COUNT },
    { "Bytes of weights", "checkpoint.bytes", NUMBER_COUNT },
    { "of them quantized", "checkpoint.quantized_bytes", NUMBER_COUNT },
    { "Text", "text.path", NUMBER_WORD },
    { "Text SHA-256", "text.sha256", NUMBER_WORD },
    { "Text bytes", "text.bytes", NUMBER_COUNT },
    { "Rows joined", "text.join", NUMBER_WORD },
    { "Tokenizer SHA-256", "tokenizer.sha256", NUMBER_WORD },
    { "Protocol", "protocol", NUMBER_WORD },
    { "Context", "context", NUMBER_WHOLE },
    { "Stride", "stride", NUMBER_WHOLE },
    { "Prefix token", "prefix_id", NUMBER_WHOLE },
    { "Prefix token's text", "prefix_token", NUMBER_WORD },
    { "Prefix token from", "prefix_source", NUMBER_WORD },
    { "Documents", "documents.count", NUMBER_COUNT },
    { "Window limit", "max_windows", NUMBER_WHOLE },
    { "Windows", "windows", NUMBER_COUNT },
    { "Tokens", "tokens", NUMBER_COUNT },
    { "Scored tokens", "scored", NUMBER_COUNT },
    { "Compute type", "compute", NUMBER_WORD },
    { "Instruction set", "isa", NUMBER_WORD },
    { "Threads", "threads", NUMBER_COUNT },
    { "surprisal", "surprisal", NUMBER_WORD },
};
const size_t describe_n_settings = sizeof describe_settings / sizeof *describe_settings;

/* A whole number with commas. */
static void grouped(char out[DESCRIBE_BYTES], double value)
{
    char digits[40];
    /* Above 2^53 the last digits would be wrong. */
    const char *format = fabs(value) < 9e15 ? "%.0f" : "%.3e";
    size_t n = (size_t)format_text(digits, sizeof digits, format, value);
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0 && digits[i - 1] != '-' && fabs(value) < 9e15)
            out[to++] = ',';
        out[to++] = digits[i];
    }
    out[to] = '\0';
}

void describe_number(char out[DESCRIBE_BYTES], enum number_kind kind, double value)
{
    if (isnan(value))
        format_text(out, DESCRIBE_BYTES, DESCRIBE_NONE);
    else if (kind == NUMBER_COUNT)
        grouped(out, value);
    else if (kind == NUMBER_FINE)
        format_text(out, DESCRIBE_BYTES, "%.6g", value);
    else if (kind == NUMBER_WHOLE)
        format_text(out, DESCRIBE_BYTES, "%.0f", value);
    else if (kind == NUMBER_SHARE)
        format_text(out, DESCRIBE_BYTES, "%.*f %%", value > 0.9999 && value < 1 ? 4 : 2,
                    100 * value);
    else if (kind == NUMBER_GIGABYTES)
        format_text(out, DESCRIBE_BYTES, value < 1e9 ? "%.3g" : "%.2f", value / 1e9);
    else if (kind == NUMBER_GIGABYTES_MORE)
        format_text(out, DESCRIBE_BYTES, fabs(value) < 1e9 ? "%+.3g" : "%+.2f", value / 1e9);
    else
        format_text(out, DESCRIBE_BYTES, kind == NUMBER_DIFFERENCE ? "%+.4g" : "%.4g", value);
}

void describe_pair(char out[DESCRIBE_BYTES], enum number_kind kind, double value, double error)
{
    if (isnan(value) || !(error > 0 && isfinite(error))) {
        describe_number(out, kind, value);
        return;
    }
    int decimals = 1 - (int)floor(log10(error));
    const char *plus = kind == NUMBER_DIFFERENCE ? "+" : "";
    char format[32];
    if (decimals > 7 || decimals < 0)
        snprintf(format, sizeof format, "%%%s.3g ± %%.2g", plus);
    else
        snprintf(format, sizeof format, "%%%s.%df ± %%.%df", plus, decimals, decimals);
    format_text(out, DESCRIBE_BYTES, format, value, error);
}

static double value_at(const cJSON *document, const char *path)
{
    return path ? figure_value(document, path, strlen(path)) : (double)NAN;
}

static bool describe_interval(char out[DESCRIBE_BYTES], const cJSON *interval)
{
    double low = cJSON_GetNumberValue(cJSON_GetArrayItem(interval, 0));
    double high = cJSON_GetNumberValue(cJSON_GetArrayItem(interval, 1));
    char ends[2][DESCRIBE_BYTES];
    /* The width of the interval decides the digits. */
    describe_pair(ends[0], NUMBER_DIFFERENCE, low, (high - low) / 4);
    describe_pair(ends[1], NUMBER_DIFFERENCE, high, (high - low) / 4);
    for (size_t i = 0; i < 2; i++)
        ends[i][strcspn(ends[i], " ")] = '\0';
    snprintf(out, DESCRIBE_BYTES, "%.40s to %.40s", ends[0], ends[1]);
    return !isnan(low) && !isnan(high);
}

bool describe_figure(char out[DESCRIBE_BYTES], const struct key_figure *f, const cJSON *document,
                     bool with_error)
{
    double value = value_at(document, f->path);
    bool found = !isnan(value);
    if (f->kind == NUMBER_INTERVAL)
        found = describe_interval(out, figure_find(document, f->path, strlen(f->path)));
    else
        describe_pair(out, f->kind, value, with_error ? value_at(document, f->error) : (double)NAN);
    if (!found)
        format_text(out, DESCRIBE_BYTES, DESCRIBE_NONE);
    return found;
}

bool describe_change(char out[DESCRIBE_BYTES], const struct key_figure *f, const cJSON *document,
                     const cJSON *baseline)
{
    double change = value_at(document, f->path) - value_at(baseline, f->path);
    if (isnan(change))
        return false;
    bool share = f->kind == NUMBER_SHARE;
    if (change == 0)
        format_text(out, DESCRIBE_BYTES, "0");
    else
        format_text(out, DESCRIBE_BYTES, share ? "%+.3g points" : "%+.3g",
                    share ? 100 * change : change);
    return true;
}

const char *describe_setting(char number[DESCRIBE_BYTES], const struct setting *s,
                             const cJSON *summary)
{
    const cJSON *item = figure_find(summary, s->path, strlen(s->path));
    if (s->kind == NUMBER_WORD)
        return cJSON_IsString(item) ? item->valuestring : DESCRIBE_NONE;
    describe_number(number, s->kind, value_at(summary, s->path));
    return number;
}

bool describe_warning_next(struct describe_warning *w, const cJSON *document)
{
    const cJSON *const lists[] = {
        json_get(document, "warnings"), json_get(json_get(document, "a"), "warnings"),
        json_get(json_get(document, "b"), "warnings"),
    };
    static const char *const of[] = { "", "A", "B" };
    while (w->group < sizeof lists / sizeof *lists) {
        const cJSON *first = lists[w->group] ? lists[w->group]->child : NULL;
        w->item = w->item ? w->item->next : first;
        if (!w->item)
            w->group++;
        else if (cJSON_IsString(w->item)) {
            w->of = of[w->group];
            w->line = w->item->valuestring;
            return true;
        }
    }
    return false;
}

void describe_name(char out[DESCRIBE_NAME_BYTES], const cJSON *document, const char *run)
{
    const char *path = cJSON_GetStringValue(
        json_get(json_get(json_get(document, run), "checkpoint"), "path"));
    path = path ? path : run;
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/';)
        begin--;
    snprintf(out, DESCRIBE_NAME_BYTES, "%.*s", (int)size_min(end - begin, DESCRIBE_NAME_BYTES - 1),
             path + begin);
}
