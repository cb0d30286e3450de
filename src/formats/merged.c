#include "formats/merged.h"

#include <string.h>

#define EXPERTS ".experts."

static const struct merge merges[] = {
    { "qkv_proj", { "q_proj", "k_proj", "v_proj" } },
    { "gate_up_proj", { "gate_proj", "up_proj", NULL } },
    { "in_proj_qkvz", { "in_proj_qkv", "in_proj_z", NULL } },
    { "in_proj_ba", { "in_proj_b", "in_proj_a", NULL } },
};
enum { N_MERGES = sizeof merges / sizeof *merges, ALL_EXPERTS = N_MERGES, GROUPS };

/* Where the last part of a name's first n bytes begins. */
static size_t last_part(const char *name, size_t n)
{
    const char *dot = memrchr(name, '.', n);
    return dot ? (size_t)(dot - name) + 1 : 0;
}

const char *merged_last_part(const char *module)
{
    return module + last_part(module, strlen(module));
}

size_t merged_experts_length(const char *name)
{
    const char *experts = strstr(name, EXPERTS);
    return experts ? (size_t)(experts - name) + strlen(EXPERTS) : 0;
}

const struct merge *merged_find(const char *module, size_t n)
{
    size_t start = last_part(module, n), n_last = n - start;
    if (merged_experts_length(module))
        return NULL;
    for (const struct merge *m = merges; m < merges + N_MERGES; m++)
        for (size_t p = 0; p < MERGED_PARTS && m->parts[p]; p++)
            if (strlen(m->parts[p]) == n_last && memcmp(m->parts[p], module + start, n_last) == 0)
                return m;
    return NULL;
}

/* Which group a weight belongs to, GROUPS for none; *n: length of the name that its parts share. */
static size_t group_of(const char *name, size_t *n)
{
    *n = merged_experts_length(name);
    if (*n)
        return ALL_EXPERTS;
    size_t length = weight_module_length(name);
    const struct merge *merge = merged_find(name, length);
    *n = last_part(name, length);
    return merge ? (size_t)(merge - merges) : GROUPS;
}

/* The merged module at hand, one for each group: parts follow one another in order of name, if not
 * directly. */
struct merged {
    const char *name;
    size_t n;
    bool packed, in_part;
};

size_t merged_in_part(const char **example, const struct weight_list *m, const bool *packed)
{
    struct merged at_hand[GROUPS] = { { 0 } };
    size_t count = 0, n = 0;
    *example = NULL;
    for (size_t i = 0; i < m->n; i++) {
        const char *name = m->list[i].name;
        size_t group = group_of(name, &n);
        if (group == GROUPS || !m->list[i].is_linear)
            continue;
        struct merged *now = &at_hand[group];
        if (!now->name || now->n != n || strncmp(now->name, name, n) != 0)
            *now = (struct merged){ name, n, packed[i], false };
        if (now->packed == packed[i] || now->in_part)
            continue;
        now->in_part = true;
        *example = count++ ? *example : name;
    }
    return count;
}
