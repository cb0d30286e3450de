/* verify_report.h - a result for programs, for people, and for a browser.
 *
 * JSON: {"surprisal", "checkpoint", "against", "download": null where the hub's client left
 * nothing, else {"revision", "files": with a digest, "equal": of these}, "tensors", "quantized",
 * "bytes", "seconds", "finding_count", "findings": [{"code", "file", "tensor", "text"}],
 * "suspicion_count", "suspicions": [same], "note_count", "notes": [same], "total": figures,
 * "kinds": [{"kind", figures}], "layers": [{"layer", "kind", figures}], "worst": [{"tensor",
 * figures}] (at most ten, by SQNR), "quantized_tensors": [{"tensor", figures}]}. Figures are
 * "tensors", "weights", "sqnr_db", "relative_error", "clipped_share" (|w| above the largest code),
 * "largest_code_share", "zero_block_share", "zero_rows"; null where not known: the distances and
 * the clipped share without the original, SQNR also where the error is 0. */
#ifndef SURPRISAL_VERIFY_VERIFY_REPORT_H
#define SURPRISAL_VERIFY_VERIFY_REPORT_H

#include "base/json.h"
#include "verify/verify_groups.h"
#include "verify/verify_table.h"

/* Gives. */
bool verify_json(cJSON **out, const struct verify_result *r, const struct verify_table *t,
                 struct error *err);
/* Findings, suspicions and notes, a line for each group (verify_groups.h), then the table of SQNR
 * by layer and kind. */
bool verify_report_text(struct buffer *out, const struct verify_result *r,
                        const struct verify_table *t, struct error *err);
/* A page that needs nothing but itself. */
bool verify_html(struct buffer *out, const struct verify_result *r, const struct verify_table *t,
                 struct error *err);

/* Indices of the quantized weights with the lowest SQNR, the lowest first; returns how many. */
#define VERIFY_WORST ((size_t)10)
size_t verify_report_worst(size_t out[VERIFY_WORST], const struct verify_result *r);

/* Bytes of all tensors that were checked. */
size_t verify_report_bytes(const struct verify_result *r);
/* "download: 9 of 9 files have the digests ..."; nothing where there are none. */
bool verify_report_download(struct buffer *out, const struct verify_result *r, struct error *err);
/* The last line: "no findings in 991 tensors", "3 findings, 1 note".  n_lines: of findings,
 * suspicions and notes. */
bool verify_report_closing(struct buffer *out, const struct verify_result *r, size_t n_lines,
                           struct error *err);
/* 10.25 as "10.25", what is not known as "-". */
#define VERIFY_NUMBER_BYTES 32
const char *verify_report_number(char text[VERIFY_NUMBER_BYTES], double x, int digits);
double verify_report_share(size_t n, size_t of);       /* NaN of nothing */

#endif
