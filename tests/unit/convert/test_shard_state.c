/* Which work an interrupted folder is of, and which of its shards are complete. */
#include "convert/shard_state.h"

#include <fcntl.h>

#include "tests/check.h"
#include "tests/unit/formats/fake.h"

#define SHARD "model-00001-of-00001.safetensors"

/* A checkpoint, a layout of one tensor, and a folder under construction beside it. */
struct place {
    struct fake fake;
    struct opened *from;
    struct weight_list modules;
    struct layout layout;
    struct folder to;
    struct output_folder folder;
    struct work work;
};

static bool begin(struct place *p, struct error *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/out", p->to.path);
    return output_folder_begin(&p->folder,
                               &(struct output_request){ .path = path, .kind = "checkpoint" }, err);
}

static struct place *make_place(void)
{
    struct place *p = calloc(1, sizeof *p);
    struct error err = { 0 };
    p->fake = fake_dense();
    p->from = open_fake(&p->fake);
    p->to = folder_make();
    struct task task = { .action = TASK_COPY };
    bool ok = p->from->ok && weight_list_of_model(&p->modules, &p->from->ck, &p->from->w, &err);
    task.module = p->modules.list;
    ok = ok
      && layout_add_tensor(&p->layout, &task.tensor, "t", 1, "", DTYPE_BF16, 1,
                           (const size_t[]){ 8 }, &err)
      && layout_add_task(&p->layout, &task, &err) && layout_finish(&p->layout, 1000, &err)
      && begin(p, &err);
    if (!ok) {
        fprintf(stderr, "%s%s\n", p->from->err.message, err.message);
        exit(1);
    }
    p->work = (struct work){ &p->from->ck, &p->layout, "{}", { { 7 } } };
    return p;
}

static void place_free(struct place *p)
{
    output_folder_end(&p->folder);
    layout_free(&p->layout);
    weight_list_free(&p->modules);
    close_fake(p->from);
    folder_remove(&p->to);
    free(p);
}

