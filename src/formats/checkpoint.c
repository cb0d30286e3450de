#include "checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "formats/checkpoint_note.h"
#include "formats/gguf_reader.h"
#include "formats/mlx_layout.h"
#include "formats/names.h"
#include "formats/quantization_file.h"
#include "formats/safetensors_folder.h"
#include "formats/weight_kind.h"

static const struct checkpoint_reader *const readers[] = { &gguf_reader, &safetensors_folder };
#define N_READERS (sizeof readers / sizeof *readers)

static const struct checkpoint_reader *reader_of(const char *path, struct error *err)
{
    if (!*path) {
        error_set(err, "the path of the checkpoint is empty");
        return NULL;
    }
    if (!file_exists(path)) {
        error_set(err, "%s: %s", path, error_reason(errno));
        return NULL;
    }
    for (size_t i = 0; i < N_READERS; i++)
        if (readers[i]->recognises(path))
            return readers[i];
    error_set(err, "%s: is not a folder, expected a checkpoint folder (or in one %s or %s, to pick"
              " it) or a GGUF file", path, CHECKPOINT_SINGLE, CHECKPOINT_INDEX);
    return NULL;
}

static char *folder_of(const struct checkpoint_reader *reader, const char *path, struct error *err)
{
    return reader->folder ? reader->folder(path, err) : mem_string(path, err);
}

/* ---- opening ---------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    return strcmp(x->name, y->name);
}

static int compare_tensors(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->file, y->file);
}

/* Sorts, and keeps the first of a name. */
static bool sort_tensors(struct checkpoint *ck, const struct checkpoint_faults *faults,
                         struct error *err)
{
    size_t n = 0;
    bool ok = true;
    if (ck->n_tensors)
        qsort(ck->tensors, ck->n_tensors, sizeof *ck->tensors, compare_tensors);
    for (size_t i = 0; ok && i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i], *kept = n ? ck->tensors[n - 1] : NULL;
        if (!kept || strcmp(kept->name, t->name) != 0) {
            ck->tensors[n++] = t;
            continue;
        }
        struct error why = { 0 };
        const struct checkpoint_place at = { .file = t->file,
                                             .tensor = t->name,
                                             .other = kept->file };
        error_set(&why, "%s: '%s' is in %s too, and there is no %s to decide", t->file, t->name,
                  kept->file, CHECKPOINT_INDEX);
        ok = checkpoint_fault_add(faults, CHECKPOINT_TWICE, &at, &why, err);
    }
    ck->n_tensors = n;
    return ok;
}

/* Layers that are believed where nobody knows how many tensors there are. */
#define LAYERS_BELIEVED ((size_t)10000)

/* More layers than tensors are refused, so this comes after the files. */
static bool read_config(struct checkpoint *ck, const struct checkpoint_faults *faults,
                        struct error *err)
{
    struct error why = { 0 };
    const struct checkpoint_place at = { .file = ck->config_path };
    size_t most = ck->is_partial ? size_max(ck->n_tensors, LAYERS_BELIEVED) : ck->n_tensors;
    if (!ck->config_json)               /* a fault has said why */
        return true;
    ck->has_config = config_read(&ck->config, ck->config_json, most, ck->config_path, &why);
    return ck->has_config || checkpoint_fault_add(faults, CHECKPOINT_CONFIG, &at, &why, err);
}

/* ---- what is absent --------------------------------------------------------------- */

/* The layer of "PREFIX.layers.7.REST"; false: it is in none. */
static bool layer_of(size_t *layer, const char *name)
{
    static const char layers[] = "layers.";
    const char *at = strstr(name, layers);
    if (!at || (at != name && at[-1] != '.'))
        return false;
    at += strlen(layers);
    size_t n = strspn(at, "0123456789");
    *layer = strtoul(at, NULL, 10);
    return n > 0 && n < 10 && at[n] == '.';
}

/* Would the text model use it, if it were there? */
static bool is_used(const struct checkpoint *ck, const char *name)
{
    size_t layer;
    if (weight_kind_outside(name) != WEIGHT_OTHER)
        return false;
    if (ck->has_config && layer_of(&layer, name))
        return layer < ck->config.num_hidden_layers;
    return !(ck->has_config && ck->config.tie_word_embeddings && strstr(name, "lm_head."));
}

/* Tensors that the model uses are refused; of the others one line tells. */
static bool check_absent(struct checkpoint *ck, const struct checkpoint_faults *faults,
                         struct error *err)
{
    const struct absent_tensor *used = NULL, *unused = NULL;
    size_t n_used = 0;
    for (size_t i = ck->n_absent; i-- > 0;) {
        bool uses = is_used(ck, ck->absent[i].name);
        *(uses ? &used : &unused) = &ck->absent[i];
        n_used += uses;
    }
    if (used) {
        char more[64] = "";
        if (n_used > 1)
            snprintf(more, sizeof more, "; %zu such tensors are missing", n_used);
        return error_set(err, "%s: no tensor '%s', which %s places there%s", used->file, used->name,
                         CHECKPOINT_INDEX, more);
    }
    const struct checkpoint_place at = { .file = CHECKPOINT_INDEX,
                                         .tensor = unused ? unused->name : NULL,
                                         .n = ck->n_absent };
    return !unused
        || checkpoint_note_add(ck, faults, CHECKPOINT_ABSENT, &at, err,
                           "the index names %zu tensors that no file has, '%s' the first: they are "
                           "not used", ck->n_absent, unused->name);
}

