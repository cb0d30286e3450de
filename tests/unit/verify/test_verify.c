/* Which modules quantization_config means, as vLLM and compressed-tensors resolve names, and what a
 * tile of weights is counted as. */
#include "verify/verify_coverage.h"

#include <math.h>

#include "verify/verify_tally.h"
#include "tests/check.h"
#include "tests/unit/formats/fake.h"

#define P FAKE_PREFIX
#define ATTENTION P "layers.1.self_attn."
#define DELTA P "layers.0.linear_attn."
#define SHARED P "layers.1.mlp.shared_expert."
#define EXPERT(e) P "layers.1.mlp.experts." #e "."
#define ALL_EXPERTS EXPERT(0) "gate_proj", EXPERT(0) "up_proj", EXPERT(0) "down_proj", \
                    EXPERT(1) "gate_proj", EXPERT(1) "up_proj", EXPERT(1) "down_proj", \
                    EXPERT(2) "gate_proj", EXPERT(2) "up_proj", EXPERT(2) "down_proj"

#define CONFIG(targets, ignore) FAKE_MOE FAKE_QUANTIZATION(targets, ignore) "}"
#define LINEAR_BUT(ignore) CONFIG("[\"Linear\"]", "[\"lm_head\",\"re:mtp\"" ignore "]")
#define NO_ATTENTION ",\"re:.*(self|linear)_attn\""
#define NO_SHARED ",\"re:.*shared_expert[.]\""
#define NO_EXPERTS ",\"re:.*mlp[.]experts\""

static const struct {
    const char *name, *config;
    const char *packed[10];
    const char *expected;               /* code and module of each finding */
} cases[] = {
    { "nothing packed, no config", FAKE_MOE "}", { NULL }, "" },
    { "packed without a config",
      FAKE_MOE "}",
      { ATTENTION "o_proj" },
      "no-config " ATTENTION "o_proj\n" },
    { "parts by a pattern",
      CONFIG("[\"re:.*[.][qkv]_proj$\"]", "[]"),
      { ATTENTION "q_proj", ATTENTION "k_proj", ATTENTION "v_proj" },
      "" },
    { "parts by their names",
      CONFIG("[\"" ATTENTION "q_proj\",\"" ATTENTION "k_proj\",\"" ATTENTION "v_proj\"]", "[]"),
      { ATTENTION "q_proj", ATTENTION "k_proj", ATTENTION "v_proj" },
      "" },
    { "a pattern must match from the start",
      CONFIG("[\"re:o_proj\"]", "[]"),
      { ATTENTION "o_proj" },
      "not-covered " ATTENTION "o_proj\n" },
    { "and its end is open", CONFIG("[\"re:.*o_pro\"]", "[]"), { ATTENTION "o_proj" }, "" },
    { "a name must be the whole name",
      CONFIG("[\"o_proj\"]", "[]"),
      { ATTENTION "o_proj" },
      "not-covered " ATTENTION "o_proj\n" },
    { "qkv_proj by its merged name",
      CONFIG("[\"re:.*qkv_proj$\"]", "[]"),
      { ATTENTION "q_proj", ATTENTION "k_proj", ATTENTION "v_proj" },
      "" },
    { "gate_up_proj by its merged name",
      CONFIG("[\"re:.*shared_expert.gate_up_proj$\"]", "[]"),
      { SHARED "gate_proj", SHARED "up_proj", P "layers.0.mlp.shared_expert.gate_proj",
        P "layers.0.mlp.shared_expert.up_proj" },
      "" },
    { "in_proj_qkvz by its merged name",
      CONFIG("[\"" DELTA "in_proj_qkvz\"]", "[]"),
      { DELTA "in_proj_qkv", DELTA "in_proj_z" },
      "" },
    { "a merged name does not name other modules",
      CONFIG("[\"re:.*qkv_proj$\"]", "[]"),
      { ATTENTION "q_proj", ATTENTION "k_proj", ATTENTION "v_proj", ATTENTION "o_proj" },
      "not-covered " ATTENTION "o_proj\n" },
    { "a part that is not packed",
      CONFIG("[\"re:.*in_proj_[ab]$\"]", "[]"),
      { DELTA "in_proj_a" },
      "not-packed " DELTA "in_proj_b\nmerged " DELTA "in_proj_b\n" },
    { "a part that is not ignored",
      LINEAR_BUT(NO_SHARED NO_EXPERTS ",\"re:.*linear_attn\",\"re:.*self_attn.[kvo]_proj\""),
      { NULL },
      "not-packed " ATTENTION "q_proj\nmerged " ATTENTION "q_proj\n" },
    { "the class, the rest ignored", LINEAR_BUT(NO_ATTENTION NO_SHARED), { ALL_EXPERTS }, "" },
    { "experts ignored by their parent's name",
      LINEAR_BUT(NO_ATTENTION NO_SHARED ",\"" P "layers.1.mlp.experts\""),
      { NULL },
      "" },
    { "experts packed but ignored",
      LINEAR_BUT(NO_ATTENTION NO_SHARED ",\"re:.*experts.2.down_proj\""),
      { ALL_EXPERTS },
      "ignored " EXPERT(2) "down_proj\n" },
    { "one projection of the experts packed",
      CONFIG("[\"" EXPERT(1) "up_proj\"]", "[]"),
      { EXPERT(1) "up_proj" },
      "merged " EXPERT(0) "down_proj.weight\n" },
    { "a pattern that vLLM does not match",
      CONFIG("[\"re:model[.]language_model[.].*o_proj$\"]", "[]"),
      { ATTENTION "o_proj" },
      "pattern " ATTENTION "o_proj.weight\n" },
    { "a name, which vLLM translates",
      CONFIG("[\"" ATTENTION "o_proj\"]", "[]"),
      { ATTENTION "o_proj" },
      "" },
    { "a head named but plain", CONFIG("[\"lm_head\"]", "[]"), { NULL }, "not-packed lm_head\n" },
    { "a linear of another model is one",
      CONFIG("[\"re:mtp\"]", "[]"),
      { NULL },
      "not-packed mtp.fc\n" },
    { "a table of embeddings is none", CONFIG("[\"re:.*embed\"]", "[]"), { NULL }, "" },
};

