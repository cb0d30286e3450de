#include "eval/report/gate.h"

#include <string.h>

#include "eval/report/figure.h"
#include "tests/check.h"

static const char document_text[] =
    "{\"mean_kld\": 0.02130001, \"delta_nll\": -0.25, \"delta_nll_ci95\": [-0.5, 0.125],"
    " \"kld\": {\"p99\": 4, \"max\": null},"
    " \"floor\": {\"mean_kld\": 0.001, \"kld\": {\"p99\": 0}},"
    " \"a\": {\"perplexity\": 6.5, \"checkpoint\": {\"bytes\": 72000000000}},"
    " \"layers\": [{\"residual_error\": 0.5}, {\"residual_error\": 0.75}], \"units_needed\": null}";
static const char baseline_text[] = "{\"mean_kld\": 0.02, \"kld\": {\"p99\": null}}";

static void test_values(void)
{
    static const struct {
        const char *name, *gate;
        bool met;
        const char *found;
    } cases[] = {
        { "at most", "mean_kld<=0.02130001", true, "mean_kld is 0.0213" },
        { "above", "mean_kld<=1e-9", false, "mean_kld is 0.0213" },
        { "digits until they decide", "mean_kld<=0.0213", false, "mean_kld is 0.02130001" },
        { "less than itself", "delta_nll<-0.25", false, "delta_nll is -0.25" },
        { "greater", "kld.p99 > 3", true, "kld.p99 is 4" },
        { "at least", "kld.p99>=4", true, "kld.p99 is 4" },
        { "equal", "kld.p99==4", true, "kld.p99 is 4" },
        { "not equal", "kld.p99!=4", false, "kld.p99 is 4" },
        { "absolute", "abs(delta_nll)<=0.25", true, "abs(delta_nll) is 0.25" },
        { "spaces", "  abs ( delta_nll )  <=  0.2  ", false, "abs ( delta_nll ) is 0.25" },
        { "element of an array", "delta_nll_ci95.1<=0.1", false, "delta_nll_ci95.1 is 0.125" },
        { "member of an element", "layers.1.residual_error<0.7", false,
          "layers.1.residual_error is 0.75" },
        { "no such element", "layers.2.residual_error<1", false,
          "layers.2.residual_error is null: this comparison does not have it" },
        { "an index beyond int", "layers.99999999999.residual_error<1", false,
          "layers.99999999999.residual_error is null: this comparison does not have it" },
        { "of a run", "a.perplexity<6", false, "a.perplexity is 6.5" },
        { "of a checkpoint", "a.checkpoint.bytes<8e10", true, "a.checkpoint.bytes is 7.2e+10" },
        { "a ratio", "mean_kld/floor.mean_kld<=20", false, "mean_kld/floor.mean_kld is 21.3" },
        { "a quotient by 0", "mean_kld/floor.kld.p99<=20", false,
          "mean_kld/floor.kld.p99 is infinite" },
        { "0 by 0", "floor.kld.p99/floor.kld.p99>=0", false, "floor.kld.p99/floor.kld.p99 is 0/0" },
        { "a sum", "delta_nll+1>0.8", false, "delta_nll+1 is 0.75" },
        { "a difference", "delta_nll - -1 > 0.7", true, "delta_nll - -1 is 0.75" },
        { "a factor on the right", "mean_kld<=baseline.mean_kld*1.05", false,
          "mean_kld is 0.0213, baseline.mean_kld*1.05 is 0.021" },
        { "a figure on the right", "0.02<=mean_kld", true, "mean_kld is 0.0213" },
        { "null", "kld.max<=1", false, "kld.max is null: this comparison does not have it" },
        { "null is not unequal either", "units_needed!=3", false,
          "units_needed is null: this comparison does not have it" },
        { "null in the baseline", "kld.p99<=baseline.kld.p99", false,
          "baseline.kld.p99 is null: the baseline does not have it" },
    };
    cJSON *document = json_parse(document_text, strlen(document_text), "document", NULL);
    cJSON *baseline = json_parse(baseline_text, strlen(baseline_text), "baseline", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gate g;
        struct error err = { 0 }, found = { 0 };
        bool met = gate_parse(&g, cases[i].gate, &err) && gate_met(&g, document, baseline, &found);
        check(!err.message[0] && met == cases[i].met && strcmp(found.message, cases[i].found) == 0,
              cases[i].name, "%d '%s' '%s'", met, err.message, found.message);
    }
    cJSON_Delete(document);
    cJSON_Delete(baseline);
}

