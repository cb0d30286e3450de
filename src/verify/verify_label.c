#include "verify/verify_label.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS "layers."

/* Gives the module's name from `from` on, numbers as "*". */
static char *kind_of(const char *from, size_t n, struct error *err)
{
    struct buffer b = { 0 };
    bool ok = buffer_append(&b, "", 0, err);
    for (size_t i = 0, end; ok && i < n; i = end + 1) {
        end = i + strcspn(from + i, ".");
        end = size_min(end, n);
        bool is_number = strspn(from + i, "0123456789") == end - i && end > i;
        ok = buffer_printf(&b, err, "%s%.*s", i ? "." : "", is_number ? 1 : (int)(end - i),
                           is_number ? "*" : from + i);
    }
    if (ok)
        return b.data;
    buffer_free(&b);
    return NULL;
}

bool verify_label_of(struct verify_label *layer, struct verify_label *kind, const char *prefix,
                     const char *name, struct error *err)
{
    const char *layers = strstr(name, LAYERS), *from = name;
    size_t n = weight_module_length(name);
    char *end = NULL;
    char text[128] = "-";
    *layer = *kind = (struct verify_label){ 0 };
    if (layers && strspn(layers + strlen(LAYERS), "0123456789")) {
        layer->number = strtoul(layers + strlen(LAYERS), &end, 10);
        bool is_text = strncmp(name, prefix, strlen(prefix)) == 0
                    && layers == name + strlen(prefix);
        snprintf(text, sizeof text, "%.*s%zu", is_text ? 0 : (int)(layers - name), name,
                 layer->number);
        from = *end == '.' ? end + 1 : end;
    }
    layer->text = mem_string(text, err);
    kind->text = kind_of(from, n > (size_t)(from - name) ? n - (size_t)(from - name) : 0, err);
    return layer->text && kind->text;
}

static bool is_digit(const char *text)
{
    return text[0] >= '0' && text[0] <= '9';
}

int verify_label_compare(const struct verify_label *a, const struct verify_label *b)
{
    if (is_digit(a->text) != is_digit(b->text))
        return is_digit(a->text) ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return strcmp(a->text, b->text);
}

const char *verify_label_place(char text[VERIFY_PLACE_BYTES], const struct listed_weight *w,
                               size_t index)
{
    struct tensor at = { .ndim = w->stored.ndim };
    for (size_t i = w->stored.ndim; i-- > 0;) {
        at.shape[i] = index % w->stored.shape[i];
        index /= w->stored.shape[i];
    }
    return tensor_shape_text(&at, text, VERIFY_PLACE_BYTES);
}

/* ---- all weights ------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    const struct verify_labelled *x = a, *y = b;
    int by_kind = strcmp(x->kind.text, y->kind.text);
    if (by_kind)
        return by_kind;
    int by_layer = verify_label_compare(&x->layer, &y->layer);
    return by_layer ? by_layer : (x->weight > y->weight) - (x->weight < y->weight);
}

bool verify_labels_make(struct verify_labels *l, const struct weight_list *w, const char *prefix,
                        struct error *err)
{
    *l = (struct verify_labels){ .list = mem_array(w->n, sizeof *l->list, "names", err) };
    bool ok = l->list;
    for (; ok && l->n < w->n; l->n++) {
        struct verify_labelled *x = &l->list[l->n];
        x->weight = l->n;
        ok = verify_label_of(&x->layer, &x->kind, prefix, w->list[l->n].name, err);
    }
    if (ok && l->n)
        qsort(l->list, l->n, sizeof *l->list, compare);
    if (!ok)
        verify_labels_free(l);
    return ok;
}

void verify_labels_free(struct verify_labels *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->list[i].layer.text);
        free(l->list[i].kind.text);
    }
    free(l->list);
    *l = (struct verify_labels){ 0 };
}

size_t verify_labels_end(const struct verify_labels *l, size_t first)
{
    size_t end = first;
    while (end < l->n && strcmp(l->list[end].kind.text, l->list[first].kind.text) == 0)
        end++;
    return end;
}
