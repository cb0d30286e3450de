/* What a failed comparison of two arrays says (tests/differ.h). */
#include "tests/differ.h"

static void test_texts(void)
{
    static const struct {
        const char *name;
        float found[6], expected[6];
        size_t n;
        double absolute;
        const char *text;           /* "": the same */
    } cases[] = {
        { "equal arrays have no difference", { 1, 2, 3 }, { 1, 2, 3 }, 3, 0, "" },
        { "the first of several, its neighbours, and how many", { 1, 2, 0.5f, 4, 9, 6 },
          { 1, 2, 3, 4, 5, 6 }, 6, 0, "element 2 of 6 is 0.5 (0x1p-1), expected 3 (0x1.8p+1); "
          "0 to 4: 1 2 0.5 4 9, expected 1 2 3 4 5; 2 differ, most of all 4 by 4" },
        { "at the begin and the end there are fewer neighbours", { 1 }, { 2 }, 1, 0,
          "element 0 of 1 is 1 (0x1p+0), expected 2 (0x1p+1); 0 to 0: 1, "
          "expected 2; 1 differ, most of all 0 by 1" },
        { "minus zero has other bits", { -0.0f }, { 0 }, 1, 0,
          "element 0 of 1 is -0 (-0x0p+0), expected 0 (0x0p+0); 0 to 0: -0, "
          "expected 0; 1 differ, most of all 0 by 0" },
        { "but the same value", { -0.0f }, { 0 }, 1, 1e-9, "" },
        { "the same NaN has the same bits", { NAN }, { NAN }, 1, 0, "" },
        { "a NaN is near a NaN", { NAN }, { -NAN }, 1, 1e-9, "" },
        { "and near no number", { 0, NAN }, { 0, 1 }, 2, 1e9,
          "element 1 of 2 is nan (nan), expected 1 (0x1p+0); 0 to 1: 0 nan, "
          "expected 0 1; 1 differ, most of all 1 by inf" },
        { "no number is near infinity", { 1 }, { INFINITY }, 1, 1e9,
          "element 0 of 1 is 1 (0x1p+0), expected inf (inf); 0 to 0: 1, "
          "expected inf; 1 differ, most of all 0 by inf" },
        { "on the tolerance is near", { 1.5f }, { 1 }, 1, 0.5, "" },
        { "nothing differs in nothing", { 1 }, { 2 }, 0, 0, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char where[DIFFER_TEXT] = "";
        const struct differ_array found = { cases[i].found, DIFFER_F32 };
        const struct differ_array expected = { cases[i].expected, DIFFER_F32 };
        bool same = differ_compare(where, found, expected, cases[i].n,
                                   &(struct differ_limit){ .absolute = cases[i].absolute });
        check(same == !cases[i].text[0] && strcmp(where, cases[i].text) == 0, cases[i].name,
              "'%s'", where);
    }
}

static void test_types(void)
{
    char where[DIFFER_TEXT] = "";
    check(!same_bytes(where, "\x01\xFF", "\x01\xFE", 2) && strstr(where, "is 0xff, expected 0xfe;"),
          "bytes are in hexadecimal", "'%s'", where);
    check(!same_bytes(where, "a", "b", 1) && strstr(where, "is 0xff"),
          "the first difference is kept", "'%s'", where);
    where[0] = '\0';
    check(!same_i32(where, (const int32_t[]){ -1 }, (const int32_t[]){ 7 }, 1)
          && strstr(where, "is -1, expected 7;"), "whole numbers as they are", "'%s'", where);
    where[0] = '\0';
    check(!near_f32(where, (const float[]){ 1 }, (const double[]){ 1.1 }, 1, 1e-3)
          && strstr(where, "is 1 (0x1p+0), expected 1.1000000000000001 (0x1.199999999999ap+0)"),
          "f32 against double, each with its own digits", "'%s'", where);
    where[0] = '\0';
    check(near_ulp_f32(where, (const float[]){ 1 }, (const float[]){ 1 + 0x1p-22f }, 1, 2, 0)
          && !near_ulp_f32(where, (const float[]){ 1 }, (const float[]){ 1 + 0x1p-22f }, 1, 1.9, 0)
          && near_ulp_f32(where, (const float[]){ 0 }, (const float[]){ 0x1p-24f }, 1, 0.5, 1),
          "units in the last place, of a floor where both are small", "'%s'", where);
    where[0] = '\0';
    check(near_f32(where, (const float[]){ 0.5f }, (const double[]){ 0.5 }, 1, 0)
          && !near_f32(where, (const float[]){ 0.1f }, (const double[]){ 0.1 }, 1, 0),
          "f32 and double with the same value are the same", "'%s'", where);
    const double each[] = { 0, 1 };
    where[0] = '\0';
    check(!near_each_f32(where, (const float[]){ 1, 2 }, (const double[]){ 1.5, 2.5 }, each, 2)
          && strstr(where, "1 differ, most of all 0 by 0.5"), "a tolerance for each element",
          "'%s'", where);
}

int main(void)
{
    test_texts();
    test_types();
    return check_done();
}
