/* crew.h - what rank 0 knows of all ranks: where they are, whether they agree, who does what. */
#ifndef SURPRISAL_CLUSTER_CREW_H
#define SURPRISAL_CLUSTER_CREW_H

#include "cluster/channel.h"

struct crew_member {
    char *place;                        /* owned: "HOST PROCESSORS"; NULL: not here yet */
    char *facts;                        /* owned: by crew_pack; NULL: not ready */
    bool busy;                          /* with a part */
};

#define CREW_WARNINGS 64

struct crew {
    struct crew_member *members;        /* owned [size] */
    int size, n_here, n_ready;          /* n_ready: without rank 0 */
    size_t parts, n_done;
    bool *given;                        /* owned [parts + 1]: finished, or somebody scores it */
    char *warned[CREW_WARNINGS];        /* owned: each is told once */
    size_t n_warned;
    bool told_plan;
    bool lost;                          /* a rank does not answer: the launcher has to end it */
};

bool crew_begin(struct crew *c, int size, struct surprisal_error *err);
void crew_end(struct crew *c);

/* "rank 3 on HOST: TEXT", as far as the host is known. */
void crew_prefix(char *out, size_t n, const struct crew *c, int rank, const char *text);
/* Tells a warning unless the same text was told; line: as it is shown. */
void crew_warn(struct crew *c, const char *text, const char *line,
               const struct surprisal_progress *to);

/* ---- who is where --------------------------------------------------------------------- */

void crew_place(struct crew *c, int rank, const char *place);
size_t crew_on_machine(const struct crew *c, int rank);
size_t crew_on_processors(const struct crew *c, int rank);
/* Tells each rank its share of its machine. */
void crew_welcome(const struct crew *c, struct channel *channel);

/* ---- do they agree ---------------------------------------------------------------------- */

/* Instruction set and settings as a text of MESSAGE_READY; out: [n].  False if they are longer. */
bool crew_pack(char *out, size_t n, const struct surprisal_division_facts *facts);
/* Refuses ranks with other facts than these of rank 0, by name. */
bool crew_check(const struct crew *c, const struct surprisal_division_facts *facts, bool mixed,
                struct surprisal_error *err);

/* ---- who does what ------------------------------------------------------------------------- */

bool crew_find_parts(struct crew *c, const struct surprisal_division *d,
                     struct surprisal_error *err);
/* The next part that nobody has, given to the caller; 0: none. */
size_t crew_next(struct crew *c);
/* Gives parts to those that are free. */
void crew_deal(struct crew *c, struct channel *channel);
/* MESSAGE_HELLO, READY and DONE. */
void crew_receive(struct crew *c, const struct message *m);
/* Shows on stderr how many ranks do how many parts. */
void crew_show(const struct crew *c, size_t parts);

#endif
