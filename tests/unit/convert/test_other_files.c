/* Which files of a checkpoint go along with the weights, which are left out and said, which are
 * refused. */
#include "convert/other_files.h"

#include "base/output_folder.h"
#include "base/temporary.h"
#include "formats/safetensors_folder.h"
#include "tests/check.h"
#include "tests/same_files.h"
#include "tests/unit/formats/fake.h"

/* One more thing in the folder of a checkpoint. */
enum what { A_FILE, LINK_TO_FILE, LINK_TO_NOTHING, LINK_TO_FOLDER, FIFO };

static const struct {
    const char *name, *path;
    enum what what;
    bool copied;
    const char *warning, *message;      /* NULL: none */
} cases[] = {
    { "a file", "README.md", A_FILE, true, NULL, NULL },
    { "a file below", "deep/er/x.txt", A_FILE, true, NULL, NULL },
    { "a hidden file", ".gitattributes", A_FILE, true, NULL, NULL },
    { "a hidden folder belongs to the copy at hand", ".git/config", A_FILE, false, NULL, NULL },
    { "only the index itself is the weights'", CHECKPOINT_INDEX ".old", A_FILE, true, NULL, NULL },
    { "the mark of a folder under construction", OUTPUT_MARK, A_FILE, false, NULL, NULL },
    { "a link to a file is the file", "link", LINK_TO_FILE, true, NULL, NULL },
    { "other weights", "other.safetensors", A_FILE, false,
      "other.safetensors: not copied: weights that the checkpoint "
      "does not use", NULL },
    { "other weights below", "deep/er.safetensors", A_FILE, false,
      "deep/er.safetensors: not copied: weights", NULL },
    { "a link to a folder", "link", LINK_TO_FOLDER, false, "link: not copied: a link to a folder",
      NULL },
    { "a link to nothing", "link", LINK_TO_NOTHING, false, NULL,
      "/link: No such file or directory" },
    { "a hidden link to nothing", ".link", LINK_TO_NOTHING, false,
      ".link: not copied: No such file", NULL },
    { "a FIFO", "fifo", FIFO, false, NULL, "/fifo: is not a regular file" },
    { "a hidden FIFO", ".fifo", FIFO, false, ".fifo: not copied: not a regular file", NULL },
};

static void lay(const struct folder *f, size_t i)
{
    const char *slash = strrchr(cases[i].path, '/');
    if (slash) {
        char *path = strdup(folder_path(f, cases[i].path));
        *strrchr(path, '/') = '\0';
        if (!output_folder_make(path, NULL))
            exit(1);
        free(path);
    }
    const char *path = folder_path(f, cases[i].path);
    if (cases[i].what == A_FILE)
        folder_write_text(f, cases[i].path, "some text");
    else if (cases[i].what == FIFO)
        mkfifo(path, 0666);
    else if (symlink(cases[i].what == LINK_TO_FILE     ? "config.json"
                     : cases[i].what == LINK_TO_FOLDER ? ".."
                                                       : "gone",
                     path))
        exit(1);
}

static void keep_warning(void *user, const char *message)
{
    struct buffer *b = user;
    buffer_printf(b, NULL, "%s\n", message);
}

static void test_case(size_t i)
{
    struct fake fake = fake_dense();
    struct folder f = fake_write(&fake), to = folder_make();
    struct checkpoint ck;
    struct buffer warnings = { 0 };
    struct other_files others;
    struct error err = { 0 };
    struct stat st;
    const struct progress progress = { .warn = keep_warning, .user = &warnings };
    buffer_append(&warnings, "", 0, NULL);
    bool opened = checkpoint_open(&ck, f.path, &err);       /* with one file of weights */
    lay(&f, i);
    char *from = strdup(folder_path(&f, cases[i].path));
    bool ok = opened && other_files_list(&others, &ck, &progress, &err);
    if (cases[i].message) {
        check(opened && !ok && strstr(err.message, cases[i].message), cases[i].name, "'%s'",
              err.message);
    } else {
        bool listed = ok && others.n == 1 && strcmp(others.names[0], cases[i].path) == 0;
        bool sized = !listed || (stat(from, &st) == 0 && others.bytes == (size_t)st.st_size);
        ok = ok && other_files_copy(&others, f.path, to.path, &progress, &err);
        const char *copy = folder_path(&to, cases[i].path);
        check(ok && listed == cases[i].copied && (listed || others.n == 0) && sized
                  && (cases[i].copied ? same_files(from, copy) : !file_exists(copy))
                  && (cases[i].warning ? strstr(warnings.data, cases[i].warning) != NULL
                                       : warnings.size == 0),
              cases[i].name, "listed %d of %zu, '%s', warned '%s'", listed, others.n, err.message,
              warnings.data);
        other_files_free(&others);
    }
    free(from);
    buffer_free(&warnings);
    checkpoint_close(&ck);
    folder_remove(&f);
    folder_remove(&to);
}

/* In order of their names, and stopped when asked. */
static bool stop(void *user, const char *stage, double done, double total, const char *unit)
{
    (void)stage, (void)unit;
    ((double *)user)[0] = done;
    ((double *)user)[1] = total;
    return false;
}

static void test_order_and_stop(void)
{
    struct fake fake = fake_dense();
    struct folder f = fake_write(&fake), to = folder_make();
    struct checkpoint ck;
    struct other_files others;
    struct error err = { 0 };
    double shares[2] = { 0 };
    folder_write_text(&f, "b", "12345");
    folder_write_text(&f, "a", "123");
    folder_write_text(&f, "C", "1");
    bool ok = checkpoint_open(&ck, f.path, &err) && other_files_list(&others, &ck, NULL, &err);
    check(ok && others.n == 3 && strcmp(others.names[0], "C") == 0
              && strcmp(others.names[2], "b") == 0 && others.bytes == 9,
          "names in order of bytes, and their sizes", "%zu bytes, '%s'", others.bytes, err.message);
    const struct progress progress = { .report = stop, .user = shares };
    check(ok && !other_files_copy(&others, f.path, to.path, &progress, &err) && err.interrupted
              && shares[0] == 1 && shares[1] == 9 && rmdir(to.path) == 0,
          "a copy that is stopped leaves no part of a file", "%g of %g, '%s'", shares[0], shares[1],
          err.message);
    other_files_free(&others);
    checkpoint_close(&ck);
    folder_remove(&f);
    folder_remove(&to);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(i);
    test_order_and_stop();
    return check_done();
}
