#include "verify/verify_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/config_unread.h"
#include "formats/mlx_layout.h"
#include "formats/names.h"
#include "formats/notes.h"
#include "formats/safetensors_folder.h"

/* A config may ask for more weights than any folder holds: they are counted no further. */
#define COUNTED_MOST ((size_t)1000000)

struct sink {
    struct verify_folder *f;
    struct findings *found;
    size_t n_known;                     /* weights that are missing, as a finding has said */
    struct error *err;                  /* of a callback that gets none */
    bool is_full;                       /* nothing more is kept or counted */
};

/* ---- what is lost -------------------------------------------------------------------- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool lose(struct verify_folder *f, const char *tensor, struct error *err)
{
    return mem_grow(&f->lost, &f->lost_capacity, f->n_lost + 1, sizeof *f->lost, "tensors", err)
        && (f->lost[f->n_lost] = mem_string(tensor, err)) && ++f->n_lost;
}

static void sort_lost(struct verify_folder *f)
{
    if (f->n_lost)
        qsort(f->lost, f->n_lost, sizeof *f->lost, compare_strings);
    f->n_sorted = f->n_lost;
}

static bool is_lost(void *user, const char *tensor)
{
    const struct verify_folder *f = user;
    return f->may_lack_any
        || (f->n_sorted
            && bsearch(&tensor, f->lost, f->n_sorted, sizeof *f->lost, compare_strings));
}

bool verify_folder_is_lost_weight(const struct verify_folder *f, const char *weight)
{
    return weight_is_in_any(weight, is_lost, (void *)(uintptr_t)f);
}

/* ---- opening -------------------------------------------------------------------------- */

static bool add_lost(struct sink *s, const struct checkpoint_place *at, struct error *err)
{
    if (at->tensor)
        return lose(s->f, at->tensor, err);
    s->f->may_lack_any = true;
    return true;
}

static bool add_no_file(struct sink *s, const struct checkpoint_place *at, struct error *err)
{
    return at->n ? findings_add(s->found, FOUND_MISSING_FILE, at->file, NULL, err,
                                "does not exist, but"
                                " the index places %zu tensors there",
                                at->n)
                 : findings_add(s->found, FOUND_MISSING_FILE, at->file, NULL, err,
                                "the folder has no *%s file", CHECKPOINT_SUFFIX);
}

static bool add_no_tensor(struct sink *s, const struct checkpoint_place *at, struct error *err)
{
    return at->other ? findings_add(s->found, FOUND_WRONG_FILE, at->file, at->tensor, err,
                                    "the index"
                                    " places it there, but it is in %s",
                                    file_last_part(at->other))
                     : findings_add(s->found, FOUND_MISSING, at->file, at->tensor, err,
                                    "the index places it there, but no file has it");
}

static bool add_open_fault(void *user, enum checkpoint_fault fault,
                           const struct checkpoint_place *at, const struct error *why,
                           struct error *err)
{
    static const enum finding_code codes[CHECKPOINT_FAULTS] = {
        [CHECKPOINT_CONFIG] = FOUND_CONFIG, [CHECKPOINT_INDEX_ROW] = FOUND_INDEX,
        [CHECKPOINT_UNREADABLE] = FOUND_UNREADABLE, [CHECKPOINT_TOTAL] = NOTE_TOTAL_SIZE,
        [CHECKPOINT_ABSENT] = FOUND_MISSING, [CHECKPOINT_STALE_INDEX] = FOUND_INDEX,
        [CHECKPOINT_CHOICE] = NOTE_CHOICE,
    };
    struct sink *s = user;
    switch (fault) {
    case CHECKPOINT_NO_FILE:
        return add_no_file(s, at, err);
    case CHECKPOINT_NO_TENSOR:
        return add_no_tensor(s, at, err);
    case CHECKPOINT_LOST:
        return add_lost(s, at, err);
    case CHECKPOINT_TWICE:
        return findings_add(s->found, FOUND_TWICE, at->file, at->tensor, err,
                            "is in %s too, and"
                            " there is no index to decide",
                            file_last_part(at->other));
    default:
        return findings_add_error(s->found, codes[fault], at->file, at->tensor, why, err);
    }
}

static bool is_taken(const struct checkpoint *ck, const struct tensor *t)
{
    char text[1024];
    const char *name = mlx_layout_first_expert(text, sizeof text, t->name);
    const struct tensor *found = checkpoint_find(ck, name ? name : t->name);
    return found == t || (name && found && found->data == t->data);
}