/* The folder of a file that says all may hold files of other models. */
static bool find_quantization(struct checkpoint *ck, const struct checkpoint_faults *faults,
                              struct error *err)
{
    struct error why = { 0 };
    if (ck->reader->is_self_described || !ck->config_json || checkpoint_quantization(ck)
        || quantization_file_add(ck, &why))
        return true;
    const char *path = ck->quantization_path ? ck->quantization_path : ck->config_path;
    const struct checkpoint_place at = { .file = path };
    return checkpoint_fault_add(faults, CHECKPOINT_CONFIG, &at, &why, err);
}

/* What is missing says more than that the config asks for more. */
static bool check_contents(struct checkpoint *ck, const struct checkpoint_faults *faults,
                           struct error *err)
{
    bool is_read = read_config(ck, faults, err);
    return check_absent(ck, faults, err) && is_read;
}

/* ---- all of it -------------------------------------------------------------------- */

bool checkpoint_open_with(struct checkpoint *ck, const char *path,
                          const struct checkpoint_reader *reader,
                          const struct checkpoint_faults *faults, struct error *err)
{
    *ck = (struct checkpoint){ .reader = reader ? reader : reader_of(path, err) };
    if (ck->reader && (ck->path = mem_string(path, err))
        && (ck->folder = folder_of(ck->reader, path, err)) && ck->reader->open(ck, faults, err)
        && find_quantization(ck, faults, err) && names_translate(ck, faults, err)
        && mlx_layout_translate(ck, faults, err) && sort_tensors(ck, faults, err)
        && check_contents(ck, faults, err))
        return true;
    checkpoint_close(ck);
    return false;
}

bool checkpoint_open(struct checkpoint *ck, const char *path, struct error *err)
{
    return checkpoint_open_with(ck, path, NULL, NULL, err);
}

void checkpoint_close(struct checkpoint *ck)
{
    for (size_t i = 0; i < ck->n_files; i++)
        safetensors_close(&ck->files[i]);
    if (ck->own)
        ck->reader->close(ck);
    for (size_t i = 0; i < ck->n_absent; i++)
        free(ck->absent[i].name);
    free(ck->absent);
    free(ck->names);
    free(ck->split_names);
    free(ck->split);
    buffer_free(&ck->notes);
    free(ck->files);
    free(ck->tensors);
    cJSON_Delete(ck->config_json);
    free(ck->config_path);
    free(ck->quantization_path);
    config_free(&ck->config);
    free(ck->path);
    free(ck->folder);
    *ck = (struct checkpoint){ 0 };
}

/* ---- files ------------------------------------------------------------------------- */

/* What is not there, or is no checkpoint, is refused when it is opened. */
bool checkpoint_list_folder(struct input_files *in, const char *path, struct error *err)
{
    const struct checkpoint_reader *reader = reader_of(path, NULL);
    if (!reader)
        return input_files_add(in, path, err);
    char *folder = folder_of(reader, path, err);
    bool ok = folder && input_files_add(in, folder, err) && reader->list(in, folder, err);
    free(folder);
    return ok;
}

char *checkpoint_folder(const char *path, struct error *err)
{
    const struct checkpoint_reader *reader = reader_of(path, err);
    return reader ? folder_of(reader, path, err) : NULL;
}

bool checkpoint_list_weights(struct input_files *in, const struct checkpoint *ck, struct error *err)
{
    for (size_t i = 0; i < ck->n_files; i++)
        if (!input_files_add_mapped(in, &ck->files[i].map, err))
            return false;
    return true;
}

char *checkpoint_tokenizer(const char *path, struct error *err)
{
    const struct checkpoint_reader *reader = reader_of(path, err);
    char *folder = reader ? folder_of(reader, path, err) : NULL;
    char *tokenizer = folder ? reader->tokenizer(folder, err) : NULL;
    free(folder);
    return tokenizer;
}

const struct mapped_file *checkpoint_file_of(const struct checkpoint *ck, const uint8_t *data)
{
    for (size_t i = 0; i < ck->n_files; i++) {
        const struct mapped_file *f = &ck->files[i].map;
        if (data >= f->data && data < f->data + f->size)
            return f;
    }
    return NULL;
}

/* ---- tensors ---------------------------------------------------------------------- */

const cJSON *checkpoint_quantization(const struct checkpoint *ck)
{
    static const char key[] = "quantization_config";
    const cJSON *config = json_get_value(ck->config_json, key);
    const cJSON *mlx = json_get_value(ck->config_json, "quantization");
    if (!config && json_get_value(mlx, "group_size"))
        return mlx;
    return config ? config : json_get_value(json_get_value(ck->config_json, "text_config"), key);
}

const struct tensor *checkpoint_find(const struct checkpoint *ck, const char *name)
{
    const struct tensor key = { .name = name }, *const wanted = &key;
    const struct tensor *const *found = ck->n_tensors
        ? bsearch(&wanted, ck->tensors, ck->n_tensors, sizeof *ck->tensors, compare_names) : NULL;
    return found ? *found : NULL;
}

bool checkpoint_check_bytes(const struct checkpoint *ck, struct error *err)
{
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i];
        if (t->row_order || t->col_order || t->one_added || t->is_rate)
            return error_set(err, "%s: '%s' is stored %s, expected as safetensors have it", t->file,
                             t->name, t->one_added ? "as 1 + w"
                                    : t->is_rate   ? "as -exp(A_log)"
                                                   : "with heads in another order");
    }
    return true;
}
