#include "formats/checkpoint.h"

#include "fake.h"
#include "tests/check.h"

#define INDEX "model.safetensors.index.json"
#define SINGLE "model.safetensors"
#define A4 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"
#define B4 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"
#define MAP(rows) "{\"metadata\":{},\"weight_map\":{" rows "}}"

/* a.safetensors holds a and b; b.safetensors holds b and c. */
static void two_files(const struct folder *f)
{
    folder_write_text(f, "config.json", FAKE_MOE "}");
    folder_write_safetensors(f, "a.safetensors", "{\"a\":{" A4 "},\"b\":{" B4 "}}", 8);
    folder_write_safetensors(f, "b.safetensors", "{\"b\":{" A4 "},\"c\":{" B4 "}}", 8);
}

static const struct {
    const char *name, *index, *fragment;        /* fragment NULL: opens */
    size_t n_tensors, n_stale;
} indices[] = {
    { "the index decides",
      MAP("\"a\":\"a.safetensors\",\"b\":\"b.safetensors\",\"c\":\"b.safetensors\""), NULL, 3, 1 },
    { "either way", MAP("\"c\":\"b.safetensors\",\"b\":\"a.safetensors\""), NULL, 2, 2 },
    { "a file that it does not name", MAP("\"a\":\"a.safetensors\",\"b\":\"a.safetensors\""), NULL,
      2, 0 },
    { "an absent file", MAP("\"a\":\"gone.safetensors\""),
      INDEX ": 'a' is mapped to 'gone.safetensors', which does not exist", 0, 0 },
    { "a tensor that the file lacks", MAP("\"a\":\"b.safetensors\",\"c\":\"b.safetensors\""),
      "b.safetensors: no tensor 'a', which " INDEX, 0, 0 },
    { "a tensor that no file has", MAP("\"x\":\"a.safetensors\""), "a.safetensors: no tensor 'x'",
      0, 0 },
    { "a path", MAP("\"a\":\"../a.safetensors\""), INDEX ": 'a' is mapped to '../a.safetensors'",
      0, 0 },
    { "an absolute path", MAP("\"a\":\"/etc/passwd\""), INDEX ": 'a' is mapped to '/etc/passwd'",
      0, 0 },
    { "an empty name", MAP("\"a\":\"\""), INDEX ": 'a' is mapped to ''", 0, 0 },
    { "the folder", MAP("\"a\":\".\""), INDEX ": 'a' is mapped to '.'", 0, 0 },
    { "the parent", MAP("\"a\":\"..\""), INDEX ": 'a' is mapped to '..'", 0, 0 },
    { "a file of another kind", MAP("\"a\":\"config.json\""), "config.json: a header of", 0, 0 },
    { "a number", MAP("\"a\":7"), INDEX ": 'a' is not mapped to a file name", 0, 0 },
    { "one name twice", MAP("\"a\":\"a.safetensors\",\"a\":\"a.safetensors\""),
      INDEX ": duplicate name 'a'", 0, 0 },
    { "no weight_map", "{}", INDEX ": has no weight_map", 0, 0 },
    { "two weight_maps", "{\"weight_map\":{\"a\":\"a.safetensors\"},\"weight_map\":{}}",
      INDEX ": duplicate name 'weight_map'", 0, 0 },
    { "a weight_map that is a list", "{\"weight_map\":[]}", INDEX ": has no weight_map", 0, 0 },
    { "an empty weight_map", MAP(""), INDEX ": weight_map names no tensor", 0, 0 },
    { "a list", "[]", INDEX ": has no weight_map", 0, 0 },
    { "not JSON", "{", INDEX ": not valid JSON", 0, 0 },
    { "nothing", "", INDEX ": not valid JSON", 0, 0 },
};

static bool has(const char *message, const char *fragment)
{
    return strstr(message, fragment) && !strchr(message, '\n');
}

/* Opens, checks and closes. */
static void expect(const char *name, const char *path, const char *fragment, size_t n_tensors,
                   size_t n_stale)
{
    struct checkpoint ck;
    struct error err = { 0 };
    bool ok = checkpoint_open(&ck, path, &err);
    if (fragment)
        check(!ok && has(err.message, fragment), name, "%s, expected '%s'",
              ok ? "no error" : err.message, fragment);
    else
        check(ok && ck.n_tensors == n_tensors && ck.n_stale == n_stale, name,
              "%s, %zu tensors, %zu stale", ok ? "opened" : err.message, ck.n_tensors, ck.n_stale);
    checkpoint_close(&ck);
}

static void test_index(void)
{
    struct folder f = folder_make();
    two_files(&f);
    for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
        folder_write_text(&f, INDEX, indices[i].index);
        expect(indices[i].name, f.path, indices[i].fragment, indices[i].n_tensors,
               indices[i].n_stale);
    }
    unlink(folder_path(&f, INDEX));
    mkdir(folder_path(&f, INDEX), 0777);
    expect("the index is a directory", f.path, INDEX ": is a directory", 0, 0);
    rmdir(folder_path(&f, INDEX));
    if (symlink("nowhere", folder_path(&f, INDEX)) == 0)
        expect("the index is a dangling link", f.path, INDEX ": No such file", 0, 0);
    folder_remove(&f);
}

