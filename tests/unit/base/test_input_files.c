/* What a job reads is not written over, and a change of it is found. */
#include "base/input_files.h"

#include <fcntl.h>

#include "tests/check.h"
#include "tests/unit/formats/folder.h"

/* in/a.json, in/deep/b.txt, in/deep/deeper/c.txt, in/program, other/x; alias -> in */
static struct folder make(void)
{
    struct folder f = folder_make();
    static const char *const folders[] = { "in", "in/deep", "in/deep/deeper", "other" };
    static const char *const files[] = { "in/a.json", "in/deep/b.txt", "in/deep/deeper/c.txt",
                                         "in/program", "other/x" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        mkdir(folder_path(&f, folders[i]), 0777);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        folder_write_text(&f, files[i], "text");
    symlink("in", folder_path(&f, "alias"));
    return f;
}

/* ---- what is listed --------------------------------------------------------------- */

static void test_listed(void)
{
    static const struct { const char *name, *path; bool by_names; size_t n, folders; } cases[] = {
        { "a file", "in/a.json", false, 1, 0 },
        { "a folder is itself alone", "in", false, 1, 1 },
        { "nothing", "gone", false, 0, 0 },
        { "a device is neither file nor folder", "/dev/null", false, 0, 0 },
        { "by names: a folder, its data, and that of the folders in it", "in", true, 5, 3 },
        { "by names: a link to a folder as the folder", "alias", true, 5, 3 },
        { "by names: a file that is named counts whatever it is called", "in/program", true, 1, 0 },
    };
    struct folder f = make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct input_files in = { 0 };
        struct error err = { 0 };
        const char *path = cases[i].path[0] == '/' ? cases[i].path : folder_path(&f, cases[i].path);
        bool ok = cases[i].by_names ? input_files_add_names(&in, path, &err)
                                    : input_files_add(&in, path, &err);
        size_t folders = 0;
        for (size_t j = 0; j < in.n; j++)
            folders += in.list[j].is_folder;
        check(ok && in.n == cases[i].n && folders == cases[i].folders, cases[i].name,
              "%zu, of them %zu folders", in.n, folders);
        input_files_free(&in);
    }
    struct input_files in = { 0 }, all = { 0 };
    bool ok = input_files_add(&in, NULL, NULL) && input_files_add(&in, "-", NULL) && in.n == 0
           && input_files_add_in(&in, f.path, "other/x", NULL) && in.n == 1
           && input_files_add_all(&all, &in, NULL) && input_files_add_all(&all, &in, NULL)
           && all.n == 2;
    check(ok, "NULL and standard input are none; lists are added", "%zu, %zu", in.n, all.n);
    input_files_free(&in);
    input_files_free(&all);
    folder_remove(&f);
}

/* ---- refusals ----------------------------------------------------------------------- */

static void test_refusals(void)
{
    static const struct {
        const char *name, *input, *output; bool folder; const char *message;
    } cases[] = {
        { "a file that is no input", "in/a.json", "other/x", false, NULL },
        { "a new file beside it", "in/a.json", "in/new", false, NULL },
        { "an input", "in/a.json", "in/a.json", false, "is an input (" },
        { "an input by another way", "in/a.json", "alias/a.json", false, "is an input (" },
        { "a new folder elsewhere", "in", "other/new", true, NULL },
        { "a new folder beside an input file", "in/a.json", "in/new", true, NULL },
        { "a folder in an input folder", "in", "in/new", true, ": lies in " },
        { "deeper in it, by another way", "in", "alias/deep/new", true, ": lies in " },
        { "the input folder itself", "in", "alias", true, ", from which it is made" },
        { "a folder that holds an input file", "in/deep/b.txt", "in", true, ": holds " },
        { "a folder that holds an input folder", "in/deep/deeper", "in", true, ": holds " },
        { "a name that begins as the input's", "in", "in2", true, NULL },
    };
    struct folder f = make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct input_files in = { 0 };
        struct error err = { 0 };
        bool ok = input_files_add(&in, folder_path(&f, cases[i].input), &err);
        const char *output = folder_path(&f, cases[i].output);
        ok = ok && (cases[i].folder ? input_files_refuse_folder(&in, output, &err)
                                    : input_files_refuse(&in, output, output, &err));
        check(cases[i].message ? !ok && strncmp(err.message, output, strlen(output)) == 0
                                 && strstr(err.message, cases[i].message)
                               : ok, cases[i].name, "'%s'", err.message);
        input_files_free(&in);
    }
    check(input_files_refuse(NULL, "/", "/", NULL) && input_files_refuse_folder(NULL, "/", NULL),
          "no inputs refuse nothing", "refused");
    folder_remove(&f);
}

/* ---- changes ------------------------------------------------------------------------ */

enum change { NONE, READ, TOUCHED, LONGER, REPLACED, GONE, CHMOD, OLD_TIME };

