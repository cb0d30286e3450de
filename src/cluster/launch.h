/* launch.h - has a launcher (mpirun, srun) started this process as one of several ranks?
 *
 * Launchers say so in environment variables, before MPI is there: so a program without the MPI of
 * its launcher can refuse, instead of running as many copies on one output as there are ranks. */
#ifndef SURPRISAL_CLUSTER_LAUNCH_H
#define SURPRISAL_CLUSTER_LAUNCH_H

#include "cluster/mpi_library.h"

struct launch {
    int size, rank;                     /* 1 and 0 without a launcher */
    const char *launcher;               /* "mpirun of Open MPI"; NULL: none */
    const struct mpi_library *library;  /* the MPI of the launcher; NULL: not built for it */
    const char *why;                    /* of library NULL: what to do */
};

struct launch launch_find(void);

#endif
