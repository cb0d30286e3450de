#include "eval/report/figure.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"

#define TAIL_FIGURES  "median p90 p95 p99 p999 max"
#define RUN_FIGURES   "windows tokens scored mean_nll perplexity nll_stderr perplexity_stderr " \
                      "word_perplexity byte_perplexity bits_per_byte seconds " \
                      "tokens_per_second peak_rss_bytes bytes_read passes"
#define MODEL_FIGURES "parameters bytes quantized_bytes"
#define NAME_BYTES 64
#define NEAR_MAX 5

/* The name of a figure is a prefix and one of its words; '#' is the index of an element. */
static const struct {
    const char *prefix, *words;
} figures[] = {
    { "", "units scored delta_nll delta_nll_stderr p_value perplexity_ratio "
          "perplexity_ratio_stderr perplexity_difference perplexity_difference_stderr "
          "units_needed mean_kld kld_stderr mean_kld_reverse kld_reverse_stderr "
          "mean_kld_same_head kld_same_head_stderr kld_of_head same_top1 "
          "top5_overlap mean_delta_p rms_delta_p p_correlation" },
    { "delta_nll_ci95.", "0 1" },
    { "perplexity_ratio_ci95.", "0 1" },
    { "perplexity_difference_ci95.", "0 1" },
    { "bootstrap.", "samples seed stderr" },
    { "bootstrap.ci95.", "0 1" },
    { "naive.", "delta_nll_stderr p_value" },
    { "naive.delta_nll_ci95.", "0 1" },
    { "unpaired.", "delta_nll_stderr" },
    { "kld.", TAIL_FIGURES },
    { "kld_reverse.", TAIL_FIGURES },
    { "kld_by_confidence.#.", "from to scored mean_kld kld_stderr same_top1" },
    { "kld_histogram.#.", "from to scored" },
    { "delta_p.", "min p01 p1 p5 p10 median p90 p95 p99 p999 max" },
    { "windows.#.", "window scored nll_a nll_b delta_nll mean_kld" },
    { "positions.#.", "from to scored nll_a nll_b delta_nll delta_nll_stderr" },
    { "worst_windows.#.", "window delta_nll begin end" },
    { "worst_tokens.#.", "position window id nll_a nll_b delta_nll kld" },
    { "left_out.", "windows tokens a b floor" },
    { "layers.#.", "layer residual_error output_error same_experts changed_experts" },
    { "layers_cost.", "windows tokens passes bytes_read" },
    { "experts.", "tokens choices count unused_a unused_share_a unused_b unused_share_b" },
    { "experts.layers.#.", "layer unused_a unused_b least_a most_a least_b most_b" },
    { "experts.layers.#.load_a.#", "" },        /* no words: the prefix is the whole name */
    { "experts.layers.#.load_b.#", "" },
    { "experts.layers.#.never_used_a.#", "" },
    { "experts.layers.#.never_used_b.#", "" },
    { "a.", RUN_FIGURES },
    { "b.", RUN_FIGURES },
    { "a.checkpoint.", MODEL_FIGURES },
    { "b.checkpoint.", MODEL_FIGURES },
};

static const char *const scopes[] = { FIGURE_BASELINE, "floor." };      /* in this order */

/* The number of characters of the scopes at the start of the name. */
static size_t scope_length(const char *name, size_t n)
{
    size_t length = 0;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        size_t scope = strlen(scopes[i]);
        if (n - length > scope && memcmp(name + length, scopes[i], scope) == 0)
            length += scope;
    }
    return length;
}

/* The number of characters of the name that match the prefix; SIZE_MAX if it does not. */
static size_t match_prefix(const char *prefix, const char *name, size_t n)
{
    size_t at = 0;
    for (; *prefix; prefix++) {
        size_t digits = 0;
        while (*prefix == '#' && at + digits < n && ascii_digit(name[at + digits]))
            digits++;
        if (digits)
            at += digits;
        else if (at < n && name[at] == *prefix)
            at++;
        else
            return SIZE_MAX;
    }
    return at;
}

static const char *next_word(const char *words, size_t *n)
{
    words += strspn(words, " ");
    *n = strcspn(words, " ");
    return words;
}

bool figure_known(const char *name, size_t n)
{
    size_t scope = scope_length(name, n), length;
    name += scope;
    n -= scope;
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        size_t at = match_prefix(figures[i].prefix, name, n);
        if (at == SIZE_MAX)
            continue;
        if (!*figures[i].words && at == n)
            return true;
        for (const char *w = next_word(figures[i].words, &length); length;
             w = next_word(w + length, &length))
            if (n - at == length && memcmp(name + at, w, length) == 0)
                return true;
    }
    return false;
}

/* ---- similar names --------------------------------------------------------- */

/* Edit distance (Levenshtein), one row of the table at a time; both are shorter than NAME_BYTES. */
static size_t distance(const char *a, const char *b, size_t b_length)
{
    size_t row[NAME_BYTES];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = size_min(replaced, size_min(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_length];
}

bool figure_near(struct buffer *out, const char *name, size_t n, struct error *err)
{
    size_t scope = scope_length(name, n), found = 0, length;
    const char *typed = name + scope;
    size_t typed_length = size_min(n - scope, NAME_BYTES - 1);
    bool ok = true;
    for (size_t edits = 1; edits <= size_max(2, typed_length / 2) && !found; edits++)
        for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
            for (const char *w = next_word(figures[i].words, &length); length;
                 w = next_word(w + length, &length)) {
                char full[NAME_BYTES];
                snprintf(full, sizeof full, "%s%.*s", figures[i].prefix, (int)length, w);
                if (found == NEAR_MAX || distance(full, typed, typed_length) != edits)
                    continue;
                ok = ok && buffer_printf(out, err, "%s%.*s%s", found ? ", " : "", (int)scope, name,
                                         full);
                found++;
            }
    return ok;
}

/* ---- values ----------------------------------------------------------------- */

static const cJSON *element(const cJSON *array, const char *digits, size_t n)
{
    size_t index = 0;
    for (size_t i = 0; i < n; i++) {
        if (!ascii_digit(digits[i]) || index > INT32_MAX / 10 - 1)
            return NULL;
        index = 10 * index + (size_t)(digits[i] - '0');
    }
    return n ? cJSON_GetArrayItem(array, (int)index) : NULL;
}

const cJSON *figure_find(const cJSON *document, const char *name, size_t n)
{
    const cJSON *item = document;
    for (size_t at = 0; item && at < n;) {
        const char *dot = memchr(name + at, '.', n - at);
        size_t length = dot ? (size_t)(dot - (name + at)) : n - at;
        char key[NAME_BYTES];
        if (length >= sizeof key)
            return NULL;
        snprintf(key, sizeof key, "%.*s", (int)length, name + at);
        item = cJSON_IsArray(item) ? element(item, key, length) : json_get(item, key);
        at += length + 1;
    }
    return cJSON_IsNull(item) ? NULL : item;
}

double figure_value(const cJSON *document, const char *name, size_t n)
{
    const cJSON *item = figure_find(document, name, n);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}
