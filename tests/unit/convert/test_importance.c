/* What a file of importances says of a module: factors of the squared errors, or a Hessian. */
#include "convert/importance.h"

#include <math.h>

#include "tests/differ.h"
#include "tests/unit/formats/folder.h"

enum { COLS = 64, MOST = 2 * 32 * 32 };

/* A module of 64 input features called "m.x.weight", and a file with one or two tensors. */
static const struct {
    const char *name;
    bool activations;
    const char *tensors[2];
    enum dtype dtype;
    size_t ndim, shape[3];
    float fill, at_3, at_40;            /* everywhere, and at two places */
    const char *message;                /* of importance_of; NULL: none */
    bool has, hessian;
    float expected, expected_3, expected_40;
} cases[] = {
    { "gamma counts as its square", false, { "m.x" }, DTYPE_F32, 1, { 64 }, 2, -3, 0, NULL, true,
      false, 4, 9, 0 },
    { "a mean square as it is", true, { "m.x.input_mean_square" }, DTYPE_F32, 1, { 64 }, 2, 3, 0,
      NULL, true, false,
      2, 3, 0 },
    { "a Hessian as it is", false, { "m.x.hessian" }, DTYPE_F32, 3, { 2, 32, 32 }, 2, -3, 0, NULL,
      true, true, 2, -3, 0 },
    { "a block that no text reached counts alike", true, { "m.x.input_mean_square" }, DTYPE_F32, 1,
      { 64 }, 0, 0, 5, NULL,
      true, false, 0, 1, 5 },
    { "another module", false, { "m.y" }, DTYPE_F32, 1, { 64 }, 1, 1, 1, NULL, false, false, 0, 0,
      0 },
    { "gamma's names in a file of activations", true, { "m.x" }, DTYPE_F32, 1, { 64 }, 1, 1, 1,
      NULL, false, false,
      0, 0, 0 },
    { "both a gamma and a Hessian", false, { "m.x", "m.x.hessian" }, DTYPE_F32, 3, { 2, 32, 32 }, 1,
      1, 1,
      "'m.x' and 'm.x.hessian' are both there, expected one of them", false, false, 0, 0, 0 },
    { "fewer channels", false, { "m.x" }, DTYPE_F32, 1, { 32 }, 1, 1, 1,
      "'m.x' is F32 [32], expected F32 with 1 dimensions for 64 channels", false, false, 0, 0, 0 },
    { "another dtype", false, { "m.x" }, DTYPE_F64, 1, { 64 }, 1, 1, 1,
      "'m.x' is F64 [64], expected F32", false, false,
      0, 0, 0 },
    { "a Hessian of other blocks", false, { "m.x.hessian" }, DTYPE_F32, 3, { 1, 64, 64 }, 1, 1, 1,
      "'m.x.hessian' is F32 [1, 64, 64], expected F32 with 3 dimensions", false, false, 0, 0, 0 },
    { "a NaN", false, { "m.x" }, DTYPE_F32, 1, { 64 }, 1, 1, NAN,
      "'m.x' has nan at 40, expected a finite number", true,
      false, 0, 0, 0 },
    { "an infinity in a Hessian", false, { "m.x.hessian" }, DTYPE_F32, 3, { 2, 32, 32 }, 1,
      INFINITY, 1,
      "'m.x.hessian' has inf at 3, expected a finite number", true, false, 0, 0, 0 },
    { "a negative mean square", true, { "m.x.input_mean_square" }, DTYPE_F32, 1, { 64 }, 1, -1, 1,
      "'m.x.input_mean_square' has -1 at 3, expected a finite number from 0", true, false, 0, 0,
      0 },
    { "a gamma whose square is infinite", false, { "m.x" }, DTYPE_F32, 1, { 64 }, 1, 2e19f, 1,
      "'m.x' has a number at 3 whose square is not finite", true, false, 0, 0, 0 },
};

static size_t elements(size_t i)
{
    return cases[i].ndim == 3 ? cases[i].shape[0] * cases[i].shape[1] * cases[i].shape[2]
                              : cases[i].shape[0];
}

