/* surprisal - how surprised is a language model by a text: the command line. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/launch.h"
#include "commands.h"
#include "nearest.h"

static const struct command *const commands[] = {
    &command_eval, &command_merge, &command_compare, &command_inspect, &command_verify,
    &command_quantize, &command_dequantize, &command_calibrate, &command_tokenize,
    &command_detokenize, &command_render, &command_parse, &command_generate, &command_chat,
    &command_serve, &command_trace, &command_bench,
};

static int help(void)
{
    printf("Usage: surprisal COMMAND ...\n\n"
           "Evaluates language-model checkpoints (Qwen3.5, quantized or not) on the CPU.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    printf("\n  surprisal COMMAND --help lists a command's options; surprisal --version.\n\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 3 a gate failed, 130 interrupted.\n");
    return DONE;
}

static int refuse_command(const char *word)
{
    /* `surprisal --eval` and `surprisal version` are near, too. */
    size_t dashes = strspn(word, "-");
    struct nearest best = { .word = word + dashes, .n = strlen(word + dashes),
                            .cost = NEAREST_NONE };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        nearest_try(&best, commands[i]->name);
    size_t of_commands = best.cost;
    nearest_try(&best, "version");
    nearest_try(&best, "help");
    if (!best.name)
        return options_refuse(NULL, "unknown command '%s'", word);
    return options_refuse(NULL, "unknown command '%s'; did you mean %s%s?", word,
                          best.cost < of_commands ? "--" : "", best.name);
}

/* As many copies as there are ranks would write the same output. */
static int run_command(const struct command *c, int argc, char **argv)
{
    const struct launch launch = launch_find();
    if (launch.size <= 1 || c->ranks)
        return c->run(c, argc, argv);
    if (launch.rank > 0)
        return WRONG_USAGE;
    return options_refuse(NULL, "%s does not share its work among the %d ranks that %s started;"
                          " start it once", c->name, launch.size, launch.launcher);
}

static int run(int argc, char **argv)
{
    if (argc < 2)
        return options_refuse(NULL, "a command is missing");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0
        || strcmp(argv[1], "help") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0) {
        printf("surprisal %s\n", surprisal_version());
        return DONE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return run_command(commands[i], argc - 2, argv + 2);
    return refuse_command(argv[1]);
}

/* If a standard descriptor is closed, the first file that is opened would get its number, and be
 * read as the input or overwritten by messages.  The replacement cannot be read or written, as the
 * closed one could not. */
static void open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1)
            continue;
        int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        if (opened < 0)                         /* a bare chroot; a folder cannot be read either */
            open("/", O_RDONLY | O_DIRECTORY);
    }
}

/* Each shard stays open, and there are checkpoints of more than a thousand; the usual soft limit of
 * 1024 is there for programs that call select(). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* OpenBLAS 0.3.21 takes a processor with AVX-512 that it does not know by name for a Haswell, which
 * costs half the speed. */
static void name_core(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
#endif
}

/* Under valgrind /proc/self/exe is valgrind, and after `ld.so PROGRAM` it is the loader: to start
 * that again with our arguments is another program. */
static bool is_own_program(void)
{
    const char *started = (const char *)getauxval(AT_EXECFN);
    struct stat this, that;
    return started && stat(started, &this) == 0 && stat("/proc/self/exe", &that) == 0
        && this.st_dev == that.st_dev && this.st_ino == that.st_ino;
}

/* Threads that wait for others spin, by libgomp's default for a millisecond: on a machine with
 * other work that can cost most of the speed. libgomp and OpenBLAS read their settings before main,
 * and have no calls for these, so the program starts itself once more with them.  A user's own
 * setting is kept. */
static void set_libraries(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    name_core();
    if (setenv("GOMP_SPINCOUNT", "10000", 1) == 0 && is_own_program())
        execv("/proc/self/exe", argv);          /* where that fails, it is only slower */
}

/* The reason of the first failed write to standard output: stdio only remembers that one failed. */
static int output_errno;

static ssize_t write_output(void *none, const char *bytes, size_t n)
{
    (void)none;
    size_t done = 0;
    while (done < n) {
        ssize_t written = write(STDOUT_FILENO, bytes + done, n - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && !output_errno)
            output_errno = errno;
        if (written < 0)
            break;
        done += (size_t)written;
    }
    return (ssize_t)done;
}

static void watch_output(void)
{
    FILE *watched = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_output });
    if (!watched)
        return;                                 /* then a reason may be missing */
    setvbuf(watched, NULL, isatty(STDOUT_FILENO) == 1 ? _IOLBF : _IOFBF, 1 << 16);
    stdout = watched;
}

int main(int argc, char **argv)
{
    open_standard_descriptors();
    raise_descriptor_limit();
    set_libraries(argv);
    /* A closed pipe or a file-size limit is an error of the write that meets it. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    watch_output();
    int status = run(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == DONE)
        status = options_fail("standard output: cannot write: %s",
                              strerror(output_errno ? output_errno : errno));
    return status;
}