/* Tensors, and whole files, that were not taken. */
static bool list_stale(const struct checkpoint *ck, struct findings *found, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < ck->n_files; i++) {
        const struct safetensors_file *file = &ck->files[i];
        size_t n_taken = 0;
        for (size_t j = 0; j < file->n_tensors; j++)
            n_taken += is_taken(ck, &file->tensors[j]);
        if (n_taken == 0)
            ok = findings_add(found, FOUND_UNLISTED, file->map.path, NULL, err,
                              "has %zu tensors, and nothing reads them", file->n_tensors);
        for (size_t j = 0; ok && n_taken && n_taken < file->n_tensors && j < file->n_tensors; j++) {
            const struct tensor *t = &file->tensors[j];
            if (!is_taken(ck, t))
                ok = findings_add(found, FOUND_STALE, t->file, t->name, err,
                                  "is in the file, but the index does not place it there");
        }
    }
    return ok;
}

/* Whatever is missing, the other names tell, those of what is lost included. */
static const char *prefix_of(const struct verify_folder *f)
{
    static const char multimodal[] = NAMES_MULTIMODAL;
    bool is_multimodal = false;
    for (size_t i = 0; i < f->ck.n_tensors; i++)
        is_multimodal |= strncmp(f->ck.tensors[i]->name, multimodal, strlen(multimodal)) == 0;
    for (size_t i = 0; i < f->n_lost; i++)
        is_multimodal |= strncmp(f->lost[i], multimodal, strlen(multimodal)) == 0;
    return is_multimodal ? multimodal : NAMES_TEXT;
}

bool verify_folder_open(struct verify_folder *f, const char *path, struct findings *found,
                        struct error *err)
{
    struct sink sink = { .f = f, .found = found };
    const struct checkpoint_faults faults = { add_open_fault, &sink };
    *f = (struct verify_folder){ 0 };
    bool ok = checkpoint_open_with(&f->ck, path, NULL, &faults, err)
           && list_stale(&f->ck, found, err);
    sort_lost(f);
    f->prefix = prefix_of(f);
    if (!ok)
        verify_folder_close(f);
    return ok;
}

void verify_folder_close(struct verify_folder *f)
{
    for (size_t i = 0; i < f->n_lost; i++)
        free(f->lost[i]);
    free(f->lost);
    checkpoint_close(&f->ck);
    *f = (struct verify_folder){ 0 };
}

/* ---- weights ------------------------------------------------------------------------ */

/* What is missing because its file, or its index row, is broken has been named already. */
static bool add_fault(void *user, enum weight_fault fault, const struct tensor *t, const char *name,
                      const char *text, struct error *err)
{
    static const enum finding_code codes[WEIGHT_FAULTS] = {
        [WEIGHT_MISSING] = FOUND_MISSING, [WEIGHT_INCOMPLETE] = FOUND_PAIR,
        [WEIGHT_ALONE] = FOUND_PAIR, [WEIGHT_TWICE] = FOUND_TWICE, [WEIGHT_DTYPE] = FOUND_DTYPE,
        [WEIGHT_SHAPE] = FOUND_SHAPE,
    };
    struct sink *s = user;
    bool is_missing = fault == WEIGHT_MISSING;
    bool is_known = is_missing ? verify_folder_is_lost_weight(s->f, name)
                  : (fault == WEIGHT_INCOMPLETE || fault == WEIGHT_ALONE) && is_lost(s->f, name);
    s->n_known += is_missing && is_known;
    if (s->found && !is_known
        && (!findings_add(s->found, codes[fault], t ? t->file : NULL, t ? t->name : name, err, "%s",
                          text)
            || (is_missing && !lose(s->f, name, err))))
        return false;
    s->is_full = s->n_known >= COUNTED_MOST || (s->found && s->found->n >= FINDINGS_KEPT);
    return !is_missing || !s->is_full;
}

/* A finding has named them; they are not weights that something could be expected of. */
static void drop_alone(struct weight_list *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->list[i].stored.is_alone)
            free(l->list[i].name);
        else
            l->list[n++] = l->list[i];
    l->n = n;
}

bool verify_folder_list(struct weight_list *out, struct verify_folder *f, struct findings *found,
                        struct error *err)
{
    struct sink sink = { .f = f, .found = found };
    const struct weight_faults faults = { add_fault, &sink };
    if (!weight_list_read(out, &f->ck, &faults, err))
        return false;
    drop_alone(out);
    return true;
}

