#include "formats/mlx_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "formats/checkpoint_note.h"
#include "formats/weight.h"

#define STACKED ".mlp.switch_mlp."
#define SPLIT ".mlp.experts."
#define NAME_MORE 24                    /* bytes that a number of an expert adds to a name */
#define EXPERTS_MOST ((size_t)65536)
#define SPLIT_MOST ((size_t)1 << 22)    /* tensors: 512 experts of 60 layers make 276,480 */

/* ---- convolutions and norms ------------------------------------------------------------- */

static bool is_turned(const struct tensor *t)
{
    return t->ndim == 3 && t->shape[1] > 1 && t->shape[2] == 1
        && weight_name_ends_with(t->name, ".linear_attn.conv1d.weight");
}

static bool has_one_added(const char *name)
{
    static const char *const ends[] = { ".input_layernorm.weight", "model.norm.weight",
                                        ".post_attention_layernorm.weight", ".q_norm.weight",
                                        ".k_norm.weight" };
    bool found = false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        found = found || weight_name_ends_with(name, ends[i]);
    return found && !strstr(name, "mtp.");
}

static bool is_of_mlx(const struct checkpoint *ck)
{
    bool turned = false, more = ck->names;
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i];
        turned = turned || is_turned(t);
        more = more || strstr(t->name, STACKED)
            || (t->dtype == DTYPE_U32 && weight_name_ends_with(t->name, ".weight"));
    }
    return turned && more;
}

static void turn_all(struct checkpoint *ck)
{
    for (size_t i = 0; i < ck->n_files; i++)
        for (size_t j = 0; j < ck->files[i].n_tensors; j++) {
            struct tensor *t = &ck->files[i].tensors[j];
            if (is_turned(t)) {
                t->shape[2] = t->shape[1];
                t->shape[1] = 1;
            }
            t->one_added = has_one_added(t->name) && t->ndim == 1;
        }
}

/* ---- experts ---------------------------------------------------------------------------- */

static size_t experts_said(const struct checkpoint *ck)
{
    const cJSON *text = json_get_value(ck->config_json, "text_config");
    size_t n;
    return json_to_size(json_get_value(text ? text : ck->config_json, "num_experts"), &n) ? n : 0;
}

static bool check_stack(const struct checkpoint *ck, const struct tensor *t, size_t experts,
                        const struct checkpoint_faults *faults, struct error *err)
{
    const struct checkpoint_place at = { .file = t->file, .tensor = t->name };
    char shape[256];
    struct error why = { 0 };
    if (experts <= EXPERTS_MOST && t->ndim > 1 && t->shape[0] == experts && t->n_bytes)
        return true;
    error_set(&why, "%s: '%s' has shape %s, expected the %zu experts of %s first", t->file, t->name,
              tensor_shape_text(t, shape, sizeof shape), experts, ck->config_path);
    return checkpoint_fault_add(faults, CHECKPOINT_CONFIG, &at, &why, err);
}

/* Returns the name of an expert's tensor in place of its stack's; NULL: it does not fit. */
static const char *name_expert(char *text, size_t n, const char *stacked, size_t expert)
{
    const char *at = strstr(stacked, STACKED);
    int used = snprintf(text, n, "%.*s" SPLIT "%zu.%s", (int)(at - stacked), stacked, expert,
                        at + strlen(STACKED));
    return used > 0 && (size_t)used < n ? text : NULL;
}

static void split(struct tensor *out, char *names, size_t name_bytes, const struct tensor *t)
{
    size_t experts = t->shape[0];
    for (size_t e = 0; e < experts; e++, names += name_bytes) {
        out[e] = *t;
        out[e].name = name_expert(names, name_bytes, t->name, e);
        out[e].ndim--;
        memmove(out[e].shape, out[e].shape + 1, out[e].ndim * sizeof *out[e].shape);
        out[e].n_bytes /= experts;
        out[e].data += e * out[e].n_bytes;
    }
}

/* In place of each tensor that stacks experts, theirs. */
static bool split_all(struct checkpoint *ck, size_t n_stacked, size_t experts, size_t name_bytes,
                      struct error *err)
{
    size_t n = 0, kept = 0, n_split = n_stacked * experts;
    const struct tensor **all = mem_array(ck->n_tensors + n_split, sizeof *all, "tensors", err);
    ck->split = mem_array(n_split, sizeof *ck->split, "experts", err);
    ck->split_names = mem_array(n_split, name_bytes, "names of experts", err);
    if (!all || !ck->split || !ck->split_names) {
        free(all);
        return false;
    }
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i];
        if (!strstr(t->name, STACKED) || t->ndim < 2 || t->shape[0] != experts || !t->n_bytes) {
            all[kept++] = t;
            continue;
        }
        split(ck->split + n, ck->split_names + n * name_bytes, name_bytes, t);
        for (size_t e = 0; e < experts; e++)
            all[kept++] = &ck->split[n++];
    }
    free(ck->tensors);
    ck->tensors = all;
    ck->n_tensors = kept;
    return true;
}

bool mlx_layout_translate(struct checkpoint *ck, const struct checkpoint_faults *faults,
                          struct error *err)
{
    const struct checkpoint_place at = { .file = "" };
    size_t experts = experts_said(ck), n_stacked = 0, longest = 0;
    if (is_of_mlx(ck)) {
        turn_all(ck);
        if (!checkpoint_note_add(ck, faults, CHECKPOINT_CHOICE, &at, err, "the convolutions are in"
                                 " the layout of MLX, so the norms are read as 1 + w"))
            return false;
    }
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i];
        if (!strstr(t->name, STACKED))
            continue;
        if (!check_stack(ck, t, experts, faults, err))
            return false;
        n_stacked++;
        longest = size_max(longest, strlen(t->name));
    }
    if (n_stacked && experts <= EXPERTS_MOST && n_stacked * experts > SPLIT_MOST)
        return error_set(err, "%s: has %zu tensors of %zu experts each, expected at most %zu in"
                         " all", ck->path, n_stacked, experts, SPLIT_MOST);
    return !n_stacked || experts > EXPERTS_MOST
        || split_all(ck, n_stacked, experts, longest + NAME_MORE, err);
}

const char *mlx_layout_first_expert(char *text, size_t n, const char *stacked)
{
    return strstr(stacked, STACKED) ? name_expert(text, n, stacked, 0) : NULL;
}
