/* Normal forms: UAX 15's own examples, marks out of order, and code points that must pass. */
#include "tokenizer/normalizer.h"

#include "base/json.h"
#include "tests/differ.h"

#define E_ACUTE "\xC3\xA9"              /* U+00E9 */
#define ACUTE "\xCC\x81"                /* U+0301, class 230 */
#define DOT_BELOW "\xCC\xA3"            /* U+0323, class 220 */
#define S_DOTS "\xE1\xB9\xA9"           /* U+1E69, dot below and dot above */
#define S_BELOW "\xE1\xB9\xA3"          /* U+1E63 */
#define DOT_ABOVE "\xCC\x87"            /* U+0307 */
#define FI "\xEF\xAC\x81"               /* U+FB01 */
#define ANGSTROM "\xE2\x84\xAB"         /* U+212B */
#define A_RING "\xC3\x85"               /* U+00C5 */
#define RING "\xCC\x8A"                 /* U+030A */
#define HANGUL "\xED\x95\x9C"           /* U+D55C */
#define JAMO "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"
#define KHAN "\xE0\xA4\x95\xE0\xA4\xBC" /* U+0915 U+093C: U+0958 is excluded from composition */
#define QA "\xE0\xA5\x98"               /* U+0958 */
#define ONE(form) "{\"type\":\"" form "\"}"

static const struct {
    const char *name, *normalizer, *text, *expected;
} cases[] = {
    { "no normalizer", "null", "e" ACUTE, "e" ACUTE },
    { "ASCII stays", ONE("NFC"), "plain text", "plain text" },
    { "NFC composes", ONE("NFC"), "xe" ACUTE "y", "x" E_ACUTE "y" },
    { "NFD decomposes", ONE("NFD"), "x" E_ACUTE "y", "xe" ACUTE "y" },
    { "NFC reorders marks", ONE("NFC"), "s" DOT_ABOVE DOT_BELOW, S_DOTS },
    { "NFD reorders marks", ONE("NFD"), S_BELOW DOT_ABOVE, "s" DOT_BELOW DOT_ABOVE },
    { "marks of one class keep their order", ONE("NFC"), "x" ACUTE DOT_ABOVE, "x" ACUTE DOT_ABOVE },
    { "a mark at the begin", ONE("NFC"), ACUTE "e", ACUTE "e" },
    { "a singleton", ONE("NFC"), ANGSTROM, A_RING },
    { "its decomposition", ONE("NFD"), ANGSTROM, "A" RING },
    { "NFC leaves a ligature", ONE("NFC"), FI, FI },
    { "NFKC does not", ONE("NFKC"), FI, "fi" },
    { "nor does NFKD", ONE("NFKD"), FI E_ACUTE, "fie" ACUTE },
    { "Hangul composes by rule", ONE("NFC"), JAMO, HANGUL },
    { "and decomposes", ONE("NFD"), HANGUL, JAMO },
    { "an excluded composition", ONE("NFC"), QA, KHAN },
    { "a Latin-1 character with no decomposition", ONE("NFD"), "\xC2\xA9", "\xC2\xA9" },
    { "a sequence, one after the other",
      "{\"type\":\"Sequence\",\"normalizers\":[" ONE("NFKD") "," ONE("NFC") "]}",
      FI E_ACUTE "e" ACUTE, "fi" E_ACUTE E_ACUTE },
    { "an empty sequence", "{\"type\":\"Sequence\",\"normalizers\":[]}", "e" ACUTE, "e" ACUTE },
    { "a code point younger than Unicode 9 passes", ONE("NFKC"), "\xE3\x8B\xBF", "\xE3\x8B\xBF" },
       /* U+32FF */
    { "and its neighbour does not", ONE("NFKC"), "\xE3\x8B\xBE", "\xE3\x83\xB2" },
                      /* U+32FE */
    { "a young mark is not reordered", ONE("NFC"), "a" ACUTE "\xE0\xA3\x93",
      "\xC3\xA1\xE0\xA3\x93" }, /* U+08D3 */
};

static void test_forms(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct normalizer z;
        struct normalizer_scratch scratch = { 0 };
        cJSON *json = json_parse(cases[i].normalizer, strlen(cases[i].normalizer), "f", &err);
        const char *text = cases[i].text;
        size_t n = strlen(text);
        char where[DIFFER_TEXT] = "";
        bool ok =
            normalizer_load(&z, json, "f", &err) && normalizer_run(&z, &scratch, &text, &n, &err);
        check(ok && n == strlen(cases[i].expected) && same_bytes(where, text, cases[i].expected, n),
              cases[i].name, "%s%s '%.*s'", err.message, where, (int)n, text);
        normalizer_scratch_free(&scratch);
        normalizer_free(&z);
        cJSON_Delete(json);
    }
}

static void test_refusals(void)
{
    static const struct { const char *name, *normalizer, *message; } refusals[] = {
        { "another normalizer", ONE("Lowercase"), "f: normalizer 'Lowercase' is not supported" },
        { "another one in a sequence",
          "{\"type\":\"Sequence\",\"normalizers\":[" ONE("NFC") "," ONE("Strip") "]}",
          "f: normalizer 'Strip' is not supported" },
        { "a sequence in a sequence",
          "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Sequence\",\"normalizers\":[]}]}",
          "f: normalizer 'Sequence' is not supported" },
        { "no type", "{}", "f: normalizer has no type" },
        { "a sequence of nothing", "{\"type\":\"Sequence\"}",
          "f: normalizer.normalizers is not an array" },
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct error err = { 0 };
        struct normalizer z;
        cJSON *json = json_parse(refusals[i].normalizer, strlen(refusals[i].normalizer), "f", &err);
        bool ok = normalizer_load(&z, json, "f", &err);
        check(!ok && strcmp(err.message, refusals[i].message) == 0, refusals[i].name, "'%s'",
              err.message);
        normalizer_free(&z);
        cJSON_Delete(json);
    }
}

/* One scratch for many texts: nothing of the text before is left. */
static void test_scratch(void)
{
    struct normalizer z;
    struct normalizer_scratch scratch = { 0 };
    cJSON *json = cJSON_Parse(ONE("NFC"));
    bool ok = normalizer_load(&z, json, "f", NULL);
    for (size_t i = 0; ok && i < 3; i++) {
        static const char *const texts[][2] = { { "xe" ACUTE "yyy", "x" E_ACUTE "yyy" },
                                                { "a" RING, "\xC3\xA5" },
                                                { "plain", "plain" } };
        const char *text = texts[i][0];
        size_t n = strlen(text);
        ok = normalizer_run(&z, &scratch, &text, &n, NULL) && n == strlen(texts[i][1])
          && memcmp(text, texts[i][1], n) == 0;
        check(ok && (i < 2) == (text != texts[i][0]),
              "a scratch that was used; plain text is not copied", "'%.*s'", (int)n, text);
    }
    normalizer_scratch_free(&scratch);
    normalizer_free(&z);
    cJSON_Delete(json);
}

int main(void)
{
    test_forms();
    test_refusals();
    test_scratch();
    return check_done();
}