static bool lacks_part(const struct listed_weight *w)
{
    bool lacks = false;
    for (size_t i = 0; i < w->stored.n_parts; i++)
        lacks = lacks || !w->stored.parts[i];
    return lacks;
}

/* Without an index nobody knows what a file had that cannot be read. */
static bool say_lacking(const struct sink *s, const struct weight_list *w, struct error *err)
{
    size_t n = s->n_known;
    for (size_t i = 0; i < w->n; i++)
        n += w->list[i].is_expected && lacks_part(&w->list[i]);
    return !s->f->may_lack_any || n == 0
        || findings_add(s->found, FOUND_MISSING, NULL, NULL, err,
                        "%s%zu weights that the config asks"
                        " for are in no file that can be read",
                        s->is_full ? "at least " : "", n);
}

/* The length of "<prefix>layers.N." where the config has no layer N, *layer; 0: the name has
 * none. */
static size_t uncounted_layer(const struct verify_folder *f, const char *name, size_t *layer)
{
    static const char layers[] = "layers.";
    const size_t n = strlen(f->prefix), digits_at = n + sizeof layers - 1;
    if (strncmp(name, f->prefix, n) != 0 || strncmp(name + n, layers, sizeof layers - 1) != 0)
        return 0;
    size_t digits = strspn(name + digits_at, "0123456789");
    *layer = digits ? strtoull(name + digits_at, NULL, 10) : 0;
    return digits && name[digits_at + digits] == '.' && *layer >= f->ck.config.num_hidden_layers
        ? digits_at + digits + 1 : 0;
}

/* What the config does not ask for; a whole layer of it, which follow each other, is one. */
static bool say_unexpected(const struct verify_folder *f, const struct weight_list *w,
                           struct findings *found, struct error *err)
{
    bool ok = true;
    for (size_t i = 0, end; ok && i < w->n; i = end) {
        const struct tensor *t = w->list[i].stored.parts[0];
        const char *name = w->list[i].name;
        size_t layer, n = w->list[i].is_unexpected ? uncounted_layer(f, name, &layer) : 0;
        for (end = i + 1; n && end < w->n && strncmp(w->list[end].name, name, n) == 0; end++)
            ;
        if (n)
            ok = findings_add(found, FOUND_UNEXPECTED, t->file, t->name, err,
                              "is of layer %zu, of which %zu weights are here: the config does not"
                              " count it (num_hidden_layers is %zu).  Multi-token prediction (MTP)"
                              " stored as one more layer?", layer, end - i,
                              f->ck.config.num_hidden_layers);
        else if (w->list[i].is_unexpected)
            ok = findings_add(found, FOUND_UNEXPECTED, t->file, t->name, err,
                              "is not part of the model that the config describes");
    }
    return ok;
}

static bool check_head(const struct verify_folder *f, const struct weight_list *w,
                       struct findings *found, struct error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%sembed_tokens.weight", f->prefix);
    const struct listed_weight *head = weight_list_find(w, "lm_head.weight");
    const struct listed_weight *embedding = weight_list_find(w, name);
    bool ok = true;
    if (!f->ck.config.tie_word_embeddings || !head || !embedding || !head->stored.is_whole
        || !embedding->stored.is_whole)
        return true;
    const char *text = notes_of_head(&ok, &f->ck, &head->stored.view, &embedding->stored.view, err);
    return ok && (!text || findings_add(found, FOUND_TIED, head->stored.parts[0]->file,
                                        "lm_head.weight", err, "%s", text));
}

static bool add_setting(void *user, const char *name)
{
    struct sink *s = user;
    return findings_add(s->found, NOTE_CHOICE, "config.json", NULL, s->err,
                        "%s is not read; it may change the model", name);
}

bool verify_folder_match(struct verify_folder *f, struct weight_list *w, struct findings *found,
                         struct error *err)
{
    struct sink sink = { .f = f, .found = found, .err = err };
    const struct weight_faults faults = { add_fault, &sink };
    if (!f->ck.has_config)
        return true;
    if (!weight_list_match(w, &f->ck, f->prefix, &faults, err) && !sink.is_full)
        return false;
    sort_lost(f);
    return say_lacking(&sink, w, err) && check_head(f, w, found, err)
        && config_unread_each(f->ck.config_json, add_setting, &sink)
        && say_unexpected(f, w, found, err);
}
