/* checkpoint.h - a checkpoint, whatever its container: settings, and tensors under the model's
 * names.
 *
 * A container is read by a checkpoint_reader.  The first one that recognises a path reads it
 * (gguf_reader.h, safetensors_folder.h).  A reader translates: a container that has other names
 * gives each tensor the name that the model has for it (FORMATS); one that stores heads in another
 * order, norms as 1 + w or A_log as -exp(A_log) says so in the tensor (row_order, col_order,
 * one_added, is_rate); one that has its settings elsewhere makes a config.json of them.  Headers
 * are read, data only mapped. */
#ifndef SURPRISAL_FORMATS_CHECKPOINT_H
#define SURPRISAL_FORMATS_CHECKPOINT_H

#include "base/digest.h"
#include "base/input_files.h"
#include "base/progress.h"
#include "formats/config.h"
#include "formats/download.h"
#include "formats/safetensors.h"

struct checkpoint_reader;

/* A tensor that is named, and that no file has. */
struct absent_tensor {
    char *name;                         /* owned */
    const char *file;                   /* where it was looked for; NULL: that file is not there */
};

struct checkpoint {
    const struct checkpoint_reader *reader;
    char *path;                         /* owned: as given */
    char *folder;                       /* owned: that it is in; the path, unless that is a file */
    /* What the reader fills. */
    cJSON *config_json;                 /* owned: the whole config.json; NULL: none could be read */
    char *config_path;                  /* owned: what messages call it */
    char *quantization_path;            /* owned: of the file whose quantization_config was added to
                                           config_json (quantization_file.h); NULL: none was */
    struct digest config_digest;        /* SHA-256 of its bytes */
    struct safetensors_file *files;     /* owned [n_files]: each file with all that it holds */
    size_t n_files;
    const struct tensor **tensors;      /* owned [n_tensors]; sorted by name; borrow from files */
    size_t n_tensors;
    size_t n_stale;                     /* in the files, but not of the checkpoint */
    char *names;                        /* owned: of tensors that were translated (names.h); NULL:
                                           none */
    /* Then: what stood before these names.  Borrow from files, without a NUL at their ends. */
    const char *body_prefix, *head_prefix;
    size_t n_body_prefix, n_head_prefix;
    struct tensor *split;               /* owned: experts that a file stacks (mlx_layout.h) */
    char *split_names;                  /* owned */
    struct absent_tensor *absent;       /* owned [n_absent] */
    size_t n_absent, absent_capacity;
    struct buffer notes; /* owned: a line for each choice that the files leave open */
    char revision[DOWNLOAD_REVISION_DIGITS + 1];    /* of the hub; "": not known */
    bool is_partial;                    /* a file cannot be read; only where faults are collected */
    void *own;                          /* of the reader, which frees it */
    /* What checkpoint_open makes of it. */
    struct config config;               /* owned */
    bool has_config;                    /* false only where faults are collected */
};

/* ---- opening ---------------------------------------------------------------------- */

/* Refuses a checkpoint at its first fault. */
bool checkpoint_open(struct checkpoint *ck, const char *path, struct error *err);
void checkpoint_close(struct checkpoint *ck);
/* Lists what checkpoint_open reads (base/input_files.h): the path and the files that it reads
 * whole, before it is opened; */
bool checkpoint_list_folder(struct input_files *in, const char *path, struct error *err);
/* and then the files of weights, as they were when they were opened. */
bool checkpoint_list_weights(struct input_files *in, const struct checkpoint *ck,
                             struct error *err);
/* Gives the folder of a checkpoint: its path, unless that is a file in it. */
char *checkpoint_folder(const char *path, struct error *err);
/* Gives the path of the checkpoint's own tokenizer.json. */
char *checkpoint_tokenizer(const char *path, struct error *err);

/* The file whose mapping data points into; NULL when there is none. */
const struct mapped_file *checkpoint_file_of(const struct checkpoint *ck, const uint8_t *data);
/* The config's quantization_config, at its root or in text_config; NULL when there is none. */
const cJSON *checkpoint_quantization(const struct checkpoint *ck);
/* By its full name; NULL when there is none. */
const struct tensor *checkpoint_find(const struct checkpoint *ck, const char *name);
/* Refuses a tensor whose bytes alone do not say what it is: heads in another order, or 1 + w. */
bool checkpoint_check_bytes(const struct checkpoint *ck, struct error *err);

/* ---- faults ----------------------------------------------------------------------- */

enum checkpoint_fault {
    CHECKPOINT_CONFIG,     /* cannot be used */
    CHECKPOINT_INDEX_ROW,  /* nor can the index, or a row of it */
    CHECKPOINT_NO_FILE,    /* `file` is not there; the index places n tensors in it */
    CHECKPOINT_UNREADABLE, /* `file` */
    CHECKPOINT_NO_TENSOR,  /* not in `file`, where it is looked for, but in `other` */
    CHECKPOINT_ABSENT, /* n tensors that nothing here uses, `tensor` the first, are in no file */
    CHECKPOINT_STALE_INDEX, /* names files that are not there; another file is read instead */
    CHECKPOINT_CHOICE,      /* between two models in the folder; harmless */
    CHECKPOINT_TWICE,       /* in `file` and in `other` */
    CHECKPOINT_LOST,        /* with a file that a fault has named; no tensor: any may be */
    CHECKPOINT_TOTAL,       /* of bytes, is not what the index says; harmless */
    CHECKPOINT_FAULTS
};

/* What a fault is about; NULL where there is no such thing. */
struct checkpoint_place {
    const char *file, *tensor, *other;
    size_t n;
};

/* Where faults go.  why is what refuses the checkpoint; add() returns false to stop, having set
 * err. */
struct checkpoint_faults {
    bool (*add)(void *user, enum checkpoint_fault fault, const struct checkpoint_place *at,
                const struct error *why, struct error *err);
    void *user;
};

/* Without faults the first one is the error.  With them all are reported, and the checkpoint is
 * what can be read of it; more is looked at: files that nothing names, and what is wrong but
 * harmless.  The lack of memory or descriptors is an error in any case.  reader NULL: the one that
 * recognises the path. */
bool checkpoint_open_with(struct checkpoint *ck, const char *path,
                          const struct checkpoint_reader *reader,
                          const struct checkpoint_faults *faults, struct error *err);

/* ---- readers ----------------------------------------------------------------------- */

struct checkpoint_reader {
    const char *name;
    bool is_self_described;     /* a file says all of its model: how each tensor is stored, which
                                   parts there are; files beside it may be of other models */
    bool (*recognises)(const char *path);       /* which exists */
    char *(*folder)(const char *path, struct error *err); /* gives ck->folder; NULL: the path */
    /* Fills what struct checkpoint says; tensors in any order.  Frees nothing after a failure. */
    bool (*open)(struct checkpoint *ck, const struct checkpoint_faults *faults, struct error *err);
    void (*close)(struct checkpoint *ck);       /* of ck->own; NULL: there is none */
    bool (*list)(struct input_files *in, const char *folder, struct error *err);
    char *(*tokenizer)(const char *folder, struct error *err);
};

/* Reports a fault: false when it is the error, or when the sink says so. */
static inline bool checkpoint_fault_add(const struct checkpoint_faults *faults,
                                        enum checkpoint_fault fault,
                                        const struct checkpoint_place *at,
                                        const struct error *why, struct error *err)
{
    if (faults && !why->lacking)
        return faults->add(faults->user, fault, at, why, err);
    if (err)
        *err = *why;
    return false;
}

#endif
