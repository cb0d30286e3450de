/* A folder appears complete or not at all, and only what is ours is taken over or removed. */
#include "base/output_folder.h"

#include "base/json.h"
#include "base/temporary.h"
#include "tests/check.h"
#include "tests/unit/formats/folder.h"

/* "a b c" of all that is in the folder and below; temporaries as "TMP". */
static const char *names_in(const struct folder *f)
{
    static char text[512];
    char **names;
    size_t n, used = 0;
    text[0] = '\0';
    file_list_below(&names, &n, f->path, NULL);
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "",
                                 temporary_is_name(names[i]) ? "TMP" : names[i]);
    file_list_free(names, n);
    return text;
}

static bool begin(struct output_folder *o, const struct folder *f, const char *name,
                  struct error *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return output_folder_begin(o, &(struct output_request){ .path = path, .kind = "run" }, err);
}

static void write_below(const struct output_folder *o, const char *name)
{
    char *path = file_join(o->building, name, NULL);
    output_file_write(path, "x", 1, NULL);
    free(path);
}

/* ---- from begin to end -------------------------------------------------------------- */

enum end { COMMIT, LEAVE, DISCARD, DISCARD_WITH_OTHERS };

static bool is_ours(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "data") == 0 || strcmp(name, "state") == 0 || strcmp(name, "sub/") == 0
        || strcmp(name, "sub/data") == 0;
}

static bool is_kept(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "data") == 0;
}

static const struct output_names ours = { is_ours, NULL, NULL };
static const struct output_names ours_kept = { is_ours, is_kept, NULL };

static void test_ends(void)
{
    static const struct { const char *name; enum end end; const char *left; } cases[] = {
        { "committed: without state and mark", COMMIT, "out/data" },
        { "left: under construction, with its mark", LEAVE,
          "out.partial/data out.partial/state out.partial/" OUTPUT_MARK },
        { "discarded: nothing", DISCARD, "" },
        { "discarded with other things in it: those, and the mark", DISCARD_WITH_OTHERS,
          "out.partial/" OUTPUT_MARK " out.partial/theirs" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder f = folder_make();
        struct output_folder o;
        struct error err = { 0 };
        bool ok = begin(&o, &f, "out", &err) && !o.taken_over;
        check(ok && strcmp(names_in(&f), "out.partial/" OUTPUT_MARK) == 0,
              "begun: a mark from the first moment", "%s %s", names_in(&f), err.message);
        write_below(&o, "data");
        write_below(&o, "state");
        if (cases[i].end == DISCARD_WITH_OTHERS)
            write_below(&o, "theirs");
        char *state = file_join(o.building, "state", NULL);
        if (cases[i].end == COMMIT)
            ok = ok && output_folder_commit(&o, state, &err);
        else if (cases[i].end == LEAVE)
            output_folder_end(&o);
        else
            output_folder_discard(&o, &ours);
        check(ok && strcmp(names_in(&f), cases[i].left) == 0 && !o.building && !o.mark
                  && o.lock == -1,
              cases[i].name, "%s, %s", names_in(&f), err.message);
        free(state);
        folder_remove(&f);
    }
}

/* ---- what stands there ------------------------------------------------------------------ */

/* mark: text of the mark in out.partial; NULL: no folder there, "": a folder without a mark. */
static const struct {
    const char *name, *path, *mark, *message;       /* message NULL: begun */
} places[] = {
    { "nothing there", "out", NULL, NULL },
    { "slashes at the end do not count", "out//", NULL, NULL },
    { "an interrupted run is taken over", "out", "{\"unfinished\":\"run\",\"work\":\"w\"}", NULL },
    { "something stands there", "file", NULL, "file: exists already, expected a new folder" },
    { "a folder stands there", "folder", NULL, "folder: exists already, expected a new folder" },
    { "a link to nothing stands there", "link", NULL, "link: exists already" },
    { "no name", "", NULL, "the name of the folder to write is empty" },
    { "no parent", "gone/out", NULL, "gone/out.partial: cannot create: No such file or directory" },
    { "a folder without a mark is somebody's", "out", "",
      "out.partial: was not left by surprisal" },
    { "a mark of another kind", "out", "{\"unfinished\":\"checkpoint\"}",
      "out.partial: holds an unfinished checkpoint, expected an unfinished run" },
    { "a mark that says nothing", "out", "{}", "holds an unfinished work of another version" },
    { "a mark that is no JSON", "out", "{", OUTPUT_MARK ": not valid JSON" },
};

static void test_places(void)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct folder f = folder_make();
        struct output_folder o;
        struct error err = { 0 };
        folder_write_text(&f, "file", "");
        mkdir(folder_path(&f, "folder"), 0777);
        symlink("nothing", folder_path(&f, "link"));
        if (places[i].mark) {
            mkdir(folder_path(&f, "out.partial"), 0777);
            if (places[i].mark[0])
                folder_write_text(&f, "out.partial/" OUTPUT_MARK, places[i].mark);
        }
        bool ok = places[i].path[0]
                    ? begin(&o, &f, places[i].path, &err)
                    : output_folder_begin(&o, &(struct output_request){ .path = "", .kind = "run" },
                                          &err);
        const char *message = places[i].message;
        check(message ? !ok && strstr(err.message, message) : ok, places[i].name, "'%s'",
              err.message);
        bool taken = ok && places[i].mark;
        if (ok)
            check(o.taken_over == taken && !output_folder_marked(&o, "unfinished")
                  && (!taken || strcmp(output_folder_marked(&o, "work"), "w") == 0),
                  "and what its mark says is known", "taken over %d", o.taken_over);
        output_folder_end(&o);
        folder_remove(&f);
    }
}

