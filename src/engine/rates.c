#include "engine/rates.h"

#include <math.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/machine.h"
#include "engine/limits.h"
#include "engine/mixer_sample.h"
#include "engine/product_sample.h"
#include "engine/row_sample.h"
#include "engine/stopwatch.h"
#include "kernels/stored.h"
#include "model/linear.h"

/* How much is timed. */
struct effort {
    size_t pool, rows, tokens;      /* values of row samples; rows of products, for each thread;
                                       tokens of the delta rule */
    double seconds;                 /* of a round */
    size_t hashed_bytes, disk_bytes;
    double disk_seconds;
};

static const struct effort whole = {
    .pool = (size_t)1 << 22, .rows = KERNEL_ROWS / 2, .tokens = 256, .seconds = 5e-4,
    .hashed_bytes = (size_t)1 << 20, .disk_bytes = (size_t)32 << 20, .disk_seconds = 0.05,
};
static const struct effort brief = {
    .pool = (size_t)1 << 15, .rows = 60, .tokens = DELTA_CHUNK, .seconds = 0,
    .hashed_bytes = (size_t)1 << 16, .disk_bytes = 1, .disk_seconds = 0.01,
};
/* Below this a job takes less time than measuring thoroughly would save in surprise. */
#define BRIEF_FLOP 2e10

struct measuring {
    const struct workload *load;
    const struct compute *cm;
    const struct checkpoint *ck;
    const struct effort *effort;
    struct rates_estimate *out;
    double page_in_seconds;         /* of a byte that the system's cache has */
};

/* ---- products ------------------------------------------------------------------- */

/* Brings the rows into memory; times what that costs when the system's cache has them. */
static bool populate(struct measuring *m, const struct matrix *w)
{
    struct stored_span spans[STORED_SPANS];
    size_t n = stored_spans(spans, w, 0, product_sample_weight_rows(w)), bytes = 0;
    double seconds = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mapped_file *f = checkpoint_file_of(m->ck, spans[i].data);
        if (!f || spans[i].n == 0)
            continue;
        size_t offset = (size_t)(spans[i].data - f->data);
        if (!file_populate(f, offset, spans[i].n, NULL))
            return false;
        file_release(f, offset, spans[i].n, false);
        double start = machine_seconds();
        if (!file_populate(f, offset, spans[i].n, NULL))
            return false;
        seconds += machine_seconds() - start;
        bytes += spans[i].n;
    }
    if (bytes > 0 && (m->page_in_seconds <= 0 || seconds / (double)bytes < m->page_in_seconds))
        m->page_in_seconds = seconds / (double)bytes;
    return true;
}

static bool estimate_products(struct measuring *m)
{
    for (size_t i = 0; i < m->load->n_products; i++) {
        const struct workload_product *p = &m->load->products[i];
        struct product_sample s;
        if (!populate(m, p->w)
            || !product_sample_time(&s, m->cm, p, m->effort->rows, m->effort->seconds, NULL))
            return false;
        m->out->products += p->flop * s.flop + p->input_values * s.input_value;
        m->out->packing += p->weight_values * s.weight_value;
    }
    return true;
}

/* ---- everything else -------------------------------------------------------------- */

static bool estimate_rows(struct measuring *m)
{
    struct row_sample s = { 0 };
    bool ok = row_sample_open(&s, m->cm, m->effort->pool, NULL);
    for (int kind = 0; ok && kind < WORKLOAD_KINDS; kind++) {
        enum workload_kind k = (enum workload_kind)kind;
        if (m->load->amount[k] > 0 && row_sample_has(k))
            m->out->kinds[k] = m->load->amount[k] * row_sample_seconds(&s, k, m->effort->seconds);
    }
    row_sample_close(&s);
    return ok;
}

