/* A file is complete under its name or not there, whatever stood at the path before. */
#include "base/output_file.h"

#include <fcntl.h>

#include "base/temporary.h"
#include "tests/differ.h"
#include "tests/unit/formats/folder.h"

/* What stands at "x", and where "x" leads; "target" holds "old" where it is named. */
enum before { NOTHING, A_FILE, LINK, LINK_TO_LINK, LINK_TO_NOTHING, LINK_INTO_FOLDER };

static void lay(const struct folder *f, enum before before)
{
    if (before == A_FILE)
        folder_write_text(f, "x", "old");
    if (before == LINK || before == LINK_TO_LINK)
        folder_write_text(f, "target", "old");
    if (before == LINK_TO_LINK)
        symlink("target", folder_path(f, "middle"));
    if (before == LINK_INTO_FOLDER) {
        mkdir(folder_path(f, "sub"), 0777);
        folder_write_text(f, "sub/target", "old");
    }
    const char *to = before == LINK_TO_LINK     ? "middle"
                   : before == LINK_INTO_FOLDER ? "sub/target"
                                                : "target";
    if (before != NOTHING && before != A_FILE)
        symlink(to, folder_path(f, "x"));
}

/* Does a file of the folder hold this text?  NULL: is nothing there? */
static bool holds(const struct folder *f, const char *name, const char *text)
{
    struct buffer b;
    if (!text)
        return !file_exists(folder_path(f, name));
    bool same = file_read(&b, folder_path(f, name), NULL) && strcmp(b.data, text) == 0;
    buffer_free(&b);
    return same;
}

static size_t count_temporaries(const struct folder *f, const char *below)
{
    char **names;
    size_t n, count = 0;
    char *path = file_join(f->path, below, NULL);
    file_list_below(&names, &n, path, NULL);
    for (size_t i = 0; i < n; i++)
        count += temporary_is_name(names[i]);
    file_list_free(names, n);
    free(path);
    return count;
}

static const struct {
    const char *name;
    enum before before;
    const char *target;             /* the file that gets the bytes */
    bool stays_link;
} cases[] = {
    { "a new file", NOTHING, "x", false },
    { "a file that is replaced", A_FILE, "x", false },
    { "a link: what it names is replaced", LINK, "target", true },
    { "a link to a link", LINK_TO_LINK, "target", true },
    { "a link to nothing: that is created", LINK_TO_NOTHING, "target", true },
    { "a link into another folder", LINK_INTO_FOLDER, "sub/target", true },
};

static bool is_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* Bytes out of order, then a commit or none. */
static void test_whole(bool commit)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder f = folder_make();
        struct output_file out;
        struct error err = { 0 };
        char name[96], read[4];
        lay(&f, cases[i].before);
        const char *old =
            cases[i].before == NOTHING || cases[i].before == LINK_TO_NOTHING ? NULL : "old";
        bool ok = output_file_create(&out, folder_path(&f, "x"), &err)
               && output_file_write_at(&out, 3, "def", 3, &err)
               && output_file_write_at(&out, 0, "abc", 3, &err)
               && output_file_read_at(&out, 2, read, 3, &err) && memcmp(read, "cde", 3) == 0;
        bool untouched = holds(&f, cases[i].target, old);
        const char *where = cases[i].before == LINK_INTO_FOLDER ? "sub" : "";
        size_t before_end = count_temporaries(&f, where);
        if (ok && commit)
            ok = output_file_commit(&out, &err);
        else if (ok)
            output_file_abandon(&out);
        snprintf(name, sizeof name, "%s: %s", cases[i].name, commit ? "committed" : "abandoned");
        check(ok && untouched && before_end == 1 && count_temporaries(&f, where) == 0
              && holds(&f, cases[i].target, commit ? "abcdef" : old)
              && is_link(folder_path(&f, "x")) == cases[i].stays_link, name,
              "%s, untouched before %d, temporaries %zu", err.message, untouched, before_end);
        folder_remove(&f);
    }
}

static void test_refusals(void)
{
    static const struct { const char *name, *path, *message; } refusals[] = {
        { "a folder", "sub", "sub: is a directory, expected a file to write" },
        { "a name that ends in a slash", "new/", "new/: " },
        { "a folder that is not there", "gone/x",
          "gone/x: cannot be written: No such file or directory" },
        { "a file in place of a folder", "file/x", "file/x: cannot be written: Not a directory" },
        { "a link to itself", "loop", "loop: Too many levels of symbolic links" },
    };
    struct folder f = folder_make();
    mkdir(folder_path(&f, "sub"), 0777);
    folder_write_text(&f, "file", "");
    symlink("loop", folder_path(&f, "loop"));
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct output_file out;
        struct error err = { 0 };
        bool made = output_file_create(&out, folder_path(&f, refusals[i].path), &err);
        check(!made && strstr(err.message, refusals[i].message) && out.fd == -1 && !out.path,
              refusals[i].name, "'%s'", err.message);
        made = output_file_try(folder_path(&f, refusals[i].path), 0, NULL, NULL, &err);
        check(!made && strstr(err.message, refusals[i].message),
              "and so says the look before the work", "'%s'", err.message);
    }
    check(count_temporaries(&f, "") == 0, "none left a temporary", "%zu",
          count_temporaries(&f, ""));
    folder_remove(&f);
}

