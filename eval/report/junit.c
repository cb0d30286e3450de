#include "eval/report/junit.h"

#include "eval/report/describe.h"
#include "eval/report/markup.h"

/* For one of several comparisons: writes `before` and its candidate, `before` and its plan. */
static void put_subject(struct markup *m, const char *before, const struct report *r)
{
    static const char *const keys[] = { "candidate", "plan" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *name = cJSON_GetStringValue(json_get(r->document, keys[i]));
        markup_raw(m, name ? before : "");
        markup_text(m, name);
    }
}

static void add_gate(struct markup *m, const struct report *r, const struct gate_result *g)
{
    markup_raw(m, "    <testcase classname=\"surprisal.compare");
    put_subject(m, ".", r);
    markup_raw(m, "\" name=\"");
    markup_text(m, g->gate.text);
    if (g->met) {
        markup_raw(m, "\"/>\n");
        return;
    }
    markup_raw(m, "\">\n      <failure type=\"gate\" message=\"");
    markup_text(m, g->found.message);
    markup_raw(m, "\">gate failed: ");
    markup_text(m, g->gate.text);
    markup_raw(m, ": ");
    markup_text(m, g->found.message);
    markup_raw(m, "</failure>\n    </testcase>\n");
}

static void add_property(struct markup *m, const char *name, const char *value)
{
    markup_printf(m, "      <property name=\"%s\" value=\"", name);
    markup_text(m, value);
    markup_raw(m, "\"/>\n");
}

static size_t failed_gates(const struct report *r)
{
    size_t failed = 0;
    for (size_t i = 0; i < r->n_gates; i++)
        failed += !r->gates[i].met;
    return failed;
}

static void add_suite(struct markup *m, const struct report *r)
{
    markup_raw(m, "  <testsuite name=\"surprisal compare");
    put_subject(m, " ", r);
    markup_printf(m, "\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\">\n"
                  "    <properties>\n", r->n_gates, failed_gates(r));
    char name[DESCRIBE_NAME_BYTES];
    const char *reason = cJSON_GetStringValue(json_get(r->document, "reason"));
    if (reason)
        add_property(m, "not_comparable", reason);
    for (int side = 0; !reason && side < 2; side++) {
        describe_name(name, r->document, side ? "b" : "a");
        add_property(m, side ? "b" : "a", name);
    }
    if (!reason)
        add_property(m, "verdict", cJSON_GetStringValue(json_get(r->document, "verdict")));
    markup_raw(m, "    </properties>\n");
    for (size_t i = 0; i < r->n_gates; i++)
        add_gate(m, r, &r->gates[i]);
    markup_raw(m, "  </testsuite>\n");
}

bool junit_write(const struct report *reports, size_t n, const char *path, struct error *err)
{
    struct markup m = { .err = err };
    size_t tests = 0, failed = 0;
    for (size_t i = 0; i < n; i++) {
        tests += reports[i].n_gates;
        failed += failed_gates(&reports[i]);
    }
    markup_raw(&m, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    markup_printf(&m, "<testsuites name=\"surprisal compare\" tests=\"%zu\" failures=\"%zu\" "
                  "errors=\"0\">\n", tests, failed);
    for (size_t i = 0; i < n; i++)
        add_suite(&m, &reports[i]);
    markup_raw(&m, "</testsuites>\n");
    return markup_save(&m, path);
}
