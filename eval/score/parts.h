/* parts.h - the parts of one run (eval --part): read, and proved to be its parts. */
#ifndef SURPRISAL_EVAL_SCORE_PARTS_H
#define SURPRISAL_EVAL_SCORE_PARTS_H

#include "base/input_files.h"
#include "eval/run/record.h"

/* Zero-initialise; release with parts_close. */
struct parts {
    struct record *list;                /* owned [n], in the order of the text */
    size_t n, windows, rows;            /* of all parts together; rows as in the files */
};

/* Opens the run folders [n], in any order; inputs gets their files.  Refuses, by the name of its
 * folder, a whole run, a part of another run, and a part that is there twice; and, with the command
 * that makes them, parts that are missing.  mixed: parts may have been computed with different
 * instruction sets.  plans: the names of all plans of the run, for that command; NULL: the run has
 * none. */
bool parts_open(struct parts *p, const char *const *folders, size_t n, bool mixed,
                const char *const *plans, struct input_files *inputs, struct error *err);
void parts_close(struct parts *p);

#endif