static void test_refusals(void)
{
    static const struct {
        const char *gate, *message;         /* after "gate '...': " */
    } cases[] = {
        { "", "ends where a figure or a number is expected" },
        { "mean_kld", "ends where <=, <, >=, >, == or != is expected" },
        { "mean_kld<", "ends where a figure or a number is expected" },
        { "mean_kld=3", "character 9: found '=3', expected <=, <, >=, >, == or !=" },
        { "mean_kld<=x", "no figure is called 'x'" },
        { "mean_kl<=1", "no figure is called 'mean_kl'; near it: mean_kld" },
        { "kld.p98<=1", "no figure is called 'kld.p98'; near it: kld.p90, kld.p95, kld.p99" },
        { "floor.mean_kl<=1", "no figure is called 'floor.mean_kl'; near it: floor.mean_kld" },
        { "baseline.<=1", "no figure is called 'baseline.'" },
        { "layers.x.residual_error<=1",
          "no figure is called 'layers.x.residual_error'; near it: layers.#.residual_error" },
        { "mean_kld<=1 2", "character 13: found '2', expected the end" },
        { "mean_kld<=1*2*3", "character 14: found '*3', expected the end" },
        { "mean_kld<=1e", "character 11: found '1e', expected a number" },
        { "mean_kld<=1e999",
          "character 11: found '1e999', expected a number that a double can hold" },
        { "mean_kld<=--1", "character 11: found '--1', expected a figure or a number" },
        { "mean_kld<=.", "character 11: found '.', expected a figure or a number" },
        { "mean_kld<=0x10", "character 12: found 'x10', expected the end" },
        { "mean_kld<=nan", "no figure is called 'nan'" },
        { "mean_kld<=\xC3\xA9", "character 11: found '\xC3\xA9', expected a figure or a number" },
        { "abs(mean_kld<=1", "character 13: found '<=1', expected ')'" },
        { "abs(1)<=1", "character 5: found '1)<=1', expected a figure" },
        { "1<=2", "names no figure" },
        { "mean_kld<=1\n", "character 12: found '?', expected the end" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gate g;
        struct error err = { 0 };
        bool parsed = gate_parse(&g, cases[i].gate, &err);
        const char *message = strstr(err.message, "': ");
        check(!parsed && message && strcmp(message + 3, cases[i].message) == 0,
              *cases[i].gate ? cases[i].message : "an empty gate", "%d '%s'", parsed, err.message);
    }
}

/* Names that are far too long, and deeper than any. */
static void test_long_names(void)
{
    static char gate[5000];
    memset(gate, 'k', sizeof gate - 8);
    memcpy(gate + sizeof gate - 9, "<=1", 4);
    struct gate g;
    struct error err = { 0 };
    check(!gate_parse(&g, gate, &err) && err.message[0], "a long name is refused", "parsed");
    for (size_t i = 0; i + 9 < sizeof gate; i++)
        gate[i] = i % 2 ? '.' : '1';
    check(!figure_known(gate, sizeof gate - 9) && !figure_find(NULL, gate, sizeof gate - 9),
          "a deep name is no figure", "known");
}

static void test_baseline_needed(void)
{
    static const struct {
        const char *gate;
        bool needed;
    } cases[] = {
        { "mean_kld<=1", false }, { "baseline.mean_kld<=1", true },
        { "1>=2*baseline.mean_kld", true },
        { "mean_kld<=floor.mean_kld", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gate g;
        check(gate_parse(&g, cases[i].gate, NULL) && gate_needs_baseline(&g) == cases[i].needed,
              "a gate knows whether it needs the baseline", "%s", cases[i].gate);
    }
}

int main(void)
{
    test_values();
    test_refusals();
    test_long_names();
    test_baseline_needed();
    return check_done();
}
