#include "options.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "nearest.h"

/* ---- messages -------------------------------------------------------------- */

/* Messages repeat arguments and names, which must not control the terminal. */
static const char *compose(struct surprisal_error *safe, const char *format, va_list args)
{
    char *whole = NULL;
    int n = vasprintf(&whole, format, args);
    surprisal_printable(safe, n < 0 ? "out of memory" : whole);
    if (n >= 0)
        free(whole);
    return safe->message;
}

int options_refuse(const struct command *c, const char *format, ...)
{
    struct surprisal_error safe = { 0 };
    va_list args;
    va_start(args, format);
    const char *message = compose(&safe, format, args);
    va_end(args);
    if (c)
        fprintf(stderr, "surprisal %s: %s (see surprisal %s --help)\n", c->name, message, c->name);
    else
        fprintf(stderr, "surprisal: %s (see surprisal --help)\n", message);
    return WRONG_USAGE;
}

int options_fail(const char *format, ...)
{
    struct surprisal_error safe = { 0 };
    va_list args;
    va_start(args, format);
    fprintf(stderr, "surprisal: %s\n", compose(&safe, format, args));
    va_end(args);
    return FAILED;
}

static void print_option(const char *name, const char *value, bool value_optional, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, value_optional ? "--%s [%s]" : value ? "--%s %s" : "--%s", name,
             value);
    printf("  %-26s", left);
    for (const char *line = help; *line;) {
        size_t n = strcspn(line, "\n");
        printf("%s%.*s\n", line == help ? " " : "                             ", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static void print_options(const struct option *options, size_t n)
{
    for (const struct option *o = options; o < options + n; o++)
        print_option(o->name, o->value, o->alone != NULL, o->help);
}

static void print_help(const struct command *c)
{
    printf("Usage: surprisal %s %s\n\n%s\n\n", c->name, c->arguments, c->summary);
    print_options(c->options, c->n_options);
    print_options(c->more_options, c->n_more_options);
    print_option("help", NULL, false, "this text");
}

/* ---- parsers --------------------------------------------------------------- */

bool parse_text(void *field, const char *value, const struct option *o)
{
    (void)o;
    *(const char **)field = value;
    return *value != '\0';
}

bool parse_list(void *field, const char *value, const struct option *o)
{
    (void)o;
    struct text_list *list = field;
    if (!*value || list->n == sizeof list->texts / sizeof *list->texts)
        return false;
    list->texts[list->n++] = value;
    return true;
}

bool parse_switch(void *field, const char *value, const struct option *o)
{
    (void)value, (void)o;
    *(bool *)field = true;
    return true;
}

bool parse_choice(void *field, const char *value, const struct option *o)
{
    for (const struct choice *c = o->choices; c->word; c++)
        if (strcmp(c->word, value) == 0) {
            *(unsigned *)field = c->value;
            return true;
        }
    return false;
}

/* Digits alone, at least one, no more than `most`; *end is what follows them. */
static bool parse_digits(size_t *out, const char *value, size_t most, const char **end)
{
    size_t x = 0;
    const char *c = value;
    for (; *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(x, (size_t)10, &x)
            || __builtin_add_overflow(x, (size_t)(*c - '0'), &x) || x > most)
            return false;
    *end = c;
    *out = x;
    return c != value;
}

static bool parse_range(size_t *out, const char *value, size_t least, size_t most)
{
    const char *end;
    size_t x;
    if (!parse_digits(&x, value, most, &end) || *end || x < least)
        return false;
    *out = x;
    return true;
}

bool parse_count(void *field, const char *value, const struct option *o)
{
    (void)o;
    return parse_range(field, value, 1, SIZE_MAX);
}

bool parse_seed(void *field, const char *value, const struct option *o)
{
    (void)o;
    size_t x;
    if (!parse_range(&x, value, 0, (size_t)1 << 53))
        return false;
    *(uint64_t *)field = x;
    return true;
}

bool parse_context(void *field, const char *value, const struct option *o)
{
    (void)o;
    return parse_range(field, value, 2, INT32_MAX);
}

bool parse_size(void *field, const char *value, const struct option *o)
{
    static const char units[] = "KMG";
    (void)o;
    size_t x;
    const char *end;
    if (!parse_digits(&x, value, SIZE_MAX, &end) || x == 0)
        return false;
    if (*end) {
        const char *unit = strchr(units, *end);
        size_t power = unit ? (size_t)1 << 10 * (unit - units + 1) : 0;
        if (!unit || end[1] || __builtin_mul_overflow(x, power, &x))
            return false;
    }
    *(size_t *)field = x;
    return true;
}

bool parse_threads(void *field, const char *value, const struct option *o)
{
    (void)o;
    size_t x;
    if (!parse_range(&x, value, 1, 1024))
        return false;
    *(int *)field = (int)x;
    return true;
}

/* Above 0, at most `most`; digits and a point alone. */
static bool parse_fraction(void *field, const char *value, double most)
{
    char *end;
    double x = strtod(value, &end);
    if (value[strspn(value, "0123456789.")] || end == value || *end || !(x > 0 && x <= most))
        return false;
    *(double *)field = x;
    return true;
}

bool parse_seconds(void *field, const char *value, const struct option *o)
{
    (void)o;
    return parse_fraction(field, value, 60);
}

bool parse_percentile(void *field, const char *value, const struct option *o)
{
    (void)o;
    return parse_fraction(field, value, 100);
}

bool parse_number(void *field, const char *value, const struct option *o)
{
    (void)o;
    char *end;
    double x = strtod(value, &end);
    /* strtod takes hexadecimal, white space, infinity and NaN as well. */
    if (value[strspn(value, "0123456789.-+eE")] || end == value || *end || !isfinite(x))
        return false;
    *(double *)field = x;
    return true;
}

bool parse_id(void *field, const char *value, const struct option *o)
{
    (void)o;
    size_t x;
    if (!parse_range(&x, value, 0, INT32_MAX))
        return false;
    *(int32_t *)field = (int32_t)x;
    return true;
}

bool parse_from_minus_one(void *field, const char *value, const struct option *o)
{
    int32_t x = -1;
    if (strcmp(value, "-1") != 0 && !parse_id(&x, value, o))
        return false;
    *(int64_t *)field = x;
    return true;
}

bool parse_drafts(void *field, const char *value, const struct option *o)
{
    (void)o;
    return parse_range(field, value, 1, SURPRISAL_MTP_MOST);
}

/* ---- the command line ------------------------------------------------------- */

static const struct option *find_in(const struct option *options, size_t n_options,
                                    const char *name, size_t n)
{
    for (size_t i = 0; i < n_options; i++)
        if (strlen(options[i].name) == n && memcmp(options[i].name, name, n) == 0)
            return &options[i];
    return NULL;
}

static const struct option *find_option(const struct command *c, const char *name, size_t n)
{
    const struct option *o = find_in(c->options, c->n_options, name, n);
    return o ? o : find_in(c->more_options, c->n_more_options, name, n);
}

static void try_names(struct nearest *best, const struct option *options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        nearest_try(best, options[i].name);
}

/* dashes: as they were typed; name: [n], what follows them. */
static int refuse_unknown(const struct command *c, const char *dashes, const char *name, size_t n)
{
    struct nearest best = { .word = name, .n = n, .cost = NEAREST_NONE };
    try_names(&best, c->options, c->n_options);
    try_names(&best, c->more_options, c->n_more_options);
    nearest_try(&best, "help");
    if (!best.name)
        return options_refuse(c, "unknown option '%s%.*s'", dashes, (int)n, name);
    return options_refuse(c, "unknown option '%s%.*s'; did you mean --%s?", dashes, (int)n, name,
                          best.name);
}

/* Is the next argument the value of an option that may stand alone? */
static bool may_follow(const struct option *o, const char *value)
{
    unsigned ignored;
    if (o->number)
        return value[0] != '\0' && strspn(value, "0123456789") == strlen(value);
    return o->choices && parse_choice(&ignored, value, o);
}

/* Parses the option at argv[0], which starts with "--"; *used: arguments taken. */
static int parse_option(const struct command *c, void *settings, int argc, char **argv, int *used)
{
    const char *name = argv[0] + 2, *equals = strchr(name, '='), *value = NULL;
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *o = find_option(c, name, n);
    *used = 1;
    if (!o)
        return refuse_unknown(c, "--", name, n);
    if (!o->value && equals)
        return options_refuse(c, "--%s takes no value", o->name);
    if (equals)
        value = equals + 1;
    else if (o->alone)
        value = argc > 1 && may_follow(o, argv[1]) ? argv[(*used)++] : o->alone;
    else if (o->value) {
        /* A value that looks like an option is more likely a forgotten value. */
        if (argc < 2 || strncmp(argv[1], "--", 2) == 0)
            return options_refuse(c, "--%s needs a value (%s)", o->name, o->value);
        value = argv[(*used)++];
    }
    if (o->parse((char *)settings + o->field, value, o))
        return GO_ON;
    return options_refuse(c, "--%s: '%s' is not %s", o->name, value, o->expected);
}

/* What the operand with this index is called; NULL: there is none.  *field: where it goes. */
static const char *operand_name(const struct command *c, size_t index, size_t *field,
                                bool *is_further)
{
    const struct {
        const char *name;
        size_t field;
    } first[] = { { c->operand, c->operand_field }, { c->second_operand, c->second_field } };
    *is_further = index >= sizeof first / sizeof *first || !first[index].name;
    *field = *is_further ? c->further_field : first[index].field;
    return *is_further ? c->further_operands : first[index].name;
}

static int add_operand(struct operand_list *list, const char *word)
{
    const char **grown = realloc(list->words, (list->n + 1) * sizeof *grown);
    if (!grown)
        return options_fail("out of memory: %zu arguments", list->n + 1);
    list->words = grown;
    list->words[list->n++] = word;
    return GO_ON;
}

/* seen: operands so far. */
static int parse_operand(const struct command *c, void *settings, const char *value, size_t *seen)
{
    size_t field;
    bool is_further;
    const char *name = operand_name(c, *seen, &field, &is_further);
    if (!name)
        return options_refuse(c, "unexpected argument '%s'", value);
    if (!*value)
        return options_refuse(c, "%s is empty", name);
    (*seen)++;
    if (is_further)
        return add_operand((struct operand_list *)((char *)settings + field), value);
    *(const char **)((char *)settings + field) = value;
    return GO_ON;
}

int options_parse(const struct command *c, void *settings, int argc, char **argv)
{
    size_t operands = 0;
    bool options_over = false;
    for (int i = 0; i < argc;) {
        int used = 1, status = GO_ON;
        const char *arg = argv[i];
        if (!options_over && strcmp(arg, "--") == 0)
            options_over = true;
        else if (!options_over && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            print_help(c);
            return DONE;
        } else if (!options_over && arg[0] == '-' && arg[1] == '-')
            status = parse_option(c, settings, argc - i, argv + i, &used);
        else if (!options_over && arg[0] == '-' && arg[1])
            status = refuse_unknown(c, "-", arg + 1, strcspn(arg + 1, "="));
        else
            status = parse_operand(c, settings, arg, &operands);
        if (status != GO_ON)
            return status;
        i += used;
    }
    if (operands < c->operands_required)
        return options_refuse(c, "%s is missing", operand_name(c, operands, &(size_t){ 0 },
                                                               &(bool){ false }));
    return GO_ON;
}