static bool estimate_mixers(struct measuring *m)
{
    struct mixer_sample s;
    const double *amount = m->load->amount;
    double *out = m->out->kinds, threads = (double)m->cm->n_threads;
    bool ok = true;
    if (amount[WORKLOAD_DELTA_RULE] > 0) {
        size_t tokens = size_max(1, size_min(m->load->longest, m->effort->tokens));
        ok = mixer_sample_delta_rule(&s, m->cm, tokens, NULL);
        if (ok)
            out[WORKLOAD_DELTA_RULE] = amount[WORKLOAD_DELTA_RULE] / (double)tokens / threads
                * stopwatch_confirmed(mixer_sample_run_delta_rule, &s, m->effort->seconds);
        mixer_sample_close(&s);
    }
    if (ok && amount[WORKLOAD_ATTENTION] > 0) {
        ok = mixer_sample_attention(&s, m->cm, NULL);
        if (ok)
            out[WORKLOAD_ATTENTION] =
                amount[WORKLOAD_ATTENTION] / mixer_sample_attention_flop(&s) / threads
                * stopwatch_confirmed(mixer_sample_run_attention, &s, m->effort->seconds);
        mixer_sample_close(&s);
    }
    return ok;
}

/* ---- reading ---------------------------------------------------------------------- */

/* Seconds of a byte. */
static double hash_seconds(const struct measuring *m)
{
    size_t n = m->effort->hashed_bytes;
    char *bytes = mem_array(n, 1, "bytes to hash", NULL);
    struct digest digest;
    double best = INFINITY;
    for (int round = 0; bytes && round < STOPWATCH_ROUNDS; round++) {
        double start = machine_seconds();
        if (digest_of(&digest, bytes, n, NULL))
            best = fmin(best, machine_seconds() - start);
    }
    free(bytes);
    return isfinite(best) ? best / (double)n : 0;
}

/* Of what comes from the disk, by the files that the system's cache does not have. */
static double disk_seconds(const struct measuring *m)
{
    double size = 0, missing = 0;
    const struct mapped_file *f = NULL;
    struct limits_rate rate = { 0 };
    for (size_t i = 0; i < m->ck->n_files; i++) {
        const struct mapped_file *map = &m->ck->files[i].map;
        double share = 1 - file_cached_share(map);
        size += (double)map->size;
        missing += share * (double)map->size;
        if (share > 0 && (!f || map->size > f->size))
            f = map;
    }
    if (!f || !limits_disk(&rate, f->path, m->effort->disk_bytes, m->effort->disk_seconds, NULL)
        || rate.bytes_per_second <= 0)
        return 0;
    return m->load->reading.from_disk * missing / size / rate.bytes_per_second;
}

/* One thread reads and hashes, beside those that compute: it takes their time where there is no
 * processor of its own for it. */
static void estimate_total(struct measuring *m)
{
    struct rates_estimate *out = m->out;
    const struct workload_reading *r = &m->load->reading;
    double compute = out->products + out->packing;
    for (int kind = 0; kind < WORKLOAD_KINDS; kind++)
        compute += out->kinds[kind];
    bool reads = r->first + r->beside > 0;
    double hash = r->first_hashed + r->beside_hashed > 0 ? hash_seconds(m) : 0;
    double first = r->first * m->page_in_seconds + r->first_hashed * hash;
    double beside = r->beside * m->page_in_seconds + r->beside_hashed * hash;
    double disk = reads ? disk_seconds(m) : 0;
    double disk_first = reads ? disk * r->first / (r->first + r->beside) : 0;
    double taken = machine_processors() > m->cm->n_threads ? 0 : beside / m->cm->n_threads;
    out->total = fmax(first, disk_first) + fmax(compute + taken, fmax(beside, disk - disk_first));
    out->reading = out->total - compute;
}

/* Memory of the samples, roughly: two pools, and the rows of the widest product. */
static bool fits(const struct measuring *m, size_t most_bytes)
{
    size_t widest = 0, threads = (size_t)m->cm->n_threads;
    for (size_t i = 0; i < m->load->n_products; i++)
        widest = size_max(widest, m->load->products[i].w->cols);
    return 2 * sizeof(float) * size_max(m->effort->pool, 2 * threads * m->effort->rows * widest)
        <= most_bytes;
}

struct rates_estimate rates_estimate(const struct workload *load, const struct compute *cm,
                                     const struct checkpoint *ck, size_t most_bytes)
{
    struct rates_estimate out = { 0 };
    struct measuring m = { .load = load, .cm = cm, .ck = ck, .effort = &whole, .out = &out };
    if (workload_flop(load) < BRIEF_FLOP || !fits(&m, most_bytes))
        m.effort = &brief;
    if (estimate_products(&m) && estimate_rows(&m) && estimate_mixers(&m))
        estimate_total(&m);
    return out;
}
