/* hub.h - a checkpoint that is named as the hub names it: OWNER/NAME, found in the local cache of
 * the hub's client. */
#ifndef SURPRISAL_CLI_HUB_H
#define SURPRISAL_CLI_HUB_H

#include <stddef.h>

#define HUB_PATH_BYTES 4096

/* A member of a command's settings.  The paths that are found stay here. */
struct hub {
    const char *revision;               /* NULL: main */
    char found[2][HUB_PATH_BYTES];
};

#define OPTION_REVISION(place) \
    { .name = "revision", .value = "REV", \
      .help = "branch, tag or commit of a checkpoint that is named OWNER/NAME and found in\n" \
              "the hub's local cache (default: main)", \
      .parse = parse_text, .expected = EXPECTED_TEXT, place }

/* Replaces each name by its path; either pointer, and what it points to, may be NULL.  GO_ON or an
 * exit status. */
int hub_find(struct hub *h, const char **checkpoint, const char **other);

/* The same for a list of n names.  found: owned [n]; NULL where nothing is found, and a line on
 * stderr says why. */
void hub_find_list(const struct hub *h, const char **names, char **found, size_t n);

#endif
