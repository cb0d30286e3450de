/* output_folder.h - a folder that appears under its name only when it is complete.
 *
 *     OUT.partial/            under construction; locked (flock) by the process that builds it
 *         surprisal-state.json    the mark: the folder is ours, and this is being built
 *         ...                     files of the caller
 *     OUT                     the same folder, renamed, without the mark
 *
 * OUT.partial appears with its mark in it, in one step: a folder without a mark is somebody else's,
 * and nothing in it is touched.  A folder that an interrupted process left is taken over; the
 * caller decides what to keep.
 *
 * The commit makes the names in the folder durable, removes the caller's state, moves the mark out
 * of the folder, renames the folder, makes that durable, and removes the mark.  A process killed in
 * between leaves the mark beside the complete folder; the next process that takes the folder over
 * moves it back. */
#ifndef SURPRISAL_BASE_OUTPUT_FOLDER_H
#define SURPRISAL_BASE_OUTPUT_FOLDER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/input_files.h"
#include "base/progress.h"

/* Zero-initialise.  After a successful begin call output_folder_end, also after a failed commit. */
struct output_folder {
    char *path;                 /* owned: OUT */
    char *building;             /* owned: OUT.partial; NULL: not begun, or ended */
    const char *kind;           /* what is built: "run", "checkpoint", "comparison" */
    cJSON *mark;                /* owned: content of the mark */
    bool taken_over;            /* from an interrupted process */
    int lock;                   /* descriptor of the folder; -1: none */
};

/* What to build. */
struct output_request {
    const char *path, *kind;
    const struct input_files *inputs;   /* NULL: none */
    const struct progress *progress;    /* for warnings; may be NULL */
    bool resume;                        /* continue an interrupted one */
};

/* Creates OUT.partial, or takes over an existing one.  Refuses OUT if it exists; OUT or OUT.partial
 * if it is an input, holds one or lies in one; and an OUT.partial without our mark, of another
 * kind, or in use by another process.  A file system without locks cannot tell whether that process
 * is dead: then the folder is taken over for `resume` only. */
bool output_folder_begin(struct output_folder *f, const struct output_request *request,
                         struct error *err);
/* Creates a nameless folder in `parent` for the duration of a job: it is never taken over, and a
 * sweep removes it if this process dies. */
bool output_folder_scratch(struct output_folder *f, const char *parent, const char *kind,
                           const struct progress *progress, struct error *err);

/* Replaces the content of the mark.  f takes ownership of `content`, an object, also on failure. */
bool output_folder_mark(struct output_folder *f, cJSON *content, struct error *err);
/* A member of the mark; NULL when there is none. */
const char *output_folder_marked(const struct output_folder *f, const char *key);

/* Which names in the folder ("a/b"; of a folder "a/") belong to the thing being built? */
struct output_names {
    bool (*is_ours)(void *user, const char *name);
    bool (*is_kept)(void *user, const char *name);      /* asked of ours; NULL: none */
    void *user;
};

/* Removes what is ours and not kept.  If anything is not ours, removes nothing and names it in the
 * error.  The mark and temporaries are ours without asking. */
bool output_folder_clear(const struct output_folder *f, const struct output_names *names,
                         struct error *err);
/* Creates a folder and its missing parents. */
bool output_folder_make(const char *path, struct error *err);
/* The free space of the file system that holds `folder`. */
bool output_folder_space(size_t *bytes, const char *folder, struct error *err);

/* Gives the folder its name.  state: a file to remove before, NULL: none.  If the rename fails, all
 * files stay, and the error says where. */
bool output_folder_commit(struct output_folder *f, const char *state, struct error *err);
/* Removes the folder; if something in it is not ours, removes only what is ours. */
void output_folder_discard(struct output_folder *f, const struct output_names *names);
/* Releases the folder; its files stay. */
void output_folder_end(struct output_folder *f);

#endif
