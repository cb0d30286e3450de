#include "cluster/crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool crew_begin(struct crew *c, int size, struct surprisal_error *err)
{
    *c = (struct crew){ .size = size, .members = calloc((size_t)size, sizeof *c->members) };
    if (!c->members)
        snprintf(err->message, sizeof err->message, "out of memory: %d ranks", size);
    return c->members != NULL;
}

void crew_end(struct crew *c)
{
    for (int i = 0; c->members && i < c->size; i++) {
        free(c->members[i].place);
        free(c->members[i].facts);
    }
    for (size_t i = 0; i < c->n_warned; i++)
        free(c->warned[i]);
    free(c->members);
    free(c->given);
}

static int host_length(const struct crew *c, int rank)
{
    const char *place = c->members[rank].place;
    return place ? (int)strcspn(place, " ") : 0;
}

void crew_prefix(char *out, size_t n, const struct crew *c, int rank, const char *text)
{
    int host = host_length(c, rank);
    snprintf(out, n, "rank %d%s%.*s: %s", rank, host ? " on " : "", host,
             host ? c->members[rank].place : "", text);
}

void crew_warn(struct crew *c, const char *text, const char *line,
               const struct surprisal_progress *to)
{
    for (size_t i = 0; i < c->n_warned; i++)
        if (strcmp(c->warned[i], text) == 0)
            return;
    if (c->n_warned < CREW_WARNINGS && (c->warned[c->n_warned] = strdup(text)))
        c->n_warned++;
    if (to->warn)
        to->warn(to->user, line);
}

/* ---- who is where --------------------------------------------------------------------- */

void crew_place(struct crew *c, int rank, const char *place)
{
    if (c->members[rank].place || !(c->members[rank].place = strdup(place)))
        return;                         /* without memory it is never here: the timeout ends all */
    c->n_here++;
}

static bool same_machine(const struct crew *c, int a, int b)
{
    int n = host_length(c, a);
    return n == host_length(c, b)
        && memcmp(c->members[a].place, c->members[b].place, (size_t)n) == 0;
}

size_t crew_on_machine(const struct crew *c, int rank)
{
    size_t n = 0;
    for (int i = 0; i < c->size; i++)
        n += same_machine(c, i, rank);
    return n;
}

size_t crew_on_processors(const struct crew *c, int rank)
{
    size_t n = 0;
    for (int i = 0; i < c->size; i++)
        n += strcmp(c->members[i].place, c->members[rank].place) == 0;
    return n;
}

void crew_welcome(const struct crew *c, struct channel *channel)
{
    for (int i = 1; i < c->size; i++)
        channel_send(channel, i, MESSAGE_WELCOME, crew_on_machine(c, i), crew_on_processors(c, i),
                     NULL);
}

/* ---- do they agree ---------------------------------------------------------------------- */

bool crew_pack(char *out, size_t n, const struct surprisal_division_facts *facts)
{
    int length = snprintf(out, n, "%s\n%s", facts->isa, facts->settings);
    return length >= 0 && (size_t)length < n;
}

/* The first line in which two texts differ. */
static void refuse_line(const struct crew *c, int rank, const char *found, const char *expected,
                        struct surprisal_error *err)
{
    char text[600];
    while (*found && *found == *expected) {
        const char *a = strchr(found, '\n'), *b = strchr(expected, '\n');
        if (!a || !b || a - found != b - expected
            || memcmp(found, expected, (size_t)(a - found)) != 0)
            break;
        found = a + 1;
        expected = b + 1;
    }
    snprintf(text, sizeof text, "has '%.*s', rank 0 has '%.*s'; expected the same",
             (int)strcspn(found, "\n"), found, (int)strcspn(expected, "\n"), expected);
    crew_prefix(err->message, sizeof err->message, c, rank, text);
}

bool crew_check(const struct crew *c, const struct surprisal_division_facts *facts, bool mixed,
                struct surprisal_error *err)
{
    for (int i = 1; i < c->size; i++) {
        const char *isa = c->members[i].facts, *settings = strchr(isa, '\n');
        size_t n = settings ? (size_t)(settings - isa) : 0;
        settings = settings ? settings + 1 : "";
        if (strcmp(settings, facts->settings) != 0) {
            refuse_line(c, i, settings, facts->settings, err);
            return false;
        }
        if (mixed || (n == strlen(facts->isa) && memcmp(isa, facts->isa, n) == 0))
            continue;
        char text[300];
        snprintf(text, sizeof text, "computes with %.*s, but rank 0 with %s, and their last bits "
                 "may differ; --isa makes them agree, --mixed takes them nevertheless, and the "
                 "summary says so", (int)n, isa, facts->isa);
        crew_prefix(err->message, sizeof err->message, c, i, text);
        return false;
    }
    return true;
}

/* ---- who does what ------------------------------------------------------------------------- */

bool crew_find_parts(struct crew *c, const struct surprisal_division *d,
                     struct surprisal_error *err)
{
    c->parts = surprisal_division_parts(d);
    c->given = calloc(c->parts + 1, sizeof *c->given);
    if (!c->given) {
        snprintf(err->message, sizeof err->message, "out of memory: %zu parts", c->parts);
        return false;
    }
    for (size_t i = 1; i <= c->parts; i++)
        c->n_done += c->given[i] = surprisal_division_has(d, i);
    return true;
}

size_t crew_next(struct crew *c)
{
    for (size_t i = 1; c->given && i <= c->parts; i++)
        if (!c->given[i]) {
            c->given[i] = true;
            return i;
        }
    return 0;
}

void crew_deal(struct crew *c, struct channel *channel)
{
    for (int i = 1; i < c->size; i++) {
        size_t part = c->members[i].busy ? 0 : crew_next(c);
        if (!part)
            continue;
        c->members[i].busy = true;
        channel_send(channel, i, MESSAGE_SCORE, part, c->parts, NULL);
    }
}

void crew_receive(struct crew *c, const struct message *m)
{
    struct crew_member *member = &c->members[m->from];
    if (m->kind == MESSAGE_HELLO)
        crew_place(c, m->from, m->text);
    else if (m->kind == MESSAGE_READY && !member->facts)
        c->n_ready += (member->facts = strdup(m->text)) != NULL;
    else if (m->kind == MESSAGE_DONE && member->busy) {
        member->busy = false;
        c->n_done++;
    }
}

void crew_show(const struct crew *c, size_t parts)
{
    int machines = 0;
    for (int i = 0; i < c->size; i++) {
        bool first = true;
        for (int k = 0; k < i; k++)
            first = first && !same_machine(c, i, k);
        machines += first;
    }
    fprintf(stderr, "%d rank%s on %d machine%s; %zu part%s, of which %zu to score, one after "
            "another by whoever is free.  Each part:\n", c->size, c->size == 1 ? "" : "s", machines,
            machines == 1 ? "" : "s", parts, parts == 1 ? "" : "s", parts - c->n_done);
}
