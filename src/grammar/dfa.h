/* dfa.h - a deterministic automaton over characters: patterns of strings, and several at once.
 *
 * Source: M. O. Rabin and D. Scott, "Finite Automata and Their Decision Problems" (1959): subsets
 * of steps for one pattern, pairs of states for two that must both match. */
#ifndef SURPRISAL_GRAMMAR_DFA_H
#define SURPRISAL_GRAMMAR_DFA_H

#include "grammar/charset.h"

#define DFA_MAX_STATES ((size_t)1 << 14)
#define DFA_MAX_TABLE  ((size_t)1 << 22)    /* states times classes of characters */
#define DFA_MAX_WORK   ((size_t)1 << 25)    /* steps looked at */
#define DFA_MAX_PAIRS  ((size_t)1 << 16)    /* states of several automata and a count together */

/* Zero-initialise; owns everything; release with dfa_free, also after a failure. */
struct dfa {
    uint32_t *first;            /* [n_intervals]: characters from first[i] to before first[i + 1] */
    uint32_t *class;            /* [n_intervals]: are all of this class */
    size_t n_intervals, n_classes;
    uint32_t *next;             /* [n_states, n_classes]; state 0: nothing can follow */
    bool *accepts;              /* [n_states] */
    size_t n_states;
    uint32_t start;
    size_t work;                /* that it took, for graph_spend */
};

/* Texts that hold a match of the pattern, or that match as a whole (is_whole). */
bool dfa_of_pattern(struct dfa *d, const char *pattern, size_t n, bool is_whole,
                    struct error *err);
/* Texts (of ASCII and other characters) without `needle`, also where the text's first character
 * comes behind the first one of the needle.  The needle's first character occurs in it once. */
bool dfa_without(struct dfa *d, const char *needle, struct error *err);
void dfa_free(struct dfa *d);

/* The state behind one more character. */
uint32_t dfa_step(const struct dfa *d, uint32_t state, uint32_t c);
bool dfa_accepts(const struct dfa *d, const char *text);

/* A node: texts of min to max characters (UINT32_MAX: any number) that all n automata accept. */
uint32_t dfa_node(struct graph *g, const struct dfa *dfas, size_t n, uint32_t min, uint32_t max,
                  enum charset_form form);

#endif
