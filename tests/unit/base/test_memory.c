/* Sizes that overflow, buffers that grow, and the arena that measures before it allocates. */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>

#include "tests/differ.h"

#define MAX SIZE_MAX

/* Too much is asked for below: AddressSanitizer, too, is to say no and not to end the program. */
const char *__asan_default_options(void) __attribute__((visibility("default")));
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void test_sizes(void)
{
    static const struct {
        const char *name;
        size_t a, b;
        bool fits;
        size_t result;              /* where it fits; else nothing is written */
    } products[] = {
        { "0 times the largest size is 0", 0, MAX, true, 0 },
        { "1 times the largest size fits", 1, MAX, true, MAX },
        { "2 times half of it fits", 2, MAX / 2, true, MAX - 1 },
        { "2 times more than half does not", 2, MAX / 2 + 1, false, 0 },
        { "2^32 times 2^32 does not", (size_t)1 << 32, (size_t)1 << 32, false, 0 },
        { "the largest size squared does not", MAX, MAX, false, 0 },
    }, sums[] = {
        { "0 added to the largest size fits", MAX, 0, true, MAX },
        { "1 does not", MAX, 1, false, 0 },
        { "two halves fit", MAX / 2, MAX / 2, true, MAX - 1 },
        { "the largest size twice does not", MAX, MAX, false, 0 },
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        size_t out = 77;
        bool fits = size_product(&out, products[i].a, products[i].b);
        check(fits == products[i].fits && out == (fits ? products[i].result : 77), products[i].name,
              "%d, %zu", fits, out);
    }
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        size_t out = 77;
        bool fits = size_sum(&out, sums[i].a, sums[i].b);
        check(fits == sums[i].fits && out == (fits ? sums[i].result : 77), sums[i].name, "%d, %zu",
              fits, out);
    }
}

