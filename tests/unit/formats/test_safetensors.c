#include "formats/safetensors.h"

#include <stdint.h>

#include "base/json.h"
#include "folder.h"
#include "tests/differ.h"

#define FILE_NAME "x.safetensors"

/* Opens the file of the case; a message must have the file's name and the fragment. */
static void expect(const struct folder *f, const char *name, const char *fragment)
{
    struct safetensors_file file;
    struct error err = { 0 };
    bool opened = safetensors_open(&file, folder_path(f, FILE_NAME), &err);
    if (opened)
        safetensors_close(&file);
    if (!fragment)
        check(opened, name, "%s", err.message);
    else
        check(!opened && strstr(err.message, fragment) && strstr(err.message, FILE_NAME ": ")
              && !strchr(err.message, '\n'), name, "%s, expected '%s'",
              opened ? "no error" : err.message, fragment);
}

#define T(fields) "{\"t\":{" fields "}}"
#define RANGE(begin, end) "\"data_offsets\":[" #begin "," #end "]"
#define F32(shape, begin, end) "\"dtype\":\"F32\",\"shape\":" shape "," RANGE(begin, end)

static const struct {
    const char *name, *header;
    size_t n_data;
    const char *fragment;               /* NULL: opens */
} headers[] = {
    { "an empty header", "{}", 0, NULL },
    { "metadata is no tensor", "{\"__metadata__\":{\"format\":\"pt\"}}", 0, NULL },
    { "metadata of any kind", "{\"__metadata__\":7}", 0, NULL },
    { "a scalar", T(F32("[]", 0, 4)), 4, NULL },
    { "eight dimensions", T(F32("[1,1,1,1,1,1,1,2]", 0, 8)), 8, NULL },
    { "nine dimensions", T(F32("[1,1,1,1,1,1,1,1,2]", 0, 8)), 8, "'t' has more than 8 dimensions" },
    { "no elements", T(F32("[0,3]", 0, 0)), 0, NULL },
    { "no elements, other sizes overflow", T(F32("[4294967296,4294967296,4294967296,0]", 0, 0)), 0,
      NULL },
    { "spaces after the header", T(F32("[1]", 0, 4)) "    ", 4, NULL },
    { "a space before the header", " " T(F32("[1]", 0, 4)), 4, "not a JSON object" },
    { "a gap between tensors", "{\"a\":{" F32("[1]", 0, 4) "},\"b\":{" F32("[1]", 64, 68) "}}", 68,
      NULL },
    { "bytes after the last tensor", T(F32("[1]", 0, 4)), 6, NULL },
    { "an array", "[]", 0, "not a JSON object" },
    { "not JSON", "{\"t\"", 0, "not valid JSON" },
    { "text after the header", T(F32("[1]", 0, 4)) "x", 4, "text after the JSON value" },
    { "nested too deeply", "{\"a\":[[[[[[[[[[", 0, "not valid JSON" },
    { "NUL in a name", "{\"a\\u0000b\":{" F32("[1]", 0, 4) "}}", 4, "NUL" },
    { "invalid UTF-8 in a name", "{\"a\xff\":{" F32("[1]", 0, 4) "}}", 4, "invalid UTF-8" },
    { "control characters do not reach the message", "{\"a\\u001b[31m\":7}", 0, "'a?[31m'" },
    { "one name twice", "{\"t\":{" F32("[1]", 0, 4) "},\"t\":{" F32("[1]", 0, 4) "}}", 4,
      "duplicate name 't'" },
    { "one field twice", T("\"dtype\":\"F16\"," F32("[1]", 0, 4)), 4, "duplicate name 'dtype'" },
    { "a tensor that is a number", "{\"t\":7}", 0, "'t' is not described by an object" },
    { "no dtype", T("\"shape\":[1]," RANGE(0, 4)), 4, "'t' has no dtype" },
    { "unknown dtype", T("\"dtype\":\"F4\",\"shape\":[1]," RANGE(0, 4)), 4, "unknown dtype 'F4'" },
    { "MXFP4 is no dtype of a file", T("\"dtype\":\"MXFP4\",\"shape\":[8]," RANGE(0, 4)), 4,
      "unknown dtype 'MXFP4'" },
    { "no shape", T("\"dtype\":\"F32\"," RANGE(0, 4)), 4, "'t' has no shape" },
    { "a negative dimension", T(F32("[-1]", 0, 4)), 4, "'t' has a dimension" },
    { "a fractional dimension", T(F32("[1.5]", 0, 4)), 4, "'t' has a dimension" },
    { "a dimension of 2^60", T(F32("[1152921504606846976]", 0, 4)), 4, "'t' has a dimension" },
    { "a dimension that is a string", T(F32("[\"1\"]", 0, 4)), 4, "'t' has a dimension" },
    { "sizes overflow", T(F32("[4294967296,4294967296]", 0, 4)), 4,
      "more bytes than can be counted" },
    { "sizes overflow to the right count", T(F32("[2251799813685249,8192]", 0, 32768)), 32768,
      "more bytes than can be counted" },
    { "no offsets", T("\"dtype\":\"F32\",\"shape\":[1]"), 4, "no data_offsets" },
    { "one offset", T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4,
      "no data_offsets" },
    { "three offsets", T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]"), 4,
      "no data_offsets" },
    { "negative offset", T(F32("[1]", -4, 0)), 4, "no data_offsets" },
    { "fractional offset", T(F32("[1]", 0.5, 4.5)), 4, "no data_offsets" },
    { "end before begin", T(F32("[1]", 4, 0)), 4, "the end before the begin" },
    { "bytes do not fit the shape", T(F32("[2]", 0, 4)), 4,
      "4 bytes of data, but F32 [2] takes 8" },
    { "data past the end", T(F32("[2]", 0, 8)), 6,
      "ends at byte 8 of the data, but the file has only 6" },
    { "offset far past the end", T(F32("[1]", 4503599627370496, 4503599627370500)), 4,
      "ends at byte 4503599627370500" },
    { "an empty tensor past the end", T(F32("[0]", 8, 8)), 4, "ends at byte 8" },
    { "overlap", "{\"a\":{" F32("[2]", 0, 8) "},\"b\":{" F32("[1]", 4, 8) "}}", 8,
      "the data of 'a' and 'b' overlap" },
    { "same bytes", "{\"a\":{" F32("[1]", 0, 4) "},\"b\":{" F32("[1]", 0, 4) "}}", 4, "overlap" },
    { "empty tensors overlap nothing",
      "{\"a\":{" F32("[2]", 0, 8) "},\"b\":{" F32("[0]", 4, 4) "}}", 8, NULL },
};