static void write_file(const struct folder *f, size_t i)
{
    struct safetensors_entry entries[2];
    struct safetensors_writer w;
    struct error err = { 0 };
    static float values[2 * 64 * 64];
    size_t n = 0;
    for (; n < 2 && cases[i].tensors[n]; n++) {
        entries[n] =
            (struct safetensors_entry){ cases[i].tensors[n], cases[i].dtype, cases[i].ndim, { 0 } };
        memcpy(entries[n].shape, cases[i].shape, sizeof cases[i].shape);
    }
    if (n == 2)                             /* each of its own shape */
        entries[0] = (struct safetensors_entry){ cases[i].tensors[0], DTYPE_F32, 1, { COLS } };
    for (size_t j = 0; j < elements(i); j++)
        values[j] = j == 3 ? cases[i].at_3 : j == 40 ? cases[i].at_40 : cases[i].fill;
    bool ok = safetensors_create(&w, folder_path(f, "x"), entries, n, &err);
    for (size_t j = 0; ok && j < n; j++)
        ok = safetensors_write(&w, j, 0, values, w.n_bytes[j], &err);
    if (!ok || !safetensors_commit(&w, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

/* The block at hand of a mean square: filled with 1 where all of it is 0. */
static void expect(float *out, size_t i)
{
    for (size_t j = 0; j < elements(i); j++)
        out[j] = j == 3 ? cases[i].expected_3 : j == 40 ? cases[i].expected_40 : cases[i].expected;
    if (cases[i].activations && cases[i].fill == 0)
        for (size_t j = 0; j < 32; j++)
            out[j] = 1;
}

static void test_case(size_t i, const struct listed_weight *m)
{
    struct folder f = folder_make();
    write_file(&f, i);
    char path[128], where[DIFFER_TEXT] = "";
    snprintf(path, sizeof path, "%s/x", f.path);
    const struct surprisal_quantize_options options = { .gamma = cases[i].activations ? NULL : path,
                                                        .activations =
                                                            cases[i].activations ? path : NULL };
    struct importance im;
    struct mxfp4_importance says = { 0 };
    struct error err = { 0 };
    static float expected[MOST];
    bool has = true, opened = importance_open(&im, &options, &err);
    bool told = opened && importance_has(&has, &im, m, &err),
         ok = opened && importance_of(&says, &im, m, &err);
    const float *values = says.hessian ? says.hessian : says.channels;
    if (cases[i].message)
        check(opened && !ok && has == cases[i].has && told == has
                  && strstr(err.message, cases[i].message) && strstr(err.message, "/x: "),
              cases[i].name, "'%s', has %d", err.message, has);
    else {
        expect(expected, i);
        bool same = !cases[i].has || (values && same_f32(where, values, expected, elements(i)));
        check(told && ok && has == cases[i].has && !values == !has
                  && (says.hessian != NULL) == cases[i].hessian && same,
              cases[i].name, "'%s' has %d %s", err.message, has, where);
    }
    importance_close(&im);
    folder_remove(&f);
}

int main(void)
{
    const struct listed_weight m = {
        .name = (char *)(uintptr_t)"m.x.weight",
        .stored = { .ndim = 2, .shape = { 8, COLS }, .view = { DTYPE_BF16, NULL, NULL, 8, COLS } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(i, &m);
    struct importance im;
    struct mxfp4_importance says;
    struct error err = { 0 };
    struct surprisal_quantize_options options = { 0 };
    bool has = true, ok = importance_open(&im, &options, &err)
                       && importance_has(&has, &im, &m, &err)
                       && importance_of(&says, &im, &m, &err);
    check(ok && !has && !says.channels && !says.hessian, "no file says nothing", "'%s'",
          err.message);
    importance_close(&im);
    options.gamma = "/no/such/file";
    check(!importance_open(&im, &options, &err) && strstr(err.message, "/no/such/file: "),
          "a file that is not there", "'%s'", err.message);
    importance_close(&im);
    return check_done();
}
