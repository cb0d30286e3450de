/* Which modules a recipe and patterns select, of the fake checkpoint: fused experts in layer 0,
 * split ones in layer 1. */
#include "convert/selection.h"

#include "tests/check.h"
#include "tests/unit/formats/fake.h"

enum { PATTERNS = 3 };

#define EXPERTS SURPRISAL_RECIPE_EXPERTS
#define LINEARS SURPRISAL_RECIPE_LINEARS

/* Of 38 linears 18 are experts', 5 the delta net's, 4 attention's, 6 + 2 the shared expert's, 2
 * routers and one the head.  matched: of the patterns, in order. */
static const struct {
    const char *name;
    enum surprisal_recipe recipe;
    const char *include[PATTERNS], *exclude[PATTERNS];
    size_t n_packed, matched[2 * PATTERNS];
    const char *message;                /* of make or check; NULL: none */
} cases[] = {
    { "without anything the routed experts", 0, { 0 }, { 0 }, 18, { 0 }, NULL },
    { "the recipe that says so", EXPERTS, { 0 }, { 0 }, 18, { 0 }, NULL },
    { "all linears but the embedding", LINEARS, { 0 }, { "in_proj_a" }, 37, { 1 }, NULL },
    { "exclude alone takes from all linears", 0, { 0 }, { "self_attn" }, 34, { 4 }, NULL },
    { "with a recipe it takes from that", EXPERTS, { 0 }, { "experts.2." }, 12, { 6 }, NULL },
    { "without a star a part of the name", 0, { "o_proj" }, { 0 }, 1, { 1 }, NULL },
    { "with one the whole name", 0, { "*.o_proj.weight" }, { 0 }, 1, { 1 }, NULL },
    { "which has to fit at both ends",
      0,
      { "*.o_proj" },
      { 0 },
      0,
      { 0 },
      "--include '*.o_proj' matches no linear layer of the checkpoint"
      " (--allow-unmatched lets it pass)" },
    { "an expert goes by its own name",
      0,
      { "layers.0.mlp.experts.1.up_proj" },
      { 0 },
      1,
      { 1 },
      NULL },
    { "and by that of the fused tensor",
      0,
      { "layers.0.mlp.experts.gate_up_proj" },
      { 0 },
      6,
      { 6 },
      NULL },
    { "included, without what is excluded",
      0,
      { "mlp" },
      { "*.mlp.gate.weight", "shared_expert_gate" },
      24,
      { 28, 2, 2 },
      NULL },
    { "every pattern counts all its matches",
      0,
      { "k_proj", "v_proj", "attn" },
      { "v_proj" },
      8,
      { 1, 1, 9, 1 },
      NULL },
    { "a question mark is one without a star",
      0,
      { "q?proj" },
      { 0 },
      0,
      { 0 },
      "--include 'q?proj' matches no" },
    { "what is no linear is never matched",
      0,
      { "input_layernorm" },
      { 0 },
      0,
      { 0 },
      "--include 'input_layernorm' matches no" },
    { "the vision tower's embedding is none",
      0,
      { "pos_embed" },
      { 0 },
      0,
      { 0 },
      "matches no linear layer" },
    { "an exclude that matches nothing",
      0,
      { 0 },
      { "nothing" },
      38,
      { 0 },
      "--exclude 'nothing' matches no" },
    { "everything excluded",
      0,
      { "k_proj" },
      { "attn" },
      0,
      { 1, 9 },
      "--include and --exclude selects nothing" },
};

static size_t count(const char *const *patterns)
{
    size_t n = 0;
    while (n < PATTERNS && patterns[n])
        n++;
    return n;
}

static void test_cases(const struct weight_list *m)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct surprisal_quantize_options options = { .recipe = cases[i].recipe,
                                                            .include = cases[i].include,
                                                            .n_include = count(cases[i].include),
                                                            .exclude = cases[i].exclude,
                                                            .n_exclude = count(cases[i].exclude) };
        struct selection s;
        struct error err = { 0 };
        bool made = selection_make(&s, m, &options, &err),
             ok = made && selection_check(&s, &options, &err);
        size_t packed = 0, wrong = 0, n = options.n_include + options.n_exclude;
        for (size_t j = 0; made && j < m->n; j++)
            packed += s.packed[j];
        for (size_t j = 0; made && j < n; j++)
            wrong += s.matched[j].n != cases[i].matched[j];
        const char *message = cases[i].message;
        check(made && (message ? !ok && strstr(err.message, message) : ok) && s.n_packed == packed
                  && !wrong && (message || packed == cases[i].n_packed),
              cases[i].name, "%zu packed, %zu wrong counts, '%s'", packed, wrong, err.message);
        if (made)
            selection_free(&s);
    }
}

static void test_options(const struct weight_list *m)
{
    const char *nothing[] = { "nothing" };
    struct surprisal_quantize_options options = { .exclude = nothing,
                                                  .n_exclude = 1,
                                                  .allow_unmatched = true };
    struct selection s;
    struct error err = { 0 };
    bool ok = selection_make(&s, m, &options, &err) && selection_check(&s, &options, &err);
    check(ok && s.n_packed == 38, "a pattern may match nothing when that is allowed", "%zu, '%s'",
          s.n_packed, err.message);
    selection_free(&s);
    const char *attention[] = { "attn" };
    options = (struct surprisal_quantize_options){ .include = attention, .n_include = 1 };
    ok = selection_make(&s, m, &options, &err);
    check(ok && s.matched[0].kinds[WEIGHT_ATTENTION] == 4
              && s.matched[0].kinds[WEIGHT_DELTA_NET] == 5
              && s.matched[0].kinds[WEIGHT_EXPERTS] == 0,
          "matches are counted by kind", "%zu and %zu", s.matched[0].kinds[WEIGHT_ATTENTION],
          s.matched[0].kinds[WEIGHT_DELTA_NET]);
    selection_free(&s);
}

/* A linear outside the text model whose rows are no whole blocks. */
static void test_odd_columns(void)
{
    struct fake f = fake_moe();
    fake_add(&f, "model.visual.proj.weight", DTYPE_BF16, 2, 4, 24, 0);
    struct opened *o = open_fake(&f);
    struct weight_list m;
    struct selection s;
    struct error err = { 0 };
    struct surprisal_quantize_options options = { .recipe = LINEARS };
    bool ok = o->ok && weight_list_of_model(&m, &o->ck, &o->w, &err);
    check(ok && !selection_make(&s, &m, &options, &err)
              && strstr(
                  err.message,
                  "'model.visual.proj.weight' has 24 input features, MXFP4 needs a multiple of 32"),
          "columns that are no whole blocks are refused", "'%s'", err.message);
    options.recipe = EXPERTS;
    ok = ok && selection_make(&s, &m, &options, &err) && s.n_packed == 18;
    check(ok, "unless they are not to be packed", "'%s'", err.message);
    if (ok)
        selection_free(&s);
    weight_list_free(&m);
    close_fake(o);
}

int main(void)
{
    struct fake f = fake_moe();
    struct opened *o = open_fake(&f);
    struct weight_list m;
    if (check(o->ok && weight_list_of_model(&m, &o->ck, &o->w, &o->err), "the fake checkpoint",
              "%s", o->err.message)) {
        test_cases(&m);
        test_options(&m);
        weight_list_free(&m);
    }
    close_fake(o);
    test_odd_columns();
    return check_done();
}
