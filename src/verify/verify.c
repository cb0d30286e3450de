#include "verify/verify.h"

#include <stdlib.h>

#include "base/machine.h"
#include "base/threads.h"
#include "verify/verify_files.h"
#include "verify/verify_judge.h"
#include "verify/verify_coverage.h"
#include "verify/verify_extremes.h"
#include "verify/verify_levels.h"
#include "verify/verify_norms.h"
#include "verify/verify_stand_ins.h"
#include "verify/verify_tokens.h"

/* Its own faults are not what was asked for, but what cannot be read of it is said. */
static bool open_original(struct verify_result *r, const char *path, struct error *err)
{
    struct findings faults = { 0 };
    bool ok = verify_folder_open(&r->original, path, &faults, err)
           && verify_folder_list(&r->original_weights, &r->original, NULL, err);
    for (size_t i = 0; ok && i < faults.n; i++)
        if (finding_level(faults.list[i].code) != LEVEL_NOTE)
            ok = findings_add(&r->findings, faults.list[i].code, faults.list[i].file,
                              faults.list[i].tensor, err, "in the original: %s",
                              faults.list[i].text);
    findings_free(&faults);
    r->has_original = ok;
    return ok;
}

/* What only the values can tell, and the original would prove. */
static bool suspect(struct verify_result *r, struct error *err)
{
    const struct verify_folder *f = &r->folder;
    struct verify_labels labels;
    if (!verify_labels_make(&labels, &r->weights, f->prefix, err))
        return false;
    bool ok = verify_norms(f, &r->weights, &labels, &r->findings, err)
           && verify_extremes(r->tallies, &r->weights, &labels, &r->findings, err)
           && verify_levels(r->tallies, f, &r->weights, &labels, &r->findings, err);
    verify_labels_free(&labels);
    return ok;
}

/* What lies beside the weights. */
static bool check_surroundings(struct verify_result *r, int n_threads,
                               const struct progress *progress, struct error *err)
{
    struct findings *found = &r->findings;
    return r->folder.ck.reader->is_self_described
        || (verify_download(&r->download, &r->folder, n_threads, progress, found, err)
            && verify_stand_ins(&r->folder, found, err));
}

static bool check(struct verify_result *r, const char *checkpoint, const char *against,
                  int n_threads, const struct progress *progress, struct error *err)
{
    struct findings *found = &r->findings;
    struct weight_list *w = &r->weights;
    const struct weight_list *original = against ? &r->original_weights : NULL;
    if (!threads_start(n_threads, 0, err) || !verify_folder_open(&r->folder, checkpoint, found, err)
        || !check_surroundings(r, n_threads, progress, err)
        || !verify_folder_list(w, &r->folder, found, err)
        || (against && !open_original(r, against, err))
        || !verify_folder_match(&r->folder, w, found, err))
        return false;
    bool is_self_described = r->folder.ck.reader->is_self_described;
    if (!is_self_described && !verify_coverage(&r->folder, w, found, err))
        return false;
    if (original && (!verify_judge_names(&r->folder, w, &r->original, original, found, err)
                     || !(is_self_described
                              ? verify_tokens(&r->folder, &r->original, found, err)
                              : verify_files(&r->folder, &r->original, found, err))))
        return false;
    r->tallies = mem_array(w->n, sizeof *r->tallies, "the scan", err);
    return r->tallies
        && verify_scan(r->tallies, &r->folder, w, &r->original, original, n_threads, progress, err)
        && verify_judge(r->tallies, w, original, found, err) && (original || suspect(r, err));
}

bool verify_checkpoint(struct verify_result *out, const char *checkpoint, const char *against,
                       int n_threads, const struct progress *progress, struct error *err)
{
    *out = (struct verify_result){ 0 };
    double start = machine_seconds();
    bool ok = check(out, checkpoint, against, n_threads > 0 ? n_threads : machine_processors(),
                    progress, err);
    out->seconds = machine_seconds() - start;
    if (!ok)
        verify_free(out);
    return ok;
}

void verify_free(struct verify_result *r)
{
    free(r->tallies);
    weight_list_free(&r->weights);
    weight_list_free(&r->original_weights);
    verify_folder_close(&r->folder);
    verify_folder_close(&r->original);
    findings_free(&r->findings);
    *r = (struct verify_result){ 0 };
}
