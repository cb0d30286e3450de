/* weight.h - how one weight is stored.
 *
 * A weight is called by the full name of its plain tensor in the split layout: X.weight for a
 * linear layer X, P.experts.e.gate_proj.weight for a projection of expert e.  A file has it as
 *
 *     plain     the tensor of that name
 *     packed    several tensors X.<suffix>, as a row of the table in weight_format.c lists them
 *     fused     rows of a tensor of all experts: P.experts.gate_up_proj [E, 2I, D], for each expert
 *               the rows of gate and then those of up, or P.experts.down_proj [E, D, I]
 *
 * A new format is a row of that table, a value of enum dtype (base/matrix), where its bytes are
 * (kernels/stored) and how its rows expand (kernels/scalar_rows.c and rows.c).  A row lists the
 * tensors of a weight, codes first; the shape of each follows from the weight's [rows, cols], so a
 * format whose codes are transposed, or that has zeros or a second scale, is a row like the others.
 * A container whose blocks hold codes and scales together has formats of one tensor. */
#ifndef SURPRISAL_FORMATS_WEIGHT_H
#define SURPRISAL_FORMATS_WEIGHT_H

#include <string.h>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "formats/weight_format.h"
#include "formats/weight_kind.h"

/* A weight that a config asks for, whatever the files hold (formats/weights.h lists them). */
struct model_weight {
    const char *name;               /* of its plain tensor; the names are valid during the call */
    const char *module;             /* the same without ".weight" */
    const char *label;              /* its place in a layer: "self_attn.q_proj" */
    enum weight_kind kind;
    size_t layer, expert;
    size_t num_experts;             /* > 0: it is a projection of an expert, and may be fused */
    size_t rows, cols;              /* a vector has one row */
    size_t ndim, shape[3];          /* of the plain tensor */
    bool is_linear;                 /* may be packed or fused */
    bool is_output;                 /* only rows whose output is needed meet it (engine/cost.h) */
    bool may_be_absent;             /* a tied head */
    const char *hint;               /* for the message that it is missing; "" mostly */
    struct matrix *matrix;          /* where it is bound to; NULL: nothing is bound */
};

/* Linears, and the embedding. */
static inline bool weight_may_be_packed(const struct model_weight *x)
{
    return x->is_linear || x->kind == WEIGHT_EMBED_TOKENS;
}

/* As found in the files.  Borrows from the checkpoint. */
struct stored_weight {
    const struct tensor *parts[WEIGHT_PARTS];   /* [0]: values or codes; NULL: there is none */
    size_t n_parts;
    bool is_packed;
    bool is_fused;                  /* some rows of parts[0] */
    bool is_alone;                  /* no weight: a scale, say, without codes */
    bool is_whole;                  /* no fault in its tensors: the view may be read */
    bool is_float;                  /* and holds numbers that kernels can expand */
    size_t ndim, shape[TENSOR_MAX_DIMS];        /* of the weight, not of its codes */
    struct matrix view;             /* all dimensions but the last are rows */
    size_t n_bytes;                 /* at view.data */
};

/* ---- faults --------------------------------------------------------------------- */

enum weight_fault {
    WEIGHT_MISSING,                 /* no tensor of it */
    WEIGHT_INCOMPLETE,              /* one of its tensors is missing: `name` */
    WEIGHT_ALONE,                   /* a scale, say, without the codes `name` */
    WEIGHT_TWICE,
    WEIGHT_DTYPE,
    WEIGHT_SHAPE,
    WEIGHT_FAULTS
};

/* Where faults go.  add() returns false to stop, having set err.  Without one the first fault is
 * the error. */
struct weight_faults {
    bool (*add)(void *user, enum weight_fault fault, const struct tensor *t, const char *name,
                const char *text, struct error *err);
    void *user;
};

/* Reports a fault of a tensor, or (t NULL) of a weight that has none; text goes after its name. */
__attribute__((format(printf, 7, 8)))
bool weight_fault_add(const struct weight_faults *faults, const struct checkpoint *ck,
                      enum weight_fault fault, const struct tensor *t, const char *name,
                      struct error *err, const char *format, ...);

/* The error that a fault is where nothing collects them; always false. */
bool weight_fault_refuse(const struct checkpoint *ck, const struct tensor *t, const char *name,
                         const char *text, struct error *err);

/* ---- one weight ------------------------------------------------------------------- */

/* Finds a weight of the model and checks each of its tensors against the shape that the config asks
 * for.  out->n_parts == 0: it is not there, and may be absent.  False when a fault stopped it. */
bool weight_find(struct stored_weight *out, const struct checkpoint *ck,
                 const struct model_weight *expected, const struct weight_faults *faults,
                 struct error *err);

/* ---- all of a file -------------------------------------------------------------------- */

/* Calls take for each weight whose values or codes are in t: none for a scale whose codes are
 * there, all projections of all experts for a fused tensor.  The name is gone after the call. */
bool weights_of_tensor(const struct checkpoint *ck, const struct tensor *t,
                       bool (*take)(void *user, const char *name, const struct stored_weight *w,
                                    struct error *err),
                       void *user, const struct weight_faults *faults, struct error *err);

/* ---- names -------------------------------------------------------------------------- */

/* Where a projection of an expert has its rows in a fused tensor. */
struct fused_place {
    char *tensor; /* owned: its name; NULL: the weight is no expert's projection */
    size_t expert, part, parts;     /* which of how many parts of the expert's slab */
};
bool weight_fused_place(struct fused_place *place, const char *weight_name, struct error *err);

/* Whether is() is true of any tensor, by its name, that could hold a weight. */
bool weight_is_in_any(const char *weight_name, bool (*is)(void *user, const char *tensor),
                      void *user);

/* What is known of a weight that has another shape than the config asks for, to end a message with:
 * "" or ": ...".  shape: as found, then as expected. */
const char *weight_shape_hint(size_t ndim, const size_t *shape, size_t expected_ndim,
                              const size_t *expected);

static inline bool weight_name_ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}
/* The length of a weight's name without ".weight". */
size_t weight_module_length(const char *weight_name);
/* Suffixes of the tensors of a packed format; for those who write it. */
const char *weight_part_suffix(enum dtype format, size_t part);

#endif