static void test_headers(void)
{
    struct folder f = folder_make();
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        folder_write_safetensors(&f, FILE_NAME, headers[i].header, headers[i].n_data);
        expect(&f, headers[i].name, headers[i].fragment);
    }
    folder_remove(&f);
}

static const struct {
    const char *name;
    uint64_t length;
    size_t n_bytes;                     /* of the file: the length, "{}", spaces */
    const char *fragment;
} lengths[] = {
    { "an empty file", 2, 0, "0 bytes" },
    { "seven bytes", 2, 7, "7 bytes" },
    { "only the length", 2, 8, "does not fit" },
    { "length 0", 0, 10, "not a JSON object" },
    { "length of one byte too many", 3, 10, "a header of 3 bytes does not fit into the file's 10" },
    { "length 2^63", 1ull << 63, 10, "does not fit" },
    { "length 2^64 - 8", UINT64_MAX - 7, 10, "does not fit" },
    { "length 2^64 - 1", UINT64_MAX, 10, "does not fit" },
    { "length exactly", 2, 10, NULL },
};

static void test_lengths(void)
{
    struct folder f = folder_make();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t bytes[10] = { 0, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
        for (size_t b = 0; b < 8; b++)
            bytes[b] = (uint8_t)(lengths[i].length >> (8 * b));
        folder_write(&f, FILE_NAME, bytes, lengths[i].n_bytes);
        expect(&f, lengths[i].name, lengths[i].fragment);
    }
    unlink(folder_path(&f, FILE_NAME));
    expect(&f, "no file", "No such file");
    mkdir(folder_path(&f, FILE_NAME), 0777);
    expect(&f, "a directory", "is a directory");
    rmdir(folder_path(&f, FILE_NAME));
    mkfifo(folder_path(&f, FILE_NAME), 0666);
    expect(&f, "a FIFO", "not a regular file");
    folder_remove(&f);
}

/* A sparse file: the header is a hole but for its first bytes, and takes no disk. */
static void write_hole(const struct folder *f, size_t length, const char *begin)
{
    uint8_t bytes[16] = { 0 };
    for (size_t b = 0; b < 8; b++)
        bytes[b] = (uint8_t)((uint64_t)length >> (8 * b));
    memcpy(bytes + 8, begin, strlen(begin));
    folder_write(f, FILE_NAME, bytes, 8 + strlen(begin));
    if (truncate(folder_path(f, FILE_NAME), (off_t)(8 + length)) != 0) {
        perror(FILE_NAME);
        exit(1);
    }
}

