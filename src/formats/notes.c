#include "formats/notes.h"

#include <string.h>

bool notes_list(struct buffer *out, const struct checkpoint *ck, const struct weights *w,
                struct error *err)
{
    (void)w;
    return buffer_append(out, ck->notes.data ? ck->notes.data : "", ck->notes.size, err);
}

const char *notes_next(const char **rest, size_t *n)
{
    const char *line = *rest;
    if (!line || !*line)
        return NULL;
    *n = strcspn(line, "\n");
    *rest = line + *n + (line[*n] == '\n');
    return line;
}