/* The findings of the given config and files, as "code module" lines. */
static bool cover(struct buffer *out, const struct fake *f, struct error *err)
{
    struct folder folder = fake_write(f);
    struct verify_folder opened = { .n_lost = 0 };
    struct weight_list w = { .n = 0 };
    struct findings found = { .n = 0 };
    bool ok = verify_folder_open(&opened, folder.path, &found, err)
           && verify_folder_list(&w, &opened, &found, err)
           && verify_folder_match(&opened, &w, &found, err)
           && verify_coverage(&opened, &w, &found, err) && buffer_append(out, "", 0, err);
    for (size_t i = 0; ok && i < found.n; i++)
        ok = buffer_printf(out, err, "%s %s\n", finding_code_name(found.list[i].code),
                           found.list[i].tensor);
    findings_free(&found);
    weight_list_free(&w);
    verify_folder_close(&opened);
    folder_remove(&folder);
    return ok;
}

static void test_coverage(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake f = fake_moe();
        struct buffer lines = { 0 };
        struct error err = { .message = "" };
        fake_add(&f, "mtp.fc.weight", DTYPE_BF16, 2, 64, 64, 0);
        f.config = cases[i].config;
        for (size_t j = 0; j < 10 && cases[i].packed[j]; j++)
            fake_pack(&f, cases[i].packed[j]);
        bool ok = cover(&lines, &f, &err);
        check(ok && strcmp(lines.data, cases[i].expected) == 0, cases[i].name, "%s%s", err.message,
              ok ? lines.data : "");
        buffer_free(&lines);
    }
}

/* ---- tiles -------------------------------------------------------------------------- */

#define COLS 64

/* Two blocks of codes 6, 1, 0.5, 0 ... under a scale, against an original that is f times as
 * large. */
static struct tally tally_of(uint8_t scale, float f)
{
    static struct tally_scratch scratch;
    uint8_t codes[COLS / 2] = { 0x27, 0x01, [MXFP4_BLOCK / 2] = 0xA7, 0x19 };
    const uint8_t scales[] = { scale, scale };
    float w[COLS] = { 6, 1, 0.5f, 0, [MXFP4_BLOCK] = 6, -1, -0.5f, 0.5f };
    for (size_t i = 0; i < COLS; i++)
        w[i] *= f;
    const struct matrix here = {
        .dtype = DTYPE_MXFP4, .data = codes, .scale = scales, .rows = 1, .cols = COLS
    };
    const struct matrix there = {
        .dtype = DTYPE_F32, .data = (const uint8_t *)w, .rows = 1, .cols = COLS
    };
    const struct tile tile = { .here = &here, .there = &there, .n_rows = 1, .is_float = true };
    struct error err;
    struct tally t = { .elements = 0 };
    tally_tile(&t, &tile, kernels_find("scalar", &err)->rows, &scratch);
    return t;
}

static void test_tally(void)
{
    struct tally t = tally_of(127, 1);
    check(t.elements == COLS && t.blocks == 2 && t.largest_codes == 2 && t.small_blocks == 0
              && t.sum_w2 == 2 * (36 + 1 + 0.25) + 0.25 && t.sum_error2 == 0 && t.off_blocks == 0
              && isinf(tally_sqnr(&t)) && t.clipped == 0 && t.zero_blocks == 0,
          "codes that are exact", "%zu %zu %g %g", t.blocks, t.largest_codes, t.sum_w2,
          t.sum_error2);
    t = tally_of(126, 1);
    check(t.off_blocks == 2 && t.off_factor == 2 && t.clipped == 2
          && fabs(tally_relative_error(&t) - 0.5) < 1e-12, "a scale that is one too small",
          "%zu %g %zu", t.off_blocks, t.off_factor, t.clipped);
    t = tally_of(128, 1);
    check(t.off_blocks == 2 && t.off_factor == 0.5 && t.clipped == 0
              && fabs(tally_sqnr(&t)) < 1e-12,
          "a scale that is one too large", "%zu %g", t.off_blocks, t.off_factor);
    t = tally_of(127, 1.3f);
    check(t.off_blocks == 0 && t.clipped == 2, "a scale that fits roughly", "%zu %zu", t.off_blocks,
          t.clipped);
    t = tally_of(127, -1);
    check(t.off_blocks == 0 && tally_sqnr(&t) < -6, "a sign is no scale", "%zu", t.off_blocks);
    t = tally_of(255, 1);
    check(t.nan_scales == 2 && t.elements == 0 && t.sum_w2 == 0 && isnan(tally_sqnr(&t)),
          "scales that are NaN count for nothing else", "%zu %zu", t.nan_scales, t.elements);
    t = tally_of(127, INFINITY);
    check(t.original_non_finite && isnan(tally_sqnr(&t)), "an original that is not finite", "%zu",
          t.original_non_finite);
}

int main(void)
{
    test_coverage();
    test_tally();
    return check_done();
}
