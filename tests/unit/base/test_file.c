/* What is read and what is refused, and which names a folder has. */
#include "base/file.h"

#include <sys/wait.h>

#include "tests/differ.h"
#include "tests/unit/formats/folder.h"

/* Below the test's folder. */
enum kind { NOTHING, FILE_OF_3, EMPTY_FILE, FOLDER, FIFO, LINK_TO_FILE, LINK_TO_NOTHING };

static void make(const struct folder *f, const char *name, enum kind kind)
{
    char target[128];
    snprintf(target, sizeof target, "%s/%s", f->path, kind == LINK_TO_FILE ? "target" : "gone");
    if (kind == LINK_TO_FILE)
        folder_write(f, "target", "abc", 3);
    const char *path = folder_path(f, name);
    bool ok = kind == FOLDER ? mkdir(path, 0777) == 0
            : kind == FIFO ? mkfifo(path, 0666) == 0
            : kind == LINK_TO_FILE || kind == LINK_TO_NOTHING ? symlink(target, path) == 0 : true;
    if (kind == FILE_OF_3 || kind == EMPTY_FILE)
        folder_write(f, name, "abc", kind == FILE_OF_3 ? 3 : 0);
    if (!ok) {
        perror(path);
        exit(1);
    }
}

static const struct {
    const char *name;
    enum kind kind;
    bool exists, is_directory, is_read_once;
    size_t size;
    const char *refused;            /* NULL: read, size bytes of "abc" */
} cases[] = {
    { "a file", FILE_OF_3, true, false, false, 3, NULL },
    { "an empty file", EMPTY_FILE, true, false, false, 0, NULL },
    { "a link to a file", LINK_TO_FILE, true, false, false, 3, NULL },
    { "nothing", NOTHING, false, false, false, 0, "No such file or directory" },
    { "a link to nothing", LINK_TO_NOTHING, false, false, false, 0, "No such file or directory" },
    { "a folder", FOLDER, true, true, false, 0, "is a directory, expected a file" },
    { "a FIFO, which would hang", FIFO, true, false, true, 0, "is not a regular file" },
};

static void check_case(const struct folder *f, size_t i)
{
    const char *path = folder_path(f, "x");
    char message[512], name[96];
    snprintf(message, sizeof message, "%s: %s", path, cases[i].refused ? cases[i].refused : "");
    struct error map_err = { 0 }, read_err = { 0 };
    struct mapped_file map;
    struct buffer b;
    bool mapped = file_map(&map, path, &map_err), got = file_read(&b, path, &read_err);
    snprintf(name, sizeof name, "%s is %s", cases[i].name, cases[i].refused ? "refused" : "mapped");
    check(cases[i].refused
              ? !mapped && strcmp(map_err.message, message) == 0
              : mapped && map.size == cases[i].size && !map.data == !cases[i].size
                    && memcmp(map.size ? (const char *)map.data : "", "abc", map.size) == 0,
          name, "'%s'", map_err.message);
    snprintf(name, sizeof name, "%s is %s whole", cases[i].name,
             cases[i].refused ? "not read" : "read");
    check(cases[i].refused ? !got && strcmp(read_err.message, message) == 0 && !b.data
                           : got && b.size == cases[i].size && strncmp(b.data, "abc", b.size) == 0
                             && b.data[b.size] == '\0', name, "'%s'", read_err.message);
    snprintf(name, sizeof name, "%s: what it is", cases[i].name);
    check(file_exists(path) == cases[i].exists && file_is_directory(path) == cases[i].is_directory
              && file_is_read_once(path) == cases[i].is_read_once,
          name, "exists %d, directory %d, read once %d", file_exists(path), file_is_directory(path),
          file_is_read_once(path));
    file_unmap(&map);
    buffer_free(&b);
}

static void test_kinds(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder f = folder_make();
        make(&f, "x", cases[i].kind);
        check_case(&f, i);
        folder_remove(&f);
    }
    check(file_is_read_once("-"), "standard input is read once", "not");
}

/* Ranges of a mapping, let go of and brought back: the bytes stay what they are. */
static void test_pages(void)
{
    enum { N = 70000 };
    static uint8_t bytes[N];
    struct folder f = folder_make();
    struct mapped_file map;
    struct error err = { 0 };
    char where[DIFFER_TEXT] = "";
    for (size_t i = 0; i < N; i++)
        bytes[i] = (uint8_t)(i % 251);
    folder_write(&f, "x", bytes, N);
    static const struct { const char *name; size_t offset, n; } ranges[] = {
        { "from the begin", 0, 4096 }, { "inside a page", 5000, 10 }, { "over pages", 4000, 9000 },
        { "to the end", 65000, N - 65000 }, { "all", 0, N }, { "none", 100, 0 },
    };
    bool ok = file_map(&map, folder_path(&f, "x"), &err);
    for (size_t i = 0; ok && i < sizeof ranges / sizeof *ranges; i++)
        for (int evict = 0; evict < 2; evict++) {
            file_release(&map, ranges[i].offset, ranges[i].n, evict);
            file_read_ahead(&map, ranges[i].offset, ranges[i].n);
            check(file_populate(&map, ranges[i].offset, ranges[i].n, &err)
                      && same_bytes(where, map.data, bytes, N),
                  ranges[i].name, "%s %s", err.message, where);
        }
    ok = ok && truncate(folder_path(&f, "x"), 8192) == 0;
    check(ok && file_populate(&map, 0, 8192, &err), "what a shorter file still has is brought in",
          "%s", err.message);
    check(ok && !file_populate(&map, 0, N, &err) && strstr(err.message, "cut short"),
          "what it has no longer is an error, not a signal", "%s", err.message);
    file_unmap(&map);
    folder_remove(&f);
}