/* As a process that ends, and one that begins. */
static void again(struct place *p)
{
    struct error err = { 0 };
    output_folder_end(&p->folder);
    if (!begin(p, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

static char *shard_path(const struct place *p)
{
    return file_join(p->folder.building, SHARD, NULL);
}

/* ---- the work ------------------------------------------------------------------------- */

enum change {
    NONE,
    CONFIG,
    SETTINGS,
    NAME,
    SIZE,
    SHARD_NUMBER,
    DTYPE,
    ACTION,
    OFFSET,
    TIME,
    TOUCHED_BACK
};

static void change(struct place *p, enum change change)
{
    static char other[] = "u";
    struct new_tensor *t = p->layout.tensors;
    const char *weights = folder_path(&p->from->folder, "model.safetensors");
    struct stat st;
    stat(weights, &st);
    const struct timespec now[2] = { { 5, 0 }, { 5, 0 } }, old[2] = { st.st_atim, st.st_mtim };
    switch (change) {
    case NONE:          break;
    case CONFIG:        p->work.config = "{ }"; break;
    case SETTINGS:      p->work.settings.bytes[31] = 1; break;
    case NAME:          free(t->name); t->name = strdup(other); break;
    case SIZE:          t->n_bytes++; break;
    case SHARD_NUMBER:  t->shard++; break;
    case DTYPE:         t->entry.dtype = DTYPE_F16; break;
    case ACTION:        p->layout.tasks->action = TASK_EXPAND; break;
    case OFFSET:        p->layout.tasks->offset = 2; break;
    case TIME:          utimensat(AT_FDCWD, weights, now, 0); break;
    case TOUCHED_BACK:
        utimensat(AT_FDCWD, weights, now, 0);
        utimensat(AT_FDCWD, weights, old, 0);
        break;
    }
}

static void test_work(void)
{
    static const struct { const char *name; enum change change; bool same; } cases[] = {
        { "the same work is gone on with", NONE, true },
        { "another config", CONFIG, false }, { "other settings", SETTINGS, false },
        { "a tensor of another name", NAME, false }, { "of another size", SIZE, false },
        { "in another shard", SHARD_NUMBER, false }, { "of another dtype", DTYPE, false },
        { "another thing to do", ACTION, false }, { "at another place", OFFSET, false },
        { "weights of another time", TIME, false },
        { "weights that have their old time again", TOUCHED_BACK, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct place *p = make_place();
        struct shard_state s = { &p->folder, 2 };
        struct error err = { 0 };
        bool ok = shard_state_open(&s, &p->work, true, &err);
        char *path = shard_path(p);
        ok = ok && output_file_write(path, "bytes", 5, &err)
          && shard_state_add(&s, SHARD, path, false, &err);
        again(p);
        change(p, cases[i].change);
        bool same = ok && shard_state_open(&s, &p->work, true, &err);
        check(
            ok && same == cases[i].same
                && (same
                        ? shard_state_holds(&s, SHARD, path)
                        : strstr(
                              err.message,
                              "out.partial: is of another checkpoint, other settings"
                              " or another version")
                              != NULL),
            cases[i].name, "'%s'", err.message);
        free(path);
        place_free(p);
    }
}

/* Without --resume an interrupted run is refused, unless it had come to nothing. */
static void test_resume(void)
{
    static const struct { const char *name; bool shard, other_work, resume, taken; } cases[] = {
        { "a shard, and no --resume", true, false, false, false },
        { "a shard, and --resume", true, false, true, true },
        { "no shard, and no --resume", false, false, false, true },
        { "no shard, of other work: begins anew", false, true, true, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct place *p = make_place();
        struct shard_state s = { &p->folder, 1 };
        struct error err = { 0 };
        char *path = shard_path(p);
        bool ok = shard_state_open(&s, &p->work, false, &err)
               && (!cases[i].shard || (output_file_write(path, "bytes", 5, &err)
                                       && shard_state_add(&s, SHARD, path, false, &err)));
        again(p);
        change(p, cases[i].other_work ? CONFIG : NONE);
        bool taken = shard_state_open(&s, &p->work, cases[i].resume, &err);
        check(ok && taken == cases[i].taken
                  && (taken
                      || strstr(err.message,
                                "out.partial: holds an interrupted run; --resume goes on with it")),
              cases[i].name, "'%s'", err.message);
        free(path);
        place_free(p);
    }
}

/* ---- shards ----------------------------------------------------------------------------- */

enum damage { WHOLE, OTHER_BYTE, SHORTER, GONE, LINK, FOLDER };

static void damage(const char *path, enum damage damage)
{
    char moved[256];
    snprintf(moved, sizeof moved, "%s.moved", path);
    if (damage == OTHER_BYTE)
        output_file_write(path, "bytez", 5, NULL);
    if (damage == SHORTER && truncate(path, 4) != 0)
        exit(1);
    if (damage == GONE || damage == FOLDER)
        unlink(path);
    if (damage == FOLDER)
        mkdir(path, 0777);
    if (damage == LINK && (rename(path, moved) != 0 || symlink(moved, path) != 0))
        exit(1);
}

static void test_shards(void)
{
    static const struct {
        const char *name; enum damage damage; const char *asked; bool holds;
    } cases[] = {
        { "a shard as it was", WHOLE, SHARD, true }, { "one byte is another", OTHER_BYTE, SHARD,
          false },
        { "a shorter one", SHORTER, SHARD, false }, { "none", GONE, SHARD, false },
        { "a link to the very bytes", LINK, SHARD, false }, { "a folder", FOLDER, SHARD, false },
        { "a shard that was never complete", WHOLE, "model-00002-of-00002.safetensors", false },
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        bool is_last = i % 2;           /* by its stamp, else by its digest */
        struct place *p = make_place();
        struct shard_state s = { &p->folder, 2 };
        struct error err = { 0 };
        char *path = shard_path(p), name[128];
        bool ok = shard_state_open(&s, &p->work, false, &err)
               && output_file_write(path, "old", 3, &err)
               && shard_state_add(&s, SHARD, path, is_last, &err)
               && output_file_write(path, "bytes", 5, &err)
               && shard_state_add(&s, SHARD, path, is_last, &err);      /* the last word counts */
        damage(path, cases[i / 2].damage);
        snprintf(name, sizeof name, "%s%s", cases[i / 2].name, is_last ? " (the last one)" : "");
        check(ok && shard_state_holds(&s, cases[i / 2].asked, path) == cases[i / 2].holds
                  && cJSON_GetArraySize(shard_state_known(&s)) == 1,
              name, "'%s'", err.message);
        free(path);
        place_free(p);
    }
}

static void test_regular(void)
{
    struct folder f = folder_make();
    size_t bytes = 7;
    folder_write_text(&f, "x", "123");
    symlink("x", folder_path(&f, "link"));
    check(shard_state_is_file(folder_path(&f, "x"), &bytes) && bytes == 3, "a file and its size",
          "%zu", bytes);
    check(!shard_state_is_file(folder_path(&f, "link"), &bytes)
              && !shard_state_is_file(f.path, &bytes)
              && !shard_state_is_file(folder_path(&f, "gone"), &bytes),
          "no link, folder or nothing is one", "it is");
    char hex[2 * DIGEST_BYTES + 1];
    struct error err = { 0 };
    check(!shard_state_digest(hex, folder_path(&f, "gone"), 1, &err)
              && strstr(err.message, "gone: No such file"),
          "nothing has no digest", "'%s'", err.message);
    folder_remove(&f);
}

int main(void)
{
    test_work();
    test_resume();
    test_shards();
    test_regular();
    return check_done();
}
