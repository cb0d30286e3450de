/* notes.h - what is to be said of a checkpoint that is read all the same: choices that its files
 * leave open, and how they were decided.  A figure depends on them, so that eval warns about each,
 * inspect lists them, and a run's summary keeps them. */
#ifndef SURPRISAL_FORMATS_NOTES_H
#define SURPRISAL_FORMATS_NOTES_H

#include "formats/weights.h"

/* Appends them to out, which may be empty: a line for each, with its path in front and a newline at
 * its end.  Reads headers alone, but for a head of its own in a tied model. */
bool notes_list(struct buffer *out, const struct checkpoint *ck, const struct weights *w,
                struct error *err);
/* Takes the next line off *rest, which is text of notes_list or NULL: *n characters without the
 * newline; NULL after the last. */
const char *notes_next(const char **rest, size_t *n);

/* What there is to say of a head that is stored although the config ties it to the embedding, NULL
 * if it is the same bytes; *ok false: they cannot be read. */
const char *notes_of_head(bool *ok, const struct checkpoint *ck, const struct matrix *head,
                          const struct matrix *embedding, struct error *err);

#endif
