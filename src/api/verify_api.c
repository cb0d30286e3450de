/* surprisal_verify of surprisal.h. */
#include <surprisal.h>

#include <stdlib.h>

#include "base/output_file.h"
#include "api/public.h"
#include "verify/verify_report.h"

struct outputs {
    cJSON *json;
    struct buffer text, html;
};

static bool write_all(struct surprisal_verify_result *result, const struct verify_result *r,
                      const char *html, struct error *err)
{
    struct outputs o = { 0 };
    struct verify_table t;
    if (!verify_table_make(&t, r, err))
        return false;
    bool ok = verify_json(&o.json, r, &t, err) && verify_report_text(&o.text, r, &t, err)
           && (!html || (verify_html(&o.html, r, &t, err)
                         && output_file_write(html, o.html.data, o.html.size, err)));
    ok = public_give(o.json, &o.text, ok, &result->json, &result->text, err);
    if (ok) {
        result->findings = r->findings.counts[LEVEL_FINDING];
        result->suspicions = r->findings.counts[LEVEL_SUSPICION];
        result->notes = r->findings.counts[LEVEL_NOTE];
    }
    buffer_free(&o.html);
    verify_table_free(&t);
    return ok;
}

/* Finds out before the work whether the page can be written, and would not replace a file that is
 * verified. */
static bool try_page(const struct surprisal_verify_options *o, const struct progress *progress,
                     struct error *err)
{
    struct input_files in = { 0 };
    bool ok = input_files_add_names(&in, o->checkpoint, err)
           && input_files_add_names(&in, o->against, err)
           && output_file_try(o->html, 0, &in, progress, err);
    input_files_free(&in);
    return ok;
}

bool surprisal_verify(const struct surprisal_verify_options *options,
                      struct surprisal_verify_result *result, struct surprisal_error *err)
{
    const struct progress progress = PROGRESS_OF(&options->machine.progress);
    struct error inner = { .interrupted = false };
    struct verify_result r;
    *result = (struct surprisal_verify_result){ 0 };
    bool ok = (!options->html || try_page(options, &progress, &inner))
           && verify_checkpoint(&r, options->checkpoint, options->against, options->machine.threads,
                                &progress, &inner);
    if (ok) {
        r.lists_all = options->all;
        ok = write_all(result, &r, options->html, &inner);
        verify_free(&r);
    }
    return public_tell(err, ok, &inner);
}

void surprisal_verify_result_free(struct surprisal_verify_result *result)
{
    cJSON_free(result->json);
    free(result->text);
    *result = (struct surprisal_verify_result){ 0 };
}