static void test_longest_header(void)
{
    static const struct {
        const char *name;
        size_t length;
        const char *begin, *fragment;
    } cases[] = {
        { "a header of upstream's limit is looked at", 100000000, "[", "not a JSON object" },
        { "one byte more is refused, whatever it holds", 100000001, "[",
          "a header of 100000001 bytes, expected at most 100000000" },
        { "and not parsed", 100000001, "{}", "expected at most 100000000" },
        { "however large the file is", (size_t)1 << 30, "{", "a header of 1073741824 bytes" },
    };
    struct folder f = folder_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_hole(&f, cases[i].length, cases[i].begin);
        expect(&f, cases[i].name, cases[i].fragment);
    }
    folder_remove(&f);
}

/* A file that no reader would take is not begun.  A name of so many bytes makes the header longer
 * by as many. */
static void test_longest_header_written(void)
{
    static const struct {
        const char *name;
        size_t n_name;
        const char *fragment;       /* NULL: written */
    } cases[] = {
        { "the longest header is written", 100000000 - 88, NULL },
        { "a longer one is refused", 100000000 - 80,
          "a header of 100000008 bytes, expected at most 100000000" },
    };
    struct folder f = folder_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name = calloc(cases[i].n_name + 1, 1);
        memset(name, 'n', cases[i].n_name);
        const struct safetensors_entry entry = { name, DTYPE_U8, 1, { 0 } };
        struct safetensors_writer w;
        struct error err = { 0 };
        bool made = safetensors_create(&w, folder_path(&f, FILE_NAME), &entry, 1, &err);
        if (made)
            safetensors_abandon(&w);
        const char *fragment = cases[i].fragment;
        check(fragment
                  ? !made && strstr(err.message, fragment) && strstr(err.message, FILE_NAME ": ")
                  : made,
              cases[i].name, "%s", made ? "made" : err.message);
        free(name);
    }
    check(rmdir(f.path) == 0, "and nothing is left of either", "something stands there");
    folder_remove(&f);
}