/* Two at a time, and a mark that is read again. */
static void test_lock_and_mark(void)
{
    struct folder f = folder_make();
    struct output_folder o, second;
    struct error err = { 0 };
    bool ok = begin(&o, &f, "out", &err);
    check(ok && !begin(&second, &f, "out", &err)
              && strstr(err.message, "out.partial: another run is writing it"),
          "one that is at work is not taken over", "'%s'", err.message);
    cJSON *content = cJSON_CreateObject();
    cJSON_AddStringToObject(content, "work", "1");
    ok = ok && output_folder_mark(&o, content, &err);
    cJSON_AddStringToObject(content, "more", "2");
    ok = ok && output_folder_mark(&o, content, &err);
    output_folder_end(&o);
    ok = ok && begin(&o, &f, "out", &err) && o.taken_over;
    check(ok && strcmp(output_folder_marked(&o, "work"), "1") == 0
              && strcmp(output_folder_marked(&o, "more"), "2") == 0
              && !output_folder_marked(&o, "other"),
          "a mark that was replaced says what it said last", "'%s'", err.message);
    output_folder_end(&o);
    check(!output_folder_mark(&o, NULL, &err) && strstr(err.message, "out of memory"),
          "a content that could not be made is an error", "'%s'", err.message);
    folder_remove(&f);
}

/* ---- clearing ------------------------------------------------------------------------------ */