static void test_without_index(void)
{
    struct folder f = folder_make();
    two_files(&f);
    expect("one name in two files", f.path, "'b' is in", 0, 0);
    expect("both are named", f.path, "/b.safetensors", 0, 0);
    unlink(folder_path(&f, "b.safetensors"));
    folder_write_safetensors(&f, "z.safetensors", "{\"z\":{" A4 "}}", 4);
    folder_write_text(&f, ".hidden.safetensors", "not for us");
    folder_write_text(&f, "z.safetensors.tmp", "not for us");
    expect("every file by its header", f.path, NULL, 3, 0);
    folder_write_text(&f, "other.safetensors.index.json", "not for us");
    expect("an index of another name is none", f.path, NULL, 3, 0);
    folder_write_safetensors(&f, "broken.safetensors", "{\"z\":{" A4 "}}", 3);
    expect("one of them broken", f.path, "/broken.safetensors: 'z' ends at byte 4", 0, 0);
    folder_write_safetensors(&f, SINGLE, "{\"a\":{" A4 "},\"b\":{\"dtype\":\"I8\",\"shape\":[1],"
                             "\"data_offsets\":[4,5]}}", 5);
    expect(SINGLE " comes first", f.path, NULL, 2, 0);
    unlink(folder_path(&f, SINGLE));
    mkdir(folder_path(&f, SINGLE), 0777);
    expect(SINGLE " is a directory", f.path, SINGLE ": is a directory", 0, 0);
    folder_remove(&f);
}

static void test_links(void)
{
    struct folder f = folder_make(), elsewhere = folder_make();
    two_files(&elsewhere);
    folder_write_text(&f, "config.json", FAKE_MOE "}");
    char target[256];
    snprintf(target, sizeof target, "%s", folder_path(&elsewhere, "b.safetensors"));
    bool ok = symlink(target, folder_path(&f, "shard-of-any-name")) == 0;
    folder_write_text(&f, INDEX, MAP("\"c\":\"shard-of-any-name\",\"b\":\"shard-of-any-name\""));
    if (ok)
        expect("a link to a file elsewhere", f.path, NULL, 2, 0);
    folder_remove(&elsewhere);
    expect("the file is gone", f.path, "/shard-of-any-name: No such file", 0, 0);
    unlink(folder_path(&f, INDEX));
    if (symlink(SINGLE, folder_path(&f, SINGLE)) == 0)
        expect("a link to itself", f.path, SINGLE ": Too many levels", 0, 0);
    folder_remove(&f);
}

static void test_config(void)
{
    struct folder f = folder_make();
    folder_write_safetensors(&f, SINGLE, "{\"a\":{" A4 "},\"b\":{\"dtype\":\"I8\",\"shape\":[1],"
                             "\"data_offsets\":[4,5]}}", 5);
    expect("no config.json", f.path, "/config.json: No such file", 0, 0);
    static const struct {
        const char *name, *text, *fragment;
    } configs[] = {
        { "an empty config", "", "config.json: not valid JSON" },
        { "a cut config", "{\"model_type\":", "config.json: not valid JSON" },
        { "a config that is a list", "[]", "config.json: is not a JSON object" },
        { "junk after the config", "{}x", "config.json: text after the JSON value" },
        { "more layers than tensors", "{\"model_type\":\"qwen3_5\",\"num_hidden_layers\":3}",
          "config.json: num_hidden_layers is 3, but there are only 2 tensors" },
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        folder_write_text(&f, "config.json", configs[i].text);
        expect(configs[i].name, f.path, configs[i].fragment, 0, 0);
    }
    char *deep = malloc(200000);
    memset(deep, '[', 200000);
    folder_write(&f, "config.json", deep, 200000);
    expect("a deep config", f.path, "config.json: not valid JSON (or nested too deeply)", 0, 0);
    folder_write(&f, "config.json", "{}\0", 3);
    expect("NUL in the config", f.path, "config.json: NUL character", 0, 0);
    folder_write_text(&f, "config.json", FAKE_MOE "}");
    expect("a good one", f.path, NULL, 2, 0);
    unlink(folder_path(&f, SINGLE));
    expect("no tensors at all", f.path, "has neither " INDEX, 0, 0);
    free(deep);
    folder_remove(&f);
}

static void test_paths(void)
{
    struct folder f = folder_make();
    folder_write_text(&f, "file", "x");
    expect("an empty path", "", "path of the checkpoint is empty", 0, 0);
    expect("no such folder", folder_path(&f, "gone"), "/gone: No such file", 0, 0);
    expect("a file", folder_path(&f, "file"), "/file: is not a folder", 0, 0);
    expect("an empty folder", f.path, "/config.json: No such file", 0, 0);
    folder_remove(&f);
}

