#include "verify/verify_groups.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define DIGITS "0123456789"
#define RUNS_SHOWN 4                    /* of numbers: "0-7,9" has two */

/* ---- which findings belong together --------------------------------------------------- */

/* A finding, and its group for the time being. */
struct entry {
    const struct finding *finding;
    size_t index;                       /* in the order of the findings */
    char *key;                          /* owned */
    size_t first;                       /* index of the first of its group */
};

/* Appends the text with "*" for each number. */
static bool add_masked(struct buffer *out, const char *text, struct error *err)
{
    bool ok = true;
    while (ok && *text) {
        size_t plain = strcspn(text, DIGITS), digits = strspn(text + plain, DIGITS);
        ok = buffer_append(out, text, plain, err) && (!digits || buffer_append(out, "*", 1, err));
        text += plain + digits;
    }
    return ok;
}

/* Gives what the findings of a group have in common. */
static char *key_of(const struct finding *x, struct error *err)
{
    struct buffer key = { 0 };
    bool ok = buffer_printf(&key, err, "%d ", (int)x->code);
    if (*x->tensor)
        ok = ok && add_masked(&key, x->tensor, err);
    else
        ok = ok && add_masked(&key, x->file, err) && buffer_printf(&key, err, "\n")
          && add_masked(&key, x->text, err);
    if (ok)
        return key.data;
    buffer_free(&key);
    return NULL;
}

static int compare_keys(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int by_key = strcmp(x->key, y->key);
    return by_key ? by_key : (x->index > y->index) - (x->index < y->index);
}

/* Groups by level, then in the order of their first findings. */
static int compare_places(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int by_level = (int)finding_level(x->finding->code) - (int)finding_level(y->finding->code);
    if (by_level)
        return by_level;
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first)
                                : (x->index > y->index) - (x->index < y->index);
}

static void sort_entries(struct entry *entries, size_t n, bool all)
{
    if (!all)
        qsort(entries, n, sizeof *entries, compare_keys);
    for (size_t i = 0; i < n; i++)
        entries[i].first = !all && i > 0 && strcmp(entries[i].key, entries[i - 1].key) == 0
            ? entries[i - 1].first : entries[i].index;
    qsort(entries, n, sizeof *entries, compare_places);
}

/* ---- the numbers of a group ------------------------------------------------------------- */

/* The text after its first `skip` numbers, and what lies before the next one. */
static const char *after_numbers(const char *text, size_t skip)
{
    for (; skip; skip--) {
        text += strcspn(text, DIGITS);
        text += strspn(text, DIGITS);
    }
    return text + strcspn(text, DIGITS);
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Appends sorted numbers as "{0-7,9}". */
static bool add_runs(struct buffer *out, const size_t *numbers, size_t n, struct error *err)
{
    bool ok = buffer_printf(out, err, "{");
    size_t n_runs = 0;
    for (size_t i = 0, end; ok && i < n; i = end) {
        for (end = i + 1; end < n && numbers[end] - numbers[end - 1] <= 1; end++)
            ;
        if (n_runs++ == RUNS_SHOWN) {
            ok = buffer_printf(out, err, ",...");
            break;
        }
        ok = buffer_printf(out, err, "%s%zu", n_runs > 1 ? "," : "", numbers[i]);
        if (ok && numbers[end - 1] > numbers[i])
            ok = buffer_printf(out, err, "%s%zu", numbers[end - 1] == numbers[i] + 1 ? "," : "-",
                               numbers[end - 1]);
    }
    return ok && buffer_printf(out, err, "}");
}

/* Appends the number at a place of the names, or all that the group has there. */
static bool add_number(struct buffer *out, const struct entry *entries, size_t n, size_t place,
                       size_t *numbers, struct error *err)
{
    const char *first = after_numbers(entries[0].finding->tensor, place);
    for (size_t i = 0; i < n; i++)
        numbers[i] = strtoull(after_numbers(entries[i].finding->tensor, place), NULL, 10);
    qsort(numbers, n, sizeof *numbers, compare_sizes);
    return numbers[0] == numbers[n - 1] ? buffer_append(out, first, strspn(first, DIGITS), err)
                                        : add_runs(out, numbers, n, err);
}

/* Gives the name of the tensors of a group. */
static char *name_of(const struct entry *entries, size_t n, struct error *err)
{
    const char *text = entries[0].finding->tensor;
    struct buffer out = { 0 };
    if (n == 1)
        return mem_string(text, err);
    size_t *numbers = mem_array(n, sizeof *numbers, "findings", err), place = 0;
    bool ok = numbers && buffer_append(&out, "", 0, err);
    while (ok && *text) {
        size_t plain = strcspn(text, DIGITS), digits = strspn(text + plain, DIGITS);
        ok = buffer_append(&out, text, plain, err)
          && (!digits || add_number(&out, entries, n, place++, numbers, err));
        text += plain + digits;
    }
    free(numbers);
    if (ok)
        return out.data;
    buffer_free(&out);
    return NULL;
}

/* ---- the list ------------------------------------------------------------------------- */

static bool add_group(struct verify_groups *g, const struct entry *entries, size_t n,
                      struct error *err)
{
    struct verify_group *x = &g->list[g->n];
    *x = (struct verify_group){ entries[0].finding, n, name_of(entries, n, err) };
    g->n += x->tensor != NULL;
    return x->tensor;
}

bool verify_groups_make(struct verify_groups *g, const struct findings *found, bool all,
                        struct error *err)
{
    size_t n = found->n;
    *g = (struct verify_groups){ .list = mem_array(n, sizeof *g->list, "findings", err) };
    struct entry *entries = mem_array(n, sizeof *entries, "findings", err);
    bool ok = g->list && entries;
    for (size_t i = 0; ok && i < n; i++) {
        const struct finding *x = &found->list[i];
        entries[i] = (struct entry){ .finding = x, .index = i, .key = key_of(x, err) };
        ok = entries[i].key;
    }
    if (ok && n)
        sort_entries(entries, n, all);
    for (size_t i = 0, end; ok && i < n; i = end) {
        for (end = i + 1; end < n && entries[end].first == entries[i].first; end++)
            ;
        ok = add_group(g, &entries[i], end - i, err);
    }
    for (size_t i = 0; entries && i < n; i++)
        free(entries[i].key);
    free(entries);
    if (!ok)
        verify_groups_free(g);
    return ok;
}

void verify_groups_free(struct verify_groups *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->list[i].tensor);
    free(g->list);
    *g = (struct verify_groups){ 0 };
}