static void test_clear(void)
{
    static const struct {
        const char *name;
        const struct output_names *names;
        const char *also, *left;    /* also: one more file */
    } cases[] = {
        { "all of ours goes, the mark stays", &ours, NULL, "out.partial/" OUTPUT_MARK },
        { "what is kept stays", &ours_kept, NULL, "out.partial/data out.partial/" OUTPUT_MARK },
        { "a temporary goes, too", &ours, ".surprisal-0123456789abcdef0123456789abcdef.tmp",
          "out.partial/" OUTPUT_MARK },
        { "something else: nothing goes", &ours, "theirs",
          "out.partial/data out.partial/sub/data out.partial/" OUTPUT_MARK " out.partial/theirs" },
        { "something else deeper: nothing goes", &ours, "sub/theirs",
          "out.partial/data out.partial/sub/data out.partial/sub/theirs out.partial/" OUTPUT_MARK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder f = folder_make();
        struct output_folder o;
        struct error err = { 0 };
        bool begun = begin(&o, &f, "out", &err);
        char *sub = file_join(o.building, "sub", NULL);
        begun = begun && output_folder_make(sub, &err);
        write_below(&o, "data");
        write_below(&o, "sub/data");
        if (cases[i].also)
            write_below(&o, cases[i].also);
        bool refused = cases[i].also && strstr(cases[i].also, "theirs");
        bool ok = output_folder_clear(&o, cases[i].names, &err);
        check(begun && ok == !refused && strcmp(names_in(&f), cases[i].left) == 0
              && (!refused || strstr(err.message, "theirs: was not left by surprisal; remove it")),
              cases[i].name, "%s, '%s'", names_in(&f), err.message);
        output_folder_end(&o);
        free(sub);
        folder_remove(&f);
    }
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void test_commit_fails(void)
{
    struct folder f = folder_make();
    struct output_folder o;
    struct error err = { 0 };
    bool ok = begin(&o, &f, "out", &err);
    mkdir(folder_path(&f, "out"), 0777);            /* meanwhile, by somebody else */
    check(ok && !output_folder_commit(&o, NULL, &err)
              && strstr(err.message,
                        "out: cannot rename to it: File exists; everything is complete in "),
          "a name that was taken meanwhile is not taken from its owner", "'%s'", err.message);
    output_folder_end(&o);
    check(strcmp(names_in(&f), "out.partial/" OUTPUT_MARK) == 0, "and the folder is as it was",
          "%s", names_in(&f));
    rmdir(folder_path(&f, "out"));
    ok = begin(&o, &f, "out", &err) && output_folder_commit(&o, NULL, &err);
    check(ok && file_is_directory(folder_path(&f, "out")) && names_in(&f)[0] == '\0',
          "until it gets its name", "'%s'", err.message);
    folder_remove(&f);
}

static void test_make_and_space(void)
{
    static const struct { const char *name, *path, *message; } cases[] = {
        { "folders one below the other", "a/b/c", NULL },
        { "some of which are there", "a/b/d", NULL },
        { "all of which are there", "a/b", NULL },
        { "a file among them", "file/x", "file: cannot create: File exists" },
        { "a file at the end", "a/file", "a/file: cannot create: File exists" },
    };
    struct folder f = folder_make();
    struct error err = { 0 };
    folder_write_text(&f, "file", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = folder_path(&f, cases[i].path);
        bool ok = output_folder_make(path, &err);
        check(cases[i].message ? !ok && strstr(err.message, cases[i].message)
                               : ok && file_is_directory(path),
              cases[i].name, "'%s'", err.message);
        if (i == 0)
            folder_write_text(&f, "a/file", "");
    }
    size_t bytes = 0;
    check(output_folder_space(&bytes, f.path, &err) && bytes > 0, "there is room", "%zu, '%s'",
          bytes, err.message);
    check(!output_folder_space(&bytes, folder_path(&f, "gone"), &err)
              && strstr(err.message, "gone: cannot tell its free space"),
          "of no folder nobody knows", "'%s'", err.message);
    folder_remove(&f);
}

static void test_scratch(void)
{
    struct folder f = folder_make();
    struct output_folder o;
    struct error err = { 0 };
    bool ok = output_folder_scratch(&o, f.path, "job", NULL, &err);
    check(ok && temporary_is_name(strrchr(o.building, '/') + 1) && !o.path,
          "a folder for a job has no name", "%s", err.message);
    output_folder_discard(&o, &ours);
    check(rmdir(f.path) == 0, "and is gone after it", "%s", names_in(&f));
    check(!output_folder_scratch(&o, f.path, "job", NULL, &err)
              && strstr(err.message, ": cannot create a temporary folder: No such file"),
          "none in a folder that is not"
          " there",
          "'%s'", err.message);
    folder_remove(&f);
}

int main(void)
{
    test_ends();
    test_places();
    test_lock_and_mark();
    test_clear();
    test_commit_fails();
    test_make_and_space();
    test_scratch();
    return check_done();
}
