#include "grammar/dfa.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "grammar/regex.h"
#include "grammar/word_lists.h"

void dfa_free(struct dfa *d)
{
    free(d->first);
    free(d->class);
    free(d->next);
    free(d->accepts);
    *d = (struct dfa){ 0 };
}

static size_t interval_of(const struct dfa *d, uint32_t c)
{
    size_t low = 0, high = d->n_intervals;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (d->first[middle] <= c)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint32_t dfa_step(const struct dfa *d, uint32_t state, uint32_t c)
{
    return d->next[state * d->n_classes + d->class[interval_of(d, c)]];
}

bool dfa_accepts(const struct dfa *d, const char *text)
{
    uint32_t state = d->start;
    for (size_t i = 0, length; text[i] && state; i += length)
        state = dfa_step(d, state, utf8_get(text + i, &length));
    return d->accepts[state];
}

/* ---- classes: characters that no set tells apart --------------------------------- */

static bool find_intervals(struct dfa *d, const struct regex *r, struct error *err)
{
    size_t n = 1;
    for (size_t i = 0; i < r->n_sets; i++)
        n += 2 * r->sets[i].n;
    d->first = mem_array(n, sizeof *d->first, "pattern", err);
    d->class = mem_array(n, sizeof *d->class, "pattern", err);
    if (!d->first || !d->class)
        return false;
    n = 1;                              /* first[0] is 0 */
    for (size_t i = 0; i < r->n_sets; i++)
        for (size_t k = 0; k < r->sets[i].n; k++) {
            d->first[n++] = r->sets[i].ranges[k].first;
            d->first[n++] = r->sets[i].ranges[k].last + 1;
        }
    d->n_intervals = word_lists_sort(d->first, n);
    return true;
}

/* Splits the classes by one set: (old class, in the set or not) -> new class. */
static bool split(struct dfa *d, const struct charset *s, struct error *err)
{
    struct word_lists pairs = { 0 };
    size_t k = 0;
    for (size_t i = 0; i < d->n_intervals; i++) {
        while (k < s->n && s->ranges[k].last < d->first[i])
            k++;
        const uint32_t pair[] = { d->class[i], k < s->n && s->ranges[k].first <= d->first[i] };
        d->class[i] = word_lists_number(&pairs, pair, 2, err);
        if (d->class[i] == WORD_LISTS_FAILED) {
            word_lists_free(&pairs);
            return false;
        }
    }
    d->n_classes = pairs.n;
    word_lists_free(&pairs);
    return true;
}

static bool find_classes(struct dfa *d, struct regex *r, struct error *err)
{
    struct word_lists sets = { 0 };
    bool ok = find_intervals(d, r, err);
    d->n_classes = 1;
    for (size_t i = 0; ok && i < r->n_sets; i++) {
        const struct charset *s = &r->sets[i];
        size_t n_known = sets.n;
        ok = word_lists_number(&sets, (const uint32_t *)s->ranges, 2 * s->n, err)
             != WORD_LISTS_FAILED;
        if (ok && 16 * d->n_intervals * sets.n > DFA_MAX_WORK)
            ok = error_set(err, "regular expression: it has too many different characters");
        ok = ok && (sets.n == n_known || split(d, s, err));
    }
    word_lists_free(&sets);
    return ok;
}

/* ---- subsets --------------------------------------------------------------------- */

struct builder {
    const struct regex *r;
    struct dfa *d;
    struct word_lists subsets;  /* of steps, sorted, with "accepts" in front */
    uint32_t *open, *found, *kept;      /* [n_steps + 1] */
    size_t n_found;
    uint32_t *marks, round;     /* [n_steps] */
    uint32_t *sample;           /* [n_classes]: a character of each */
    size_t rest;                /* a step that all texts match from, or n_steps */
    size_t work, accepts_capacity, next_capacity;
};

/* Adds to b->found what can be reached without a character from the steps in b->open; says whether
 * REGEX_MATCH can. */
static bool close_over(struct builder *b, size_t n_open, bool at_begin, bool at_end)
{
    bool matches = false;
    b->round++;
    b->n_found = 0;
    for (size_t i = 0; i < n_open; i++)
        b->marks[b->open[i]] = b->round;
    while (n_open > 0) {
        uint32_t i = b->open[--n_open], to[2];
        struct regex_step s = b->r->steps[i];
        size_t n = 0;
        b->work++;
        matches = matches || s.kind == REGEX_MATCH;
        if (s.kind == REGEX_SET || (s.kind == REGEX_END && !at_end))
            b->found[b->n_found++] = i;
        else if (s.kind == REGEX_EITHER || s.kind == REGEX_JUMP)
            to[n++] = i + (uint32_t)s.a;
        else if ((s.kind == REGEX_BEGIN && at_begin) || s.kind == REGEX_END)
            to[n++] = i + 1;
        if (s.kind == REGEX_EITHER)
            to[n++] = i + (uint32_t)s.b;
        while (n-- > 0)
            if (b->marks[to[n]] != b->round) {
                b->marks[to[n]] = b->round;
                b->open[n_open++] = to[n];
            }
    }
    return matches;
}

/* The state of the steps in b->open. */
static bool subset(struct builder *b, size_t n_open, bool at_begin, uint32_t *state,
                   struct error *err)
{
    size_t known = b->subsets.n;
    bool accepts = close_over(b, n_open, at_begin, false);
    for (size_t i = 0; i < b->n_found; i++)
        if (b->found[i] == b->rest) {           /* all texts match from here */
            b->found[0] = (uint32_t)b->rest;
            b->n_found = 1;
        }
    size_t n = word_lists_sort(b->found, b->n_found);
    memcpy(b->kept + 1, b->found, n * sizeof *b->found);
    if (!accepts) {
        memcpy(b->open, b->found, n * sizeof *b->found);
        accepts = close_over(b, n, at_begin, true);
    }
    b->kept[0] = accepts;
    *state = word_lists_number(&b->subsets, b->kept, n + 1, err);
    if (*state == WORD_LISTS_FAILED)
        return false;
    if (b->subsets.n > DFA_MAX_STATES || b->subsets.n * b->d->n_classes > DFA_MAX_TABLE
        || b->work > DFA_MAX_WORK)
        return error_set(err, "regular expression: its automaton is too large");
    if (b->subsets.n == known)
        return true;
    if (!mem_grow(&b->d->accepts, &b->accepts_capacity, known + 1, 1, "pattern", err))
        return false;
    b->d->accepts[known] = accepts;
    return true;
}

static bool has(const struct charset *s, uint32_t c)
{
    size_t low = 0, high = s->n;
    while (low < high) {                /* the first range that does not end before it */
        size_t middle = (low + high) / 2;
        if (s->ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n && s->ranges[low].first <= c;
}

static bool fill_state(struct builder *b, uint32_t state, struct error *err)
{
    struct dfa *d = b->d;
    if (!mem_grow(&d->next, &b->next_capacity, (state + 1) * d->n_classes, sizeof *d->next,
                  "pattern", err))
        return false;
    for (size_t class = 0; class < d->n_classes; class++) {
        const uint32_t *steps = word_lists_get(&b->subsets, state) + 1;
        size_t n_open = 0, n = word_lists_length(&b->subsets, state) - 1;
        for (size_t i = 0; i < n; i++) {
            struct regex_step s = b->r->steps[steps[i]];
            b->work++;
            if (s.kind == REGEX_SET && has(&b->r->sets[s.set], b->sample[class]))
                b->open[n_open++] = steps[i] + 1;
        }
        if (!subset(b, n_open, false, &d->next[state * d->n_classes + class], err))
            return false;
    }
    return true;
}

static bool build(struct builder *b, struct error *err)
{
    struct dfa *d = b->d;
    size_t n = b->r->n_steps;
    uint32_t dead;
    b->open = mem_array(n + 1, sizeof *b->open, "pattern", err);
    b->found = mem_array(n + 1, sizeof *b->found, "pattern", err);
    b->kept = mem_array(n + 1, sizeof *b->kept, "pattern", err);
    b->marks = mem_array(n + 1, sizeof *b->marks, "pattern", err);
    b->sample = mem_array(d->n_classes, sizeof *b->sample, "pattern", err);
    if (!b->open || !b->found || !b->kept || !b->marks || !b->sample
        || !subset(b, 0, false, &dead, err))
        return false;
    for (size_t i = 0; i < d->n_intervals; i++)
        b->sample[d->class[i]] = d->first[i];
    b->open[0] = 0;
    bool ok = subset(b, 1, true, &d->start, err);
    for (uint32_t state = 0; ok && state < b->subsets.n; state++)
        ok = fill_state(b, state, err);
    d->n_states = b->subsets.n;
    return ok;
}

/* Steps to states from which no text is accepted lead to state 0, so that runs are seen as such
 * (count_runs).  Given up where it takes long: the graph leaves such states out in any case. */
static bool cut_hopeless(struct dfa *d, struct error *err)
{
    size_t size = d->n_states * d->n_classes, work = 0;
    bool *live = mem_array(d->n_states, sizeof *live, "pattern", err), changed = true;
    if (!live)
        return false;
    for (; changed && work <= DFA_MAX_WORK; work += size) {
        changed = false;
        for (size_t s = d->n_states; s-- > 0; ) {
            bool is_live = d->accepts[s];
            for (size_t k = 0; k < d->n_classes && !is_live; k++)
                is_live = live[d->next[s * d->n_classes + k]];
            changed = changed || is_live != live[s];
            live[s] = is_live;
        }
    }
    for (size_t i = 0; i < size && !changed; i++)
        d->next[i] = live[d->next[i]] ? d->next[i] : 0;
    free(live);
    return true;
}

/* Any text before and behind the pattern: either a character and again, or on. */
static bool add_any_text(struct regex *r, struct error *err)
{
    return regex_add(r, (struct regex_step){ .kind = REGEX_EITHER, .a = 3, .b = 1 }, err)
        && regex_add_any(r, err)
        && regex_add(r, (struct regex_step){ .kind = REGEX_JUMP, .a = -2 }, err);
}

bool dfa_of_pattern(struct dfa *d, const char *pattern, size_t n, bool is_whole, struct error *err)
{
    struct regex r = { 0 };
    struct builder b = { .r = &r, .d = d };
    bool ok = (is_whole || add_any_text(&r, err)) && regex_parse(&r, pattern, n, err);
    b.rest = r.n_steps + 1;
    ok = ok && (is_whole || add_any_text(&r, err))
      && regex_add(&r, (struct regex_step){ .kind = REGEX_MATCH }, err);
    if (is_whole)
        b.rest = r.n_steps;
    ok = ok && find_classes(d, &r, err) && build(&b, err) && cut_hopeless(d, err);
    d->work = r.work + b.work + r.n_steps + d->n_states * d->n_classes;
    word_lists_free(&b.subsets);
    free(b.open);
    free(b.found);
    free(b.kept);
    free(b.marks);
    free(b.sample);
    regex_free(&r);
    return ok;
}

/* ---- texts without a needle: state 1 + i has read i of its characters ------------ */

bool dfa_without(struct dfa *d, const char *needle, struct error *err)
{
    size_t n = strlen(needle);
    d->n_states = n + 1;
    d->n_intervals = d->n_classes = 128;
    d->start = 2;
    d->first = mem_array(128, sizeof *d->first, "pattern", err);
    d->class = mem_array(128, sizeof *d->class, "pattern", err);
    d->next = mem_array(d->n_states * 128, sizeof *d->next, "pattern", err);
    d->accepts = mem_array(d->n_states, 1, "pattern", err);
    if (!d->first || !d->class || !d->next || !d->accepts)
        return false;
    for (uint32_t c = 0; c < 128; c++)          /* the last interval: 127 and all behind it */
        d->first[c] = d->class[c] = c;
    for (size_t i = 0; i < n; i++) {
        d->accepts[1 + i] = true;
        for (size_t c = 0; c < 128; c++)
            d->next[(1 + i) * 128 + c] = (char)c == needle[0] ? 2 : 1;
        d->next[(1 + i) * 128 + (size_t)needle[i]] = i + 1 < n ? (uint32_t)i + 2 : 0;
    }
    return true;
}
