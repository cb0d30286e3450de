/* weight_format.h - the table of stored formats: of which tensors a weight is made, and their
 * shapes.
 *
 * A weight X.weight is X.<suffix>, one or several tensors.  A format is recognised by them alone:
 * the row whose tensors are there, with the dtypes and shapes that it asks for.  What the config
 * says of formats is compared with it (formats/quantization.h), and decides only what tensors do
 * not say: rows and columns of odd blocks, and what a zero point of GPTQ's means. */
#ifndef SURPRISAL_FORMATS_WEIGHT_FORMAT_H
#define SURPRISAL_FORMATS_WEIGHT_FORMAT_H

#include "formats/checkpoint.h"

#define WEIGHT_PARTS 5              /* tensors that a weight is made of, at most */
#define WEIGHT_PLAIN ".weight"

/* How the shape of a part follows from the weight's [rows, cols].  Where nothing else is said,
 * what is no whole number is rounded up. */
enum weight_shape {
    SHAPE_BYTES,                    /* codes, [rows, cols bits / 8], exactly */
    SHAPE_WORDS,                    /* codes, [rows, cols bits / 32] */
    SHAPE_STREAM,                   /* the same without gaps between codes, exactly */
    SHAPE_WORDS_DOWN,               /* codes, [cols bits / 32, rows] */
    SHAPE_WORDS_OF_ROWS,            /* codes, [cols, rows / 8], exactly */
    SHAPE_BLOCKS,                   /* scales, [rows, cols / the format's block] */
    SHAPE_CONFIG_BLOCKS,            /* scales, in blocks of the config's weight_block_size */
    SHAPE_GROUPS,                   /* scales, [], [1], [rows], or [any, any]: blocks */
    SHAPE_WHOLE_GROUPS,             /* scales, [rows, any]: groups of equal numbers of columns */
    SHAPE_GROUPS_DOWN,              /* scales, [any, rows]: groups of columns */
    SHAPE_ZEROS,                    /* words, [rows bits / 32, groups] */
    SHAPE_ZEROS_DOWN,               /* words, [groups, rows bits / 32] */
    SHAPE_AS_SCALES,
    SHAPE_COLUMNS,                  /* [cols] */
    SHAPE_ONE,                      /* [] or [1] */
    SHAPE_PAIR,                     /* [2] */
};

/* What a part is to the weight. */
enum weight_role { ROLE_CODES, ROLE_SCALES, ROLE_BIASES, ROLE_FACTOR, ROLE_DIVISOR, ROLE_ZEROS,
                   ROLE_GROUP, ROLE_SHAPE };

struct weight_part {
    const char *suffix;             /* of its name, after the module's */
    uint64_t dtypes;                /* a bit for each that it may have */
    enum weight_shape shape;
    enum weight_role role;
    bool may_be_absent;
};

struct weight_format {
    enum dtype dtype;
    unsigned bits;                  /* of a code */
    size_t block;                   /* SHAPE_BLOCKS; cols are a multiple where codes have no byte */
    struct weight_part parts[WEIGHT_PARTS];     /* codes first */
};

extern const struct weight_format weight_formats[];
extern const size_t weight_formats_count;

#define WEIGHT_DTYPE(dtype) (UINT64_C(1) << (dtype))

size_t weight_format_parts(const struct weight_format *f);

/* Tensors of a module by the suffixes of the table, each once. */
#define WEIGHT_SUFFIXES 16
struct weight_tensors {
    const struct tensor *list[WEIGHT_SUFFIXES];
    size_t n;
};
/* Those of the first n_module bytes of a name, found at once. */
void weight_format_tensors(struct weight_tensors *out, const struct checkpoint *ck,
                           const char *name, size_t n_module);
/* The one of this suffix; NULL: there is none. */
const struct tensor *weight_format_tensor(const struct weight_tensors *t, size_t n_module,
                                          const char *suffix);

/* A weight in the making. */
struct weight_view {
    const struct checkpoint *ck;
    const struct weight_format *format;
    const struct tensor *parts[WEIGHT_PARTS];   /* as the format lists them; NULL: absent */
    size_t rows, cols;
    struct matrix *matrix;          /* dtype, data, rows and cols are set */
};

/* The format that has the most of these tensors, with the right dtypes and shapes, among those with
 * such codes; NULL: there is none.  model: rows and columns; NULL: they are not known. */
const struct weight_format *weight_format_choose(const struct checkpoint *ck,
                                                 const struct weight_tensors *tensors,
                                                 size_t n_module, const struct tensor *codes,
                                                 const size_t *model);
/* Of codes without a model: false when their shape does not say. */
bool weight_format_shape(size_t shape[2], const struct weight_format *f,
                         const struct tensor *const *parts);
/* Takes a part, which has a right dtype, into the matrix; parts in their order.  False: its shape,
 * or what is in it, is wrong, and text [n] says what, to go after the tensor's name. */
bool weight_format_take(struct weight_view *v, size_t part, char *text, size_t n);

#endif
