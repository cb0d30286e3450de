/* mpi_library.h - what is used of MPI, for each MPI that the program was built for.
 *
 * mpi_library.c is compiled once for each of them, with its header, and loads the library whose
 * binary interface that header describes when a launcher has started several ranks.  So the program
 * needs no MPI to run, starts as fast as without, and serves the launchers of both.  The calls that
 * wait for other processes, but for the first and the last, are avoided: they cannot time out. */
#ifndef SURPRISAL_CLUSTER_MPI_LIBRARY_H
#define SURPRISAL_CLUSTER_MPI_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <surprisal.h>

struct mpi_session;

struct mpi_library {
    const char *name;                   /* "Open MPI" */
    /* MPI_Init; gives a session for the calling thread, or NULL with the reason. */
    struct mpi_session *(*begin)(int *rank, int *size, struct surprisal_error *err);
    /* Copies the message and does not wait.  False: memory is out, or MPI refuses it. */
    bool (*send)(struct mpi_session *s, int to, const void *bytes, size_t n);
    /* The next message of any rank, at most n bytes; false: there is none. */
    bool (*receive)(struct mpi_session *s, void *bytes, size_t n);
    /* Ends the processes of all ranks; does not return. */
    void (*abort)(struct mpi_session *s, int status);
    /* MPI_Finalize, in all ranks. */
    void (*end)(struct mpi_session *s);
};

/* NULL: the program was built without it. */
extern const struct mpi_library mpi_library_openmpi __attribute__((weak));
extern const struct mpi_library mpi_library_mpich __attribute__((weak));

#endif