static void test_join(void)
{
    static const struct { const char *name, *folder, *entry, *path; } joins[] = {
        { "a slash between", "a", "b", "a/b" }, { "one that is there stays alone", "a/", "b",
          "a/b" },
        { "the root", "/", "b", "/b" }, { "no folder", "", "b", "/b" }, { "no name", "a", "",
          "a/" },
    };
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        char *path = file_join(joins[i].folder, joins[i].entry, NULL);
        check(path && strcmp(path, joins[i].path) == 0, joins[i].name, "'%s'", path);
        free(path);
    }
}

/* "a b c" of names, freed. */
static void list_text(struct buffer *out, char **names, size_t n)
{
    out->size = 0;
    buffer_append(out, "", 0, NULL);
    for (size_t i = 0; i < n; i++)
        buffer_printf(out, NULL, "%s%s", i ? " " : "", names[i]);
    file_list_free(names, n);
}

static void test_lists(void)
{
    static const struct { const char *name, *suffix, *names; } lists[] = {
        { "all, by byte, but hidden ones", "", "B.json a.json b c.json sub" },
        { "by what they end in", ".json", "B.json a.json c.json" },
        { "a name that is nothing but the end is not listed", "b", "sub" },
        { "none", ".x", "" },
    };
    struct folder f = folder_make();
    static const char *const files[] = { "c.json", "a.json", "B.json", "b", ".hidden.json", "sub/z",
                                         "sub/.h", "sub/deep/y", ".git/x" };
    mkdir(folder_path(&f, "sub"), 0777);
    mkdir(folder_path(&f, "sub/deep"), 0777);
    mkdir(folder_path(&f, ".git"), 0777);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        folder_write_text(&f, files[i], "");
    struct buffer text = { 0 };
    struct error err = { 0 };
    char **names;
    size_t n;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        bool ok = file_list(&names, &n, f.path, lists[i].suffix, &err);
        list_text(&text, names, n);
        check(ok && strcmp(text.data, lists[i].names) == 0, lists[i].name, "'%s'", text.data);
    }
    symlink("sub", folder_path(&f, "link"));
    bool ok = file_list_below(&names, &n, f.path, &err);
    list_text(&text, names, n);
    check(
        ok
            && strcmp(text.data, ".hidden.json B.json a.json b c.json link sub/.h sub/deep/y sub/z")
                   == 0,
        "below: hidden files, no hidden folder, links not gone into", "'%s'", text.data);
    ok = file_list(&names, &n, folder_path(&f, "gone"), "", &err);
    check(!ok && !names && n == 0 && strstr(err.message, "gone: No such file"), "a list of nothing",
          "%s", err.message);
    ok = file_list_below(&names, &n, folder_path(&f, "gone"), &err);
    check(!ok && n == 0 && strstr(err.message, "gone/: No such file"), "below nothing", "%s",
          err.message);
    file_list_free(names, n);
    buffer_free(&text);
    folder_remove(&f);
}

/* A FIFO that a user named is read; its writer is a child. */
static void test_input(void)
{
    struct folder f = folder_make();
    struct error err = { 0 };
    struct buffer b = { 0 };
    make(&f, "x", FIFO);
    pid_t child = fork();
    if (child == 0) {
        FILE *to = fopen(folder_path(&f, "x"), "w");
        for (int i = 0; to && i < 40000; i++)
            fprintf(to, "%05d", i);
        _exit(!to || fclose(to));
    }
    int status = -1;
    bool ok = child > 0 && file_read_input(&b, folder_path(&f, "x"), &err)
           && waitpid(child, &status, 0) == child && status == 0;
    check(ok && b.size == 200000 && strcmp(b.data + 199995, "39999") == 0,
          "a FIFO that was named is read whole", "%zu bytes, %s", b.size, err.message);
    buffer_free(&b);
    folder_write_text(&f, "y", "text");
    ok = file_read_input(&b, folder_path(&f, "y"), &err);
    check(ok && strcmp(b.data, "text") == 0, "and a file", "%s", err.message);
    buffer_free(&b);
    folder_remove(&f);
}

int main(void)
{
    alarm(60);                      /* what opens a FIFO wrongly would wait for ever */
    test_kinds();
    test_pages();
    test_join();
    test_lists();
    test_input();
    return check_done();
}