static void test_arrays(void)
{
    static const struct {
        const char *name;
        size_t n, size;
        const char *message;        /* NULL: given */
    } cases[] = {
        { "an array is zeroed", 100, 8, NULL },
        { "an array of nothing can be freed", 0, 8, NULL },
        { "one of elements without bytes, too", 8, 0, NULL },
        { "a product that overflows is no short block", MAX / 4, 8,
          "out of memory: 4611686018427387903 x 8 bytes for rows" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char zeros[800];
        struct error err = { 0 };
        char *block = mem_array(cases[i].n, cases[i].size, "rows", &err);
        bool refused = cases[i].message && !block && strcmp(err.message, cases[i].message) == 0
                    && err.lacking;
        check(cases[i].message ? refused
                               : block && !memcmp(block, zeros, cases[i].n * cases[i].size),
              cases[i].name, "'%s'", err.message);
        free(block);
    }
}

static void test_growing(void)
{
    static const struct {
        const char *name;
        size_t capacity, needed, size, after;
        const char *message;        /* NULL: grown */
    } cases[] = {
        { "what is needed is there already", 16, 16, 4, 16, NULL },
        { "the first growth is to 16", 0, 1, 4, 16, NULL },
        { "then the capacity doubles", 16, 17, 4, 32, NULL },
        { "as often as it takes", 16, 1000, 4, 1024, NULL },
        { "more elements than can be counted", 16, MAX, 4, 16,
          "out of memory: 18446744073709551615 elements for rows" },
        { "more bytes than can be counted", 16, (size_t)1 << 62, 4, 16,
          "out of memory: 4611686018427387904 x 4 bytes for rows" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        size_t capacity = cases[i].capacity;
        char *block = capacity ? calloc(capacity, cases[i].size) : NULL, *before = block;
        if (block)
            block[0] = 'x';
        bool grown = mem_grow(&block, &capacity, cases[i].needed, cases[i].size, "rows", &err);
        bool as_said = grown ? !cases[i].message
                             : cases[i].message && strcmp(err.message, cases[i].message) == 0
                                   && err.lacking && block == before;
        bool kept = !cases[i].capacity || block[0] == 'x';
        if (grown && block)
            memset(block, 0, capacity * cases[i].size);     /* AddressSanitizer sees a short one */
        check(as_said && kept && capacity == cases[i].after, cases[i].name,
              "%d, capacity %zu, kept %d, '%s'", grown, capacity, kept, err.message);
        free(block);
    }
}

static void test_buffer(void)
{
    struct buffer b = { 0 };
    struct error err = { 0 };
    bool ok = buffer_append(&b, "", 0, &err);
    check(ok && b.size == 0 && b.data[0] == '\0', "nothing appended is an empty string", "%zu",
          b.size);
    ok = buffer_append(&b, "a\0b", 3, &err) && buffer_printf(&b, &err, "[%d %s]", 7, "x");
    check(ok && b.size == 8, "a NUL in the bytes counts as any other", "%zu", b.size);
    check_equal_bytes(
        "appended bytes and formatted text stand behind one another, and a NUL behind them", b.data,
        "a\0b[7 x]", 9);
    b.size = 0;
    for (int i = 0; i < 3000; i++)
        ok = ok && buffer_printf(&b, &err, "%04d", i);
    check(ok && b.size == 12000 && strncmp(b.data + 4 * 2999, "2999", 5) == 0
          && strncmp(b.data, "0000", 4) == 0, "a long text grows in pieces", "%zu", b.size);
    b.size = SIZE_MAX - 1;
    check(!buffer_append(&b, "ab", 2, &err) && err.lacking
          && strcmp(err.message, "out of memory: text of 2 bytes") == 0,
          "a size that overflows is refused", "'%s'", err.message);
    buffer_free(&b);
    check(!b.data && !b.size && !b.capacity, "a freed buffer is an empty one", "%zu", b.size);
}

static void test_arena(void)
{
    static const struct {
        const char *name;
        size_t n, size, bytes;      /* that it takes */
    } cases[] = {
        { "a piece of one byte takes 64", 1, 1, 64 },
        { "one of 64 takes 64", 8, 8, 64 },
        { "one byte more takes 128", 65, 1, 128 },
        { "one of nothing takes none", 0, 8, 0 },
    };
    struct arena a = { 0 };
    size_t expected = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t before = a.used;
        void *piece = arena_take(&a, cases[i].n, cases[i].size);
        check(!piece && a.used - before == cases[i].bytes, cases[i].name, "%zu", a.used - before);
        expected += cases[i].bytes;
    }
    a.used = 64;                    /* given back */
    arena_take(&a, 1, 1);
    check(a.peak == expected, "the peak counts what was there at once", "%zu, expected %zu", a.peak,
          expected);

    struct error err = { 0 };
    bool ok = arena_allocate(&a, &err), aligned = true;
    check(ok && a.size == expected && a.used == 0, "what was measured is allocated", "%zu", a.size);
    char *last = a.block;
    for (size_t i = 0; ok && i < sizeof cases / sizeof *cases; i++) {
        last = arena_take(&a, cases[i].n, cases[i].size);
        aligned = aligned && (uintptr_t)last % 64 == 0;
        memset(last, 1, cases[i].n * cases[i].size);
    }
    check(ok && aligned && last == a.block + expected,
          "and handed out in the same order, 64-byte aligned", "aligned %d", aligned);
    arena_free(&a);
    check(!a.block && !a.size && !a.peak, "a freed arena only measures", "%zu", a.size);

    arena_take(&a, SIZE_MAX / 2, 3);
    err = (struct error){ 0 };
    check(!arena_allocate(&a, &err) && err.lacking && strstr(err.message, "bytes of scratch space"),
          "a size that overflows is more than any block can be", "'%s'", err.message);
    arena_free(&a);
}

int main(void)
{
    test_sizes();
    test_arrays();
    test_growing();
    test_buffer();
    test_arena();
    return check_done();
}
