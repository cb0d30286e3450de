/* bench_report.h - bench/bench.h as a table and as JSON.
 *
 * The JSON (GFLOP and GB are powers of 1000; a share is of a limit measured in the same run):
 *     surprisal, isa, threads, checkpoint (null: the shapes of Qwen3.5-35B-A3B), seconds
 *     waited_share     of the processors' time that other work had: above 0.02 trust nothing else
 *     limits {fma_f32_gflops, fma_f32_gflops_1_thread      arithmetic in registers, GFLOP/s
 *             bf16_dot_gflops, bf16_dot_gflops_1_thread    null without such an instruction: shares
 *                                                          of bf16 are then of fma_f32_gflops
 *             memory_read_gb_per_second, memory_read_gb_per_second_1_thread, memory_buffer_bytes
 *             disk_read_gb_per_second, disk_read_bytes}    null without a checkpoint
 *     kernels [{name, kind, shape, ...}]
 *         kind "product": compute, weights ("packed" beforehand, "BF16" or "MXFP4": packed in the
 *                         time), gflops, limit_gflops (arithmetic in registers, measured in turn
 *                         with the kernel), share (of that); shape is "rows x out x in"
 *         kind "few rows": as decoding multiplies; compute, weights (as stored), gflops,
 *                         gb_per_second (of weights), limit_gflops (of arithmetic, or of reading
 *                         the weights with memory_read_gb_per_second if that is less), share
 *         kind "mixer":   compute, gflops, limit_gflops, share; what delta rule and attention
 *                         multiply
 *         kind "rows":    gb_per_second (read and written), share (of memory_read_gb_per_second;
 *                         above 1 where a cache serves it), ns_per_value (of one thread)
 *     layer_type, layer_tokens, layer_gflop                the linear layers of one layer
 *     layer_products_seconds {f32, bf16}                   the sum of their measured times
 *     layer_products_share {f32, bf16}                     of the time at their limits
 *     layer_mxfp4_time_ratio {f32, bf16}                   with experts (MLP) in MXFP4 to BF16
 *     kld_share_of_head {f32, bf16}                        speed of KL divergence over the
 *                                                          vocabulary, the FLOP of both products
 *                                                          counted, by the head's */
#ifndef SURPRISAL_BENCH_BENCH_REPORT_H
#define SURPRISAL_BENCH_BENCH_REPORT_H

#include "base/json.h"
#include "bench/bench.h"
#include "formats/checkpoint.h"
#include "surprisal.h"

/* Measures; json and text may be NULL.  Gives *json, to be freed by cJSON_Delete, and appends to
 * text.  opened: the options' model; NULL: the folder that they name is opened, if they name
 * one. */
bool bench_report(cJSON **json, struct buffer *text, const struct surprisal_bench_options *options,
                  const struct checkpoint *opened, struct error *err);

/* Appends the table; checkpoint may be NULL. */
bool bench_text(struct buffer *out, const struct bench_result *result, const char *checkpoint,
                struct error *err);

#endif
