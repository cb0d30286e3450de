/* verify_label.h - layer and kind of a weight, by its name.
 *
 * The kind is the module's name after "layers.N.", with "*" for an expert's number
 * ("mlp.experts.*.down_proj"); the layer is N, with what comes before it in another model than the
 * text model ("mtp.0"), and "-" outside layers. */
#ifndef SURPRISAL_VERIFY_VERIFY_LABEL_H
#define SURPRISAL_VERIFY_VERIFY_LABEL_H

#include "formats/weight_list.h"

struct verify_label {
    char *text;                         /* owned */
    size_t number;                      /* of a layer */
};

/* Gives both.  prefix: of the text model's names.  The caller frees them after a failure too. */
bool verify_label_of(struct verify_label *layer, struct verify_label *kind, const char *prefix,
                     const char *name, struct error *err);

/* Layers of the text model by number, then the others by number and name. */
int verify_label_compare(const struct verify_label *a, const struct verify_label *b);

/* "[3, 17]" of element `index`. */
#define VERIFY_PLACE_BYTES 128
const char *verify_label_place(char text[VERIFY_PLACE_BYTES], const struct listed_weight *w,
                               size_t index);

struct verify_labelled {
    size_t weight;                      /* index in the list of weights */
    struct verify_label layer, kind;    /* owned */
};

/* All weights by kind, and those of a kind by layer. */
struct verify_labels {
    struct verify_labelled *list;       /* owned [n] */
    size_t n;
};

bool verify_labels_make(struct verify_labels *l, const struct weight_list *w, const char *prefix,
                        struct error *err);
void verify_labels_free(struct verify_labels *l);
/* One past the last weight of the kind of the first. */
size_t verify_labels_end(const struct verify_labels *l, size_t first);

#endif