static void change(const char *path, enum change change)
{
    struct stat st;
    char other[300];
    snprintf(other, sizeof other, "%s.other", path);
    stat(path, &st);
    const struct timespec times[2] = { st.st_atim, st.st_mtim };
    FILE *file = change == LONGER ? fopen(path, "a") : change == OLD_TIME ? fopen(path, "r+")
               : change == READ ? fopen(path, "r") : NULL;
    if (change == READ)
        fgetc(file);
    else if (file)
        fputs("T", file);
    if (file)
        fclose(file);
    if (change == TOUCHED)
        utimensat(AT_FDCWD, path, (const struct timespec[]){ { 1, 0 }, { 1, 0 } }, 0);
    if (change == OLD_TIME)
        utimensat(AT_FDCWD, path, times, 0);
    if (change == REPLACED) {
        output_file_write(other, "text", 4, NULL);
        rename(other, path);
    }
    if (change == GONE)
        unlink(path);
    if (change == CHMOD)
        chmod(path, 0600);
}

static void count_warnings(void *user, const char *message)
{
    *(size_t *)user += strstr(message, "its bytes were hashed again and are the same") != NULL;
}

static bool says(void *user, const char *path, bool *same, struct error *err)
{
    (void)path, (void)err;
    *same = *(const bool *)user;
    return true;
}

static void test_changes(void)
{
    static const struct {
        const char *name; enum change change; const char *message; size_t warnings;
    } cases[] = {
        { "a file that stays", NONE, NULL, 0 },
        { "one that is read", READ, NULL, 0 },
        { "another time", TOUCHED, "(it has another time)", 0 },
        { "another size", LONGER, "(it has another size)", 0 },
        { "another file with the same bytes", REPLACED, "(another file has its name now)", 0 },
        { "no file", GONE, "(No such file or directory)", 0 },
        { "other rights, the same bytes", CHMOD, NULL, 1 },
        { "other bytes under the old time", OLD_TIME, "(it has other bytes under its old time)",
          0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder f = make();
        struct input_files in = { 0 };
        struct error err = { 0 };
        size_t warnings = 0;
        const struct progress progress = { .warn = count_warnings, .user = &warnings };
        bool ok = input_files_add(&in, folder_path(&f, "in"), &err)
               && input_files_add(&in, folder_path(&f, "in/a.json"), &err);
        usleep(20000);              /* more than the clock of a file system's times */
        change(folder_path(&f, "in/a.json"), cases[i].change);
        ok = ok && input_files_check(&in, NULL, &progress, &err);
        check(warnings == cases[i].warnings
              && (cases[i].message ? !ok && strstr(err.message, cases[i].message)
                                     && strstr(err.message, "in/a.json: was changed") : ok),
              cases[i].name, "'%s', %zu warnings", err.message, warnings);
        if (ok)
            check(input_files_check(&in, NULL, &progress, &err) && warnings == cases[i].warnings,
                  "and is warned about once", "%zu warnings", warnings);
        input_files_free(&in);
        folder_remove(&f);
    }
}

/* Of a mapped file the reader knows the bytes. */
static void test_mapped(void)
{
    static const struct { const char *name; bool asked, answer, ok; } cases[] = {
        { "nobody to ask: a new inode time is a change", false, false, false },
        { "the reader says that the bytes are others", true, false, false },
        { "the reader says that they are the same", true, true, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder f = make();
        struct input_files in = { 0 };
        struct error err = { 0 };
        struct mapped_file map;
        bool answer = cases[i].answer;
        const struct input_files_again again = { .same = says, .user = &answer };
        bool ok = file_map(&map, folder_path(&f, "in/a.json"), &err)
               && input_files_add_mapped(&in, &map, &err)
               && input_files_check(&in, NULL, NULL, &err);
        usleep(20000);
        change(folder_path(&f, "in/a.json"), CHMOD);
        check(
            ok && input_files_check(&in, cases[i].asked ? &again : NULL, NULL, &err) == cases[i].ok,
            cases[i].name, "'%s'", err.message);
        file_unmap(&map);
        input_files_free(&in);
        folder_remove(&f);
    }
}

static bool counts(void *user, const char *path, bool *same, struct error *err)
{
    (void)path, (void)err;
    ++*(size_t *)user;
    return *same = true;
}

/* Two files with new inode times, and one answer for both or one for each. */
static void test_asked_once(void)
{
    for (int of_all = 0; of_all < 2; of_all++) {
        struct folder f = make();
        struct input_files in = { 0 };
        struct error err = { 0 };
        struct mapped_file map;
        size_t asked = 0;
        const struct input_files_again again = { counts, &asked, of_all };
        bool ok = file_map(&map, folder_path(&f, "in/a.json"), &err)
               && input_files_add_mapped(&in, &map, &err)
               && input_files_add_mapped(&in, &map, &err);
        usleep(20000);
        change(folder_path(&f, "in/a.json"), CHMOD);
        check(ok && input_files_check(&in, &again, NULL, &err) && asked == (of_all ? 1 : 2),
              of_all ? "one answer holds for all" : "each file is asked about", "%zu, '%s'", asked,
              err.message);
        file_unmap(&map);
        input_files_free(&in);
        folder_remove(&f);
    }
}

int main(void)
{
    test_asked_once();
    test_listed();
    test_refusals();
    test_changes();
    test_mapped();
    return check_done();
}
