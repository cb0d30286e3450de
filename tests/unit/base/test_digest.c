/* SHA-256 against the examples of FIPS 180-4: in one piece, in many, and of files; git's blobs
 * against `git hash-object`. */
#include "base/digest.h"

#include <stdlib.h>

#include "base/file_digest.h"
#include "tests/differ.h"
#include "tests/unit/formats/folder.h"

#define MILLION 1000000

/* text, or n times the letter 'a' where it is NULL */
static const struct {
    const char *name, *text;
    size_t n;
    const char *hex;
} cases[] = {
    { "nothing", "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "one block", "abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    { "a NUL is a byte as any other", "\0", 1,
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
    { "a million letters", NULL, MILLION,
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
};
#define N_CASES (sizeof cases / sizeof *cases)

static void check_hex(const char *name, const char *what, const struct digest *d,
                      const char *expected)
{
    char hex[2 * DIGEST_BYTES + 1], title[128];
    digest_hex(hex, d);
    snprintf(title, sizeof title, "%s: %s", name, what);
    check(strcmp(hex, expected) == 0, title, "%s, expected %s", hex, expected);
}

/* Pieces of 1, 2, 3, ... bytes; asked for what it has so far on the way. */
static bool in_pieces(struct digest *out, const char *bytes, size_t n, struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    struct digest between;
    bool ok = s != NULL;
    for (size_t at = 0, piece = 1; ok && at < n; at += piece++) {
        piece = size_min(piece, n - at);
        ok = digest_update(s, bytes + at, piece, err) && digest_so_far(s, &between, err);
    }
    return digest_end(s, ok ? out : NULL, err) && ok;
}

static void test_known(void)
{
    struct folder f = folder_make();
    char *letters = malloc(MILLION);
    memset(letters, 'a', MILLION);
    for (size_t i = 0; i < N_CASES; i++) {
        const char *bytes = cases[i].text ? cases[i].text : letters;
        struct error err = { 0 };
        struct digest whole = { { 0 } }, pieces = { { 0 } }, file = { { 0 } };
        folder_write(&f, "x", bytes, cases[i].n);
        bool ok = digest_of(&whole, bytes, cases[i].n, &err)
               && in_pieces(&pieces, bytes, cases[i].n, &err)
               && file_digest(&file, folder_path(&f, "x"), &err);
        check(ok, cases[i].name, "%s", err.message);
        check_hex(cases[i].name, "at once", &whole, cases[i].hex);
        check_hex(cases[i].name, "in pieces", &pieces, cases[i].hex);
        check_hex(cases[i].name, "of a file", &file, cases[i].hex);
    }
    free(letters);
    folder_remove(&f);
}

static void test_git(void)
{
    static const struct { const char *name, *text, *hex; } blobs[] = {
        { "git's empty blob", "", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391" },
        { "git's blob of a line", "hello\n", "ce013625030ba8dba906f756967f9e9ca394464a" },
    };
    struct folder f = folder_make();
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++) {
        struct error err = { 0 };
        struct digest d;
        char expected[2 * DIGEST_BYTES + 1];
        snprintf(expected, sizeof expected, "%s%024d", blobs[i].hex, 0);
        folder_write(&f, "x", blobs[i].text, strlen(blobs[i].text));
        check(file_digest_git(&d, folder_path(&f, "x"), &err), blobs[i].name, "%s", err.message);
        check_hex(blobs[i].name, "20 bytes, then zeros", &d, expected);
    }
    folder_remove(&f);
}

static void test_stream(void)
{
    struct error err = { 0 };
    struct digest so_far = { { 0 } }, whole = { { 0 } };
    struct digest_stream *s = digest_begin(&err);
    bool ok = s && digest_update(s, "abc", 3, &err) && digest_so_far(s, &so_far, &err)
           && digest_update(s, cases[2].text + 3, 53, &err);
    ok = digest_end(s, &whole, &err) && ok;
    check_hex("a stream", "so far", &so_far, cases[1].hex);
    check_hex("a stream", "goes on as if nobody had asked", &whole, cases[2].hex);
    check(ok && digest_end(digest_begin(&err), NULL, &err) && digest_end(NULL, NULL, &err),
          "a stream that nobody wants is only freed, NULL too", "%s", err.message);
    check(!digest_end(NULL, &whole, &err) && err.message[0], "no stream has no digest",
          "it has one");
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(hex, &(struct digest){ { 0x0F, 0xF0, 0x9A } });
    check(strncmp(hex, "0ff09a00", 8) == 0 && strlen(hex) == 64,
          "the high digit of a byte comes first", "%s", hex);
}

/* By the definition: of the digests of 16 MB each, the last one shorter or empty. */
static void test_pieces(void)
{
    static const struct { const char *name; size_t n, n_pieces; } sizes[] = {
        { "pieces: no bytes are one empty piece", 0, 1 },
        { "pieces: less than one", 1000, 1 },
        { "pieces: exactly one, and an empty one", (size_t)16 << 20, 2 },
        { "pieces: one byte more", ((size_t)16 << 20) + 1, 2 },
    };
    struct folder f = folder_make();
    char *bytes = malloc(((size_t)16 << 20) + 1);
    for (size_t i = 0; i <= (size_t)16 << 20; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct error err = { 0 };
        struct digest one[2], expected = { { 0 } }, found = { { 0 } }, mapped = { { 0 } };
        size_t n = sizes[i].n, first = size_min(n, (size_t)16 << 20);
        struct mapped_file map;
        folder_write(&f, "x", bytes, n);
        bool ok = digest_of(&one[0], bytes, first, &err)
               && digest_of(&one[1], bytes + first, n - first, &err)
               && digest_of(&expected, one, sizes[i].n_pieces * sizeof *one, &err)
               && file_digest_pieces(&found, (const uint8_t *)bytes, n, NULL, 2, &err)
               && file_map(&map, folder_path(&f, "x"), &err);
        if (ok) {
            ok = file_digest_pieces(&mapped, map.data, n, &map, 2, &err);
            file_unmap(&map);
        }
        char where[DIFFER_TEXT] = "";
        bool same = same_bytes(where, found.bytes, expected.bytes, DIGEST_BYTES)
                 && same_bytes(where, mapped.bytes, expected.bytes, DIGEST_BYTES);
        check(ok && same, sizes[i].name, "%s %s", err.message, where);
    }
    free(bytes);
    folder_remove(&f);
}

int main(void)
{
    test_known();
    test_git();
    test_stream();
    test_pieces();
    return check_done();
}
