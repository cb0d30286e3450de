#include "cluster/launch.h"

#include <limits.h>
#include <stdlib.h>

/* The most specific first: mpirun may itself run inside of a step of Slurm. */
static const struct launcher {
    const char *name, *size, *rank;     /* variables */
    const char *needs;                  /* one that must be set as well; NULL: none */
    const struct mpi_library *library;
    const char *why;                    /* without the library */
} launchers[] = {
    { "Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", NULL, &mpi_library_openmpi,
      "this program was built without Open MPI (Debian: libopenmpi-dev; then make)" },
    { "MPICH", "PMI_SIZE", "PMI_RANK", NULL, &mpi_library_mpich,
      "this program was built without MPICH (Debian: libmpich-dev; then make)" },
    { "Slurm by PMIx", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "PMIX_RANK", &mpi_library_openmpi,
      "this program was built without Open MPI (Debian: libopenmpi-dev; then make)" },
    { "Slurm without MPI", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", NULL, NULL,
      "srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH) connects them" },
};

/* A whole number from the environment; -1: none. */
static int number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long value = text ? strtol(text, &end, 10) : -1;
    return text && *text && !*end && value >= 0 && value <= INT_MAX ? (int)value : -1;
}

struct launch launch_find(void)
{
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const struct launcher *l = &launchers[i];
        int size = number(l->size), rank = number(l->rank);
        if (size >= 1 && rank >= 0 && rank < size && (!l->needs || getenv(l->needs)))
            return (struct launch){ size, rank, l->name, l->library, l->why };
    }
    return (struct launch){ .size = 1 };
}
