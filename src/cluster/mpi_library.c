#include "cluster/mpi_library.h"

#include <dlfcn.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The sonames of the binary interface that mpi.h describes; Debian's names first. */
#ifdef OPEN_MPI
#define NAME "Open MPI"
#define PACKAGE "libopenmpi3"
static const char *const files[] = { "libmpi.so.40", NULL };
#else
#define NAME "MPICH"
#define PACKAGE "libmpich12"
static const char *const files[] = { "libmpich.so.12", "libmpi.so.12", NULL };
#endif

#define TAG 1

/* A message on its way: MPI reads the bytes until it is sent. */
struct sending {
    struct sending *next;
    MPI_Request request;
    char bytes[];
};

struct mpi_session {
    void *handle;
    __typeof__(MPI_Init_thread) *init_thread;
    __typeof__(MPI_Comm_rank) *comm_rank;
    __typeof__(MPI_Comm_size) *comm_size;
    __typeof__(MPI_Isend) *isend;
    __typeof__(MPI_Test) *test;
    __typeof__(MPI_Iprobe) *iprobe;
    __typeof__(MPI_Recv) *recv;
    __typeof__(MPI_Abort) *abort;
    __typeof__(MPI_Finalize) *finalize;
    MPI_Comm world;
    MPI_Datatype byte;
    struct sending *sendings;           /* owned */
};

/* Open MPI's predefined handles are addresses of variables in the library, MPICH's are numbers. */
static bool find_handles(struct mpi_session *s)
{
#ifdef OPEN_MPI
    s->world = dlsym(s->handle, "ompi_mpi_comm_world");
    s->byte = dlsym(s->handle, "ompi_mpi_byte");
    return s->world && s->byte;
#else
    s->world = MPI_COMM_WORLD;
    s->byte = MPI_BYTE;
    return true;
#endif
}

static bool find_functions(struct mpi_session *s, struct surprisal_error *err)
{
    const struct {
        const char *name;
        void *function;                 /* the pointer that it goes into */
    } functions[] = {
        { "MPI_Init_thread", &s->init_thread }, { "MPI_Comm_rank", &s->comm_rank },
        { "MPI_Comm_size", &s->comm_size },     { "MPI_Isend", &s->isend },
        { "MPI_Test", &s->test },               { "MPI_Iprobe", &s->iprobe },
        { "MPI_Recv", &s->recv },               { "MPI_Abort", &s->abort },
        { "MPI_Finalize", &s->finalize },
    };
    /* Global: the plug-ins of Open MPI look for its symbols.  It ends with the process. */
    for (const char *const *file = files; *file && !s->handle; file++)
        s->handle = dlopen(*file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (!s->handle) {
        snprintf(err->message, sizeof err->message, "a launcher of %s started this program, but "
                 "%s (Debian: %s) cannot be loaded: %.500s", NAME, files[0], PACKAGE, dlerror());
        return false;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(s->handle, functions[i].name);
        if (!found || !find_handles(s)) {
            snprintf(err->message, sizeof err->message, "%s: has no %s", files[0],
                     functions[i].name);
            return false;
        }
        memcpy(functions[i].function, &found, sizeof found);
    }
    return true;
}

static struct mpi_session *begin(int *rank, int *size, struct surprisal_error *err)
{
    struct mpi_session *s = calloc(1, sizeof *s);
    int level;
    if (!s)
        snprintf(err->message, sizeof err->message, "out of memory: MPI");
    if (s && find_functions(s, err)) {
        if (s->init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) == MPI_SUCCESS
            && s->comm_rank(s->world, rank) == MPI_SUCCESS
            && s->comm_size(s->world, size) == MPI_SUCCESS)
            return s;
        snprintf(err->message, sizeof err->message, "%s cannot be initialized", NAME);
    }
    free(s);
    return NULL;
}

/* Frees what is sent. */
static void sweep(struct mpi_session *s)
{
    for (struct sending **at = &s->sendings, *sent; (sent = *at);) {
        int done = 0;
        if (s->test(&sent->request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || !done) {
            at = &sent->next;
            continue;
        }
        *at = sent->next;
        free(sent);
    }
}

static bool send(struct mpi_session *s, int to, const void *bytes, size_t n)
{
    struct sending *sending = malloc(sizeof *sending + n);
    if (!sending)
        return false;
    memcpy(sending->bytes, bytes, n);
    if (s->isend(sending->bytes, (int)n, s->byte, to, TAG, s->world, &sending->request)
        != MPI_SUCCESS) {
        free(sending);
        return false;
    }
    sending->next = s->sendings;
    s->sendings = sending;
    sweep(s);
    return true;
}

/* The message that the probe found is the one that is received: no other call is in between. */
static bool receive(struct mpi_session *s, void *bytes, size_t n)
{
    int there = 0;
    sweep(s);
    return s->iprobe(MPI_ANY_SOURCE, TAG, s->world, &there, MPI_STATUS_IGNORE) == MPI_SUCCESS
        && there
        && s->recv(bytes, (int)n, s->byte, MPI_ANY_SOURCE, TAG, s->world, MPI_STATUS_IGNORE)
               == MPI_SUCCESS;
}

static void abort_all(struct mpi_session *s, int status)
{
    s->abort(s->world, status);
    _exit(status);
}

static void end(struct mpi_session *s)
{
    s->finalize();
    while (s->sendings) {
        struct sending *next = s->sendings->next;
        free(s->sendings);
        s->sendings = next;
    }
    free(s);
}

/* MPI_LIBRARY: mpi_library_openmpi or mpi_library_mpich, by the Makefile. */
const struct mpi_library MPI_LIBRARY = { NAME, begin, send, receive, abort_all, end };
