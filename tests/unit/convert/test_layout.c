/* Sharding: sizes, pairs, alignment.  Only descriptions: no tensor here has bytes. */
#include <stdlib.h>
#include <string.h>

#include "convert/layout.h"
#include "tests/check.h"

#define GB ((size_t)1000000000)

/* A letter a tensor: 'p' an MXFP4 matrix (codes and scales), 'h' BF16, 'f' F32; size in bytes. */
static const struct {
    const char *name, *kinds;
    size_t sizes[6];
    const char *shards;             /* of each new tensor, a digit */
} cases[] = {
    { "small tensors share a shard", "hhf", { 100, 100, 100 }, "000" },
    { "headers count", "hh", { 5 * GB / 2, 5 * GB / 2 }, "01" },
    { "a tensor larger than a shard has one of its own", "hhh", { 100, 6 * GB, 100 }, "012" },
    { "codes and scales stay together", "hp", { 4 * GB + GB / 2, GB / 2 - 1000 }, "011" },
    { "both of a pair that fits", "hp", { 4 * GB, GB / 2 }, "000" },
    { "one that is larger than a shard, first", "hh", { 6 * GB, 100 }, "01" },
};

static bool add(struct layout *l, char kind, size_t size)
{
    struct listed_weight *none = NULL;
    struct task task = { none, kind == 'p' ? TASK_PACK : TASK_COPY, 0, 0 };
    size_t scale, codes[] = { size }, scales[] = { size / 16 };
    size_t halves[] = { size / 2 }, words[] = { size / 4 };
    if (kind == 'p')
        return layout_add_tensor(l, &task.tensor, "x.weight", 8, "_packed", DTYPE_U8, 1, codes,
                                 NULL)
            && layout_add_tensor(l, &scale, "x.weight", 8, "_scale", DTYPE_U8, 1, scales, NULL)
            && layout_add_task(l, &task, NULL);
    return layout_add_tensor(l, &task.tensor, "y", 1, "", kind == 'h' ? DTYPE_BF16 : DTYPE_F32, 1,
                             kind == 'h' ? halves : words, NULL)
        && layout_add_task(l, &task, NULL);
}

static void test_shards(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layout l = { 0 };
        char found[16] = "";
        for (size_t j = 0; cases[i].kinds[j]; j++)
            add(&l, cases[i].kinds[j], cases[i].sizes[j]);
        layout_finish(&l, 5 * GB, NULL);
        for (size_t j = 0; j < l.n_tensors; j++)
            found[j] = (char)('0' + l.tensors[j].shard);
        check(strcmp(found, cases[i].shards) == 0, cases[i].name, "%s, expected %s", found,
              cases[i].shards);
        layout_free(&l);
    }
}

/* Bytes that follow one another stay aligned when larger elements come first. */
static void test_places(void)
{
    struct layout l = { 0 };
    const char kinds[] = "hpfhp";
    for (size_t i = 0; kinds[i]; i++)
        add(&l, kinds[i], 16 * (2 * i + 1));
    layout_finish(&l, 5 * GB, NULL);
    size_t n, sizes_fall = 1;
    struct safetensors_entry *entries = layout_entries(&n, &l, 0, NULL);
    for (size_t i = 1; i < n; i++)
        sizes_fall &= dtype_bytes(entries[i].dtype) <= dtype_bytes(entries[i - 1].dtype);
    check(n == 7 && sizes_fall, "in a shard the largest elements come first", "%zu tensors", n);
    free(entries);
    layout_free(&l);
    struct error err = { 0 };
    check(!layout_finish(&l, 5 * GB, &err) && err.message[0], "a layout of nothing is refused",
          "done");
}

static void test_overflow(void)
{
    struct layout l = { 0 };
    struct error err = { 0 };
    const size_t shape[] = { SIZE_MAX / 2, 3 };
    size_t index;
    check(!layout_add_tensor(&l, &index, "huge", 4, "", DTYPE_BF16, 2, shape, &err)
          && strstr(err.message, "huge"), "a size that overflows is refused by name", "%s",
          err.message);
    layout_free(&l);
}

int main(void)
{
    test_shards();
    test_places();
    test_overflow();
    return check_done();
}