/* The look before the work: nothing is changed. */
static void test_try(void)
{
    struct folder f = folder_make();
    struct input_files in = { 0 };
    struct error err = { 0 };
    folder_write_text(&f, "input", "in");
    input_files_add(&in, folder_path(&f, "input"), &err);
    symlink("input", folder_path(&f, "alias"));
    check(output_file_try(NULL, 0, NULL, NULL, &err), "no path is fine", "%s", err.message);
    check(output_file_try(folder_path(&f, "new"), 1000, &in, NULL, &err) && holds(&f, "new", NULL),
          "a new file could be written, and is not there", "%s", err.message);
    check(!output_file_try(folder_path(&f, "alias"), 0, &in, NULL, &err)
              && strstr(err.message, "alias: is an input ("),
          "an input behind a link is refused", "%s", err.message);
    check(!output_file_try(folder_path(&f, "new"), (size_t)1 << 62, NULL, NULL, &err)
          && strstr(err.message, "new: cannot reserve 4611686018427387904 bytes"),
          "more bytes than any disk has are refused", "%s", err.message);
    char *dead = temporary_path(f.path, &err);
    fclose(fopen(dead, "w"));
    check(output_file_try(folder_path(&f, "new"), 0, NULL, NULL, &err) && !file_exists(dead),
          "temporaries that nobody holds go", "%s", err.message);
    free(dead);
    input_files_free(&in);
    folder_remove(&f);
}

/* Files that a later process goes on with. */
static void test_in_place(void)
{
    struct folder f = folder_make();
    struct output_file out;
    struct error err = { 0 };
    char path[128], text[8] = "";
    snprintf(path, sizeof path, "%s/x", f.path);
    bool ok = output_file_create_in_place(&out, path, &err) && output_file_reserve(&out, 6, &err)
           && output_file_write_at(&out, 0, "abc", 3, &err) && output_file_sync(&out, &err);
    output_file_abandon(&out);
    check(ok && holds(&f, "x", "abc"), "an abandoned one stays", "%s", err.message);
    check(!output_file_create_in_place(&out, path, &err)
              && strstr(err.message, "x: cannot create: File exists"),
          "what is there is not created again", "%s", err.message);
    check(!output_file_reopen(&out, path, 5, &err)
              && strstr(err.message, "x: has 6 bytes, the interrupted run's has 5"),
          "one of another size is refused", "%s", err.message);
    ok = output_file_reopen(&out, path, 6, &err) && output_file_read_at(&out, 0, text, 6, &err)
      && memcmp(text, "abc\0\0", 6) == 0 && output_file_write_at(&out, 3, "def", 3, &err)
      && !output_file_read_at(&out, 4, text, 3, &err)
      && strstr(err.message, "x: cannot read: it ends early") && output_file_commit(&out, &err);
    check(ok && holds(&f, "x", "abcdef"), "one of the right size is gone on with", "%s",
          err.message);
    symlink("x", folder_path(&f, "link"));
    check(!output_file_reopen(&out, folder_path(&f, "link"), 6, &err)
              && strstr(err.message, "link: cannot open"),
          "a link in its place is none", "%s", err.message);
    check(!output_file_reopen(&out, folder_path(&f, "gone"), 6, &err)
              && strstr(err.message, "gone: cannot open"),
          "nor is nothing", "%s", err.message);
    folder_remove(&f);
}

/* Rights of a file that is replaced stay; a device is written through, not replaced. */
static void test_kept(void)
{
    struct folder f = folder_make();
    struct output_file out;
    struct error err = { 0 };
    struct stat st;
    folder_write_text(&f, "x", "old");
    chmod(folder_path(&f, "x"), 0640);
    bool ok = output_file_write(folder_path(&f, "x"), "new", 3, &err)
           && stat(folder_path(&f, "x"), &st) == 0;
    check(ok && (st.st_mode & 0777) == 0640 && holds(&f, "x", "new"), "the rights stay", "%o",
          (unsigned)st.st_mode & 0777);
    mkfifo(folder_path(&f, "fifo"), 0666);
    int reader = open(folder_path(&f, "fifo"), O_RDONLY | O_NONBLOCK);
    char text[8] = "";
    ok = output_file_create(&out, folder_path(&f, "fifo"), &err)
      && output_file_write_at(&out, 2, "cd", 2, &err)
      && output_file_write_at(&out, 0, "ab", 2, &err);
    bool early = read(reader, text, 4) > 0;
    ok = ok && output_file_commit(&out, &err) && read(reader, text, 8) == 4
      && strcmp(text, "abcd") == 0;
    check(ok && !early && stat(folder_path(&f, "fifo"), &st) == 0 && S_ISFIFO(st.st_mode),
          "a FIFO gets all bytes in order, at the end", "'%s' %s", text, err.message);
    close(reader);
    folder_remove(&f);
}

int main(void)
{
    test_whole(true);
    test_whole(false);
    test_refusals();
    test_try();
    test_in_place();
    test_kept();
    return check_done();
}