static void test_contents(void)
{
    struct folder f = folder_make();
    struct checkpoint ck;
    struct error err = { 0 };
    two_files(&f);
    folder_write_text(&f, INDEX, MAP("\"b\":\"b.safetensors\",\"a\":\"a.safetensors\""));
    bool ok = checkpoint_open(&ck, f.path, &err);
    const struct tensor *t = ok ? checkpoint_find(&ck, "b") : NULL;
    check(t && t->data == ck.files[1].map.data + ck.files[1].map.size - 8
          && strstr(t->file, "/b.safetensors"),
          "a tensor comes from the file that the index names", "%s", err.message);
    check(ok && !checkpoint_find(&ck, "c"), "a stale tensor is not found", "found");
    struct digest d;
    digest_of(&d, FAKE_MOE "}", strlen(FAKE_MOE "}"), &err);
    check(ok && memcmp(&d, &ck.config_digest, sizeof d) == 0, "the digest of config.json",
          "differs");
    check(ok && ck.config.num_experts == 3 && strcmp(ck.path, f.path) == 0, "its settings",
          "differ");
    checkpoint_close(&ck);
    checkpoint_close(&ck);
    check(ck.files == NULL, "closed twice", "not");
    folder_remove(&f);
}

/* ---- faults that are collected -------------------------------------------------------- */

static bool add_line(void *user, enum checkpoint_fault fault, const struct checkpoint_place *at,
                     const struct error *why, struct error *err)
{
    static const char *const names[CHECKPOINT_FAULTS] = {
        "config", "index", "no-file", "unreadable", "no-tensor", "absent", "stale-index", "choice",
        "twice", "lost", "total" };
    const char *file = strrchr(at->file, '/'), *other = at->other ? strrchr(at->other, '/') : NULL;
    (void)why;
    return buffer_printf(user, err, "%s %s%s%s%s%s;", names[fault], file ? file + 1 : at->file,
                         at->tensor ? " " : "", at->tensor ? at->tensor : "", other ? " " : "",
                         other ? other + 1 : "");
}

static const struct {
    const char *name, *index, *expected;        /* index NULL: there is none */
    size_t n_tensors;
} collected[] = {
    { "nothing is wrong with a, b and c",
      MAP("\"a\":\"a.safetensors\",\"b\":\"b.safetensors\",\"c\":\"b.safetensors\""), "", 3 },
    { "rows without a file's name are left out",
      MAP("\"x\":\"../a\",\"a\":7,\"b\":\"b.safetensors\",\"c\":\"b.safetensors\""),
      "index model.safetensors.index.json x;index model.safetensors.index.json a;", 2 },
    { "a file that is not there", MAP("\"a\":\"gone\",\"b\":\"gone\",\"c\":\"b.safetensors\""),
      "no-file gone;lost gone a;lost gone b;", 1 },
    { "a broken file", MAP("\"a\":\"broken\",\"b\":\"a.safetensors\""),
      "unreadable broken;lost broken a;", 1 },
    { "the wrong file, or none",
      MAP("\"a\":\"b.safetensors\",\"b\":\"b.safetensors\",\"x\":\"b.safetensors\""),
      "no-tensor b.safetensors a a.safetensors;no-tensor b.safetensors x;lost b.safetensors x;",
      2 },
    { "the sum of bytes",
      "{\"metadata\":{\"total_size\":5},\"weight_map\":{\"a\":\"a.safetensors\","
      "\"c\":\"b.safetensors\"}}",
      "total model.safetensors.index.json;", 2 },
    { "more layers than tensors", MAP("\"a\":\"a.safetensors\""), "config config.json;", 1 },
    { "an index that cannot be used: headers decide", "{",
      "index model.safetensors.index.json;twice b.safetensors b a.safetensors;", 3 },
    { "no index: headers decide", NULL, "twice b.safetensors b a.safetensors;", 3 },
};

static void test_faults(void)
{
    struct folder f = folder_make();
    two_files(&f);
    folder_write_text(&f, "broken", "x");
    for (size_t i = 0; i < sizeof collected / sizeof *collected; i++) {
        struct buffer lines = { 0 };
        struct error err = { 0 };
        struct checkpoint ck;
        const struct checkpoint_faults faults = { add_line, &lines };
        if (collected[i].index)
            folder_write_text(&f, INDEX, collected[i].index);
        else
            unlink(folder_path(&f, INDEX));
        bool ok = checkpoint_open_with(&ck, f.path, NULL, &faults, &err)
               && buffer_append(&lines, "", 0, &err);
        check(ok && strcmp(lines.data, collected[i].expected) == 0
                  && ck.n_tensors == collected[i].n_tensors
                  && ck.has_config == !strstr(lines.data, "config.json;"),
              collected[i].name, "%s %zu tensors, %s", ok ? lines.data : "", ok ? ck.n_tensors : 0,
              err.message);
        checkpoint_close(&ck);
        buffer_free(&lines);
    }
    folder_write_safetensors(&f, "c.safetensors", "{\"x\":{" A4 "}}", 3);
    folder_write_text(&f, INDEX, indices[0].index);
    expect("a broken file that the index does not name is not opened", f.path, NULL, 3, 1);
    folder_remove(&f);
}

int main(void)
{
    test_index();
    test_without_index();
    test_links();
    test_config();
    test_paths();
    test_contents();
    test_faults();
    return check_done();
}
