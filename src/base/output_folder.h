/* output_folder.h - a folder that appears under its name when it is complete.
 *
 *     OUT.partial/            under construction; locked (flock) by the process that builds it
 *         surprisal-state.json    the mark: says that the folder is ours, and what is being built
 *         ...                     what the caller writes
 *     OUT                     the same folder, renamed, without the mark
 *
 * OUT.partial appears with its mark in it, in one step: a folder without one is somebody else's, and
 * nothing in it is touched.  What an interrupted process left is taken over, and is the caller's to judge.
 *
 * The commit: names durable, the caller's state removed, the mark moved beside the folder, the folder
 * renamed, its parent durable, the mark removed.  A process killed in between leaves the mark beside the
 * complete folder, and the next one that takes the folder over moves it back. */
#ifndef SURPRISAL_BASE_OUTPUT_FOLDER_H
#define SURPRISAL_BASE_OUTPUT_FOLDER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/input_files.h"
#include "base/progress.h"

/* Zero-initialise; output_folder_end is due after a successful begin, also after a commit that failed. */
struct output_folder {
    char *path;                 /* owned: OUT */
    char *building;             /* owned: OUT.partial; NULL: not begun, or ended */
    const char *kind;           /* what is built: "run", "checkpoint", "comparison" */
    cJSON *mark;                /* owned: what the mark says */
    bool taken_over;            /* from an interrupted process */
    int lock;                   /* descriptor of the folder; -1: none */
};

/* What a caller builds. */
struct output_request {
    const char *path, *kind;
    const struct input_files *inputs;   /* NULL: none */
    const struct progress *progress;    /* of warnings; may be NULL */
    bool resume;                        /* go on with an interrupted one */
};

/* Refuses a path at which something stands; one that is, holds or lies in an input (so does
 * OUT.partial); an OUT.partial without our mark, of another kind, or at work.  Creates OUT.partial or
 * takes over the one that is there.  On a file system without locks one is taken over for `resume` only,
 * as nobody can tell whether its owner is dead. */
bool output_folder_begin(struct output_folder *f, const struct output_request *request,
                         struct error *err);
/* A folder for the time of a job, without a name: in `parent`, never taken over, removed when dead. */
bool output_folder_scratch(struct output_folder *f, const char *parent, const char *kind,
                           const struct progress *progress, struct error *err);

/* Replaces what the mark says: `content`, an object that this takes (also after a failure) and f owns. */
bool output_folder_mark(struct output_folder *f, cJSON *content, struct error *err);
/* Its member; NULL when there is none. */
const char *output_folder_marked(const struct output_folder *f, const char *key);

/* Does a name in the folder, "a/b", or of a folder in it "a/", come from what is built? */
struct output_names {
    bool (*is_ours)(void *user, const char *name);
    bool (*is_kept)(void *user, const char *name);      /* of ours; NULL: nothing is */
    void *user;
};

/* Removes what is ours and not kept.  What is not ours is refused by name before anything is touched.
 * Mark and temporaries are known here. */
bool output_folder_clear(const struct output_folder *f, const struct output_names *names,
                         struct error *err);
/* Creates a folder below, and those above it, where they are not there. */
bool output_folder_make(const char *path, struct error *err);
/* Bytes that can still be written where `folder` is. */
bool output_folder_space(size_t *bytes, const char *folder, struct error *err);

/* Gives the folder its name.  state: path of a file that goes first, NULL: none.  When it cannot be
 * renamed, all that was built stays, and the error says where. */
bool output_folder_commit(struct output_folder *f, const char *state, struct error *err);
/* Removes the folder.  When something in it is not ours only what is ours goes. */
void output_folder_discard(struct output_folder *f, const struct output_names *names);
/* Lets go of it; what was built stays. */
void output_folder_end(struct output_folder *f);

#endif