/* Many tensors with unsorted names: sorted, found, and quickly. */
static void test_find(void)
{
    struct folder f = folder_make();
    struct buffer header = { 0 };
    struct error err = { 0 };
    const size_t n = 20000;
    for (size_t i = 0; i < n; i++) {
        size_t k = i * 7919 % n;
        buffer_printf(&header, &err,
                      "%s\"t%zu\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                      i ? "," : "{", k, k, k + 1);
    }
    buffer_printf(&header, &err, "}");
    folder_write_safetensors(&f, FILE_NAME, header.data, n);
    buffer_free(&header);
    struct safetensors_file file;
    bool ok = safetensors_open(&file, folder_path(&f, FILE_NAME), &err);
    check(ok && file.n_tensors == n, "20,000 tensors", "%s", err.message);
    size_t wrong = 0;
    for (size_t i = 0; ok && i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%zu", i);
        const struct tensor *t = safetensors_find(&file, name);
        wrong += !t || *t->data != i % 251 || t->ndim != 1 || t->dtype != DTYPE_U8;
    }
    check(wrong == 0, "each is found by its name", "%zu are not", wrong);
    check(ok && !safetensors_find(&file, "t") && !safetensors_find(&file, "t20000"),
          "others are not found", "found");
    if (ok)
        safetensors_close(&file);
    folder_remove(&f);
}

static void test_writer(void)
{
    struct folder f = folder_make();
    struct error err = { 0 };
    const struct safetensors_entry entries[] = {
        { "b \"quoted\"\n", DTYPE_BF16, 2, { 3, 5 } },
        { "scalar", DTYPE_F64, 0, { 0 } },
        { "empty", DTYPE_I32, 1, { 0 } },
        { "\xc3\xa9", DTYPE_U8, 3, { 2, 1, 2 } },
    };
    const uint8_t bytes[30] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30 };
    struct safetensors_writer w;
    bool ok = safetensors_create(&w, folder_path(&f, FILE_NAME), entries, 4, &err)
           && safetensors_write(&w, 3, 0, bytes, 4, &err)       /* any order */
           && safetensors_write(&w, 0, 11, bytes + 11, 19, &err) /* in pieces */
           && safetensors_write(&w, 0, 0, bytes, 11, &err)
           && safetensors_write(&w, 1, 0, bytes, 8, &err)
           && safetensors_write(&w, 2, 0, NULL, 0, &err);
    check(ok && !file_exists(folder_path(&f, FILE_NAME)), "nothing stands there before the commit",
          "%s", err.message);
    ok = ok && safetensors_commit(&w, &err);
    struct safetensors_file file = { 0 };
    ok = ok && safetensors_open(&file, folder_path(&f, FILE_NAME), &err);
    check(ok && file.n_tensors == 4, "a written file is read", "%s", err.message);
    const struct tensor *t = ok ? safetensors_find(&file, entries[0].name) : NULL;
    char where[DIFFER_TEXT] = "";
    check(t && t->dtype == DTYPE_BF16 && t->ndim == 2 && t->shape[0] == 3 && t->shape[1] == 5
          && same_bytes(where, t->data, bytes, 30) && (uintptr_t)t->data % 8 == 0,
          "with the same name, dtype, shape, bytes, aligned", "differs: %s", where);
    t = ok ? safetensors_find(&file, "\xc3\xa9") : NULL;
    check(t && t->ndim == 3 && same_bytes(where, t->data, bytes, 4), "and UTF-8 names",
          "differs: %s", where);
    if (ok)
        safetensors_close(&file);

    const struct safetensors_note notes[] = { { "k\"", "line\n" }, { "empty", "" } };
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"k\\\"\":\"line\\n\",\"empty\":\"\"},\"scalar\":";
    unlink(folder_path(&f, FILE_NAME));
    ok = safetensors_create_noted(&w, folder_path(&f, FILE_NAME), notes, 2, entries + 1, 1, &err)
      && safetensors_write(&w, 0, 0, bytes, 8, &err) && safetensors_commit(&w, &err)
      && safetensors_open(&file, folder_path(&f, FILE_NAME), &err);
    check(ok && same_bytes(where, file.map.data + 8, header, strlen(header)) && file.n_tensors == 1
              && same_bytes(where, file.tensors[0].data, bytes, 8),
          "metadata stands before the tensors", "%s %s", err.message, where);
    if (ok)
        safetensors_close(&file);

    ok = safetensors_create(&w, folder_path(&f, "abandoned"), entries, 4, &err);
    safetensors_abandon(&w);
    unlink(folder_path(&f, FILE_NAME));
    check(ok && rmdir(f.path) == 0, "an abandoned file leaves nothing", "%s", err.message);
    check(!safetensors_create(&w, "/no/such/folder/x", entries, 4, &err)
          && strstr(err.message, "/no/such/folder/x"), "a folder that is not there", "%s",
          err.message);
    const struct safetensors_entry huge = { "t", DTYPE_F64, 2, { SIZE_MAX / 2, 2 } };
    f = folder_make();
    check(!safetensors_create(&w, folder_path(&f, FILE_NAME), &huge, 1, &err)
          && strstr(err.message, "'t' has more bytes") && rmdir(f.path) == 0,
          "sizes that overflow", "%s", err.message);
    folder_remove(&f);
}

static void test_texts(void)
{
    const struct tensor t = { .dtype = DTYPE_F32, .ndim = 2, .shape = { 2, 3 }, .n_bytes = 24 };
    const struct tensor scalar = { .dtype = DTYPE_F32, .n_bytes = 4 };
    char text[64], small[6];
    check(strcmp(tensor_shape_text(&t, text, sizeof text), "[2, 3]") == 0, "shape text", "%s",
          text);
    check(strcmp(tensor_shape_text(&scalar, text, sizeof text), "[]") == 0, "scalar's", "%s", text);
    check(strcmp(tensor_shape_text(&t, small, sizeof small), "[2, 3") == 0, "cut", "%s", small);
    check(tensor_elements(&t) == 6 && tensor_elements(&scalar) == 1, "elements", "wrong");
    check(strcmp(dtype_name(DTYPE_BF16), "BF16") == 0 && dtype_bytes(DTYPE_BF16) == 2
          && strcmp(dtype_name(DTYPE_MXFP4), "MXFP4") == 0 && dtype_bytes(DTYPE_MXFP4) == 0,
          "dtype names and sizes", "wrong");
}

int main(void)
{
    test_headers();
    test_lengths();
    test_longest_header();
    test_longest_header_written();
    test_find();
    test_writer();
    test_texts();
    return check_done();
}
