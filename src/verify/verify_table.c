#include "verify/verify_table.h"

#include <stdlib.h>
#include <string.h>

/* Names come from files: those beyond the first few share a row or column. */
#define MAX_LABELS ((size_t)256)
#define OTHERS "others"

bool verify_table_is_quantized(const struct verify_result *r, size_t weight)
{
    const struct listed_weight *w = &r->weights.list[weight];
    const struct listed_weight *there = r->has_original
        ? verify_scan_counterpart(w, &r->original_weights) : NULL;
    return w->stored.is_whole && (w->stored.is_packed || (there && there->stored.is_packed));
}

/* ---- labels ---------------------------------------------------------------------- */

static size_t find_label(const struct verify_label *list, size_t n, const char *text)
{
    size_t i = 0;
    while (i < n && strcmp(list[i].text, text) != 0)
        i++;
    return i < n || n < MAX_LABELS || strcmp(text, OTHERS) == 0 ? i : find_label(list, n, OTHERS);
}

/* Takes the label; frees it when it is there already. */
static bool add_label(struct verify_label **list, size_t *n, size_t *capacity,
                      struct verify_label new, struct error *err)
{
    if (find_label(*list, *n, new.text) < *n) {
        free(new.text);
        return true;
    }
    if (*n == MAX_LABELS - 1) {
        free(new.text);
        new = (struct verify_label){ .text = mem_string(OTHERS, err) };
    }
    if (!new.text || !mem_grow(list, capacity, *n + 1, sizeof **list, "the table", err)) {
        free(new.text);
        return false;
    }
    (*list)[(*n)++] = new;
    return true;
}

static int compare_labels(const void *a, const void *b)
{
    return verify_label_compare(a, b);
}

/* ---- cells ------------------------------------------------------------------------- */

static bool add_labels(struct verify_table *t, const struct verify_result *r, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < r->weights.n; i++) {
        struct verify_label layer, kind;
        if (!verify_table_is_quantized(r, i))
            continue;
        ok = verify_label_of(&layer, &kind, r->folder.prefix, r->weights.list[i].name, err);
        if (!ok) {
            free(layer.text);
            free(kind.text);
            break;
        }
        ok = add_label(&t->layers, &t->n_layers, &t->layers_capacity, layer, err);
        ok = add_label(&t->kinds, &t->n_kinds, &t->kinds_capacity, kind, err) && ok;
    }
    if (ok && t->n_layers) {
        qsort(t->layers, t->n_layers, sizeof *t->layers, compare_labels);
        qsort(t->kinds, t->n_kinds, sizeof *t->kinds, compare_labels);
    }
    return ok;
}

static void add_tally(struct verify_cell *cell, const struct tally *t)
{
    cell->tensors++;
    tally_add(&cell->sum, t);
}

static bool add_weight(struct verify_table *t, const struct verify_result *r, size_t i,
                       struct error *err)
{
    struct verify_label layer, kind;
    bool ok = verify_label_of(&layer, &kind, r->folder.prefix, r->weights.list[i].name, err);
    if (ok) {
        size_t row = find_label(t->layers, t->n_layers, layer.text);
        size_t column = find_label(t->kinds, t->n_kinds, kind.text);
        add_tally(&t->cells[row * t->n_kinds + column], &r->tallies[i]);
        add_tally(&t->totals[column], &r->tallies[i]);
        add_tally(&t->all, &r->tallies[i]);
    }
    free(layer.text);
    free(kind.text);
    return ok;
}

bool verify_table_make(struct verify_table *t, const struct verify_result *r, struct error *err)
{
    size_t n_cells;
    *t = (struct verify_table){ 0 };
    bool ok = add_labels(t, r, err)
           && (size_product(&n_cells, t->n_layers, t->n_kinds)
               || error_set(err, "out of memory: the table"))
           && (t->cells = mem_array(n_cells, sizeof *t->cells, "the table", err))
           && (t->totals = mem_array(t->n_kinds, sizeof *t->totals, "the table", err));
    for (size_t i = 0; ok && i < r->weights.n; i++)
        if (verify_table_is_quantized(r, i))
            ok = add_weight(t, r, i, err);
    if (!ok)
        verify_table_free(t);
    return ok;
}

void verify_table_free(struct verify_table *t)
{
    for (size_t i = 0; i < t->n_layers; i++)
        free(t->layers[i].text);
    for (size_t i = 0; i < t->n_kinds; i++)
        free(t->kinds[i].text);
    free(t->layers);
    free(t->kinds);
    free(t->cells);
    free(t->totals);
    *t = (struct verify_table){ 0 };
}

const struct verify_cell *verify_table_cell(const struct verify_table *t, size_t layer, size_t kind)
{
    return &t->cells[layer * t->n_kinds + kind];
}
