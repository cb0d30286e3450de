/* checkpoint_note.h - what a reader has to say of a checkpoint that it does not refuse. */
#ifndef SURPRISAL_FORMATS_CHECKPOINT_NOTE_H
#define SURPRISAL_FORMATS_CHECKPOINT_NOTE_H

#include "formats/checkpoint.h"

/* Adds a line to ck->notes, its path in front; where faults are collected, one of them instead. */
__attribute__((format(printf, 6, 7)))
bool checkpoint_note_add(struct checkpoint *ck, const struct checkpoint_faults *faults,
                         enum checkpoint_fault fault, const struct checkpoint_place *at,
                         struct error *err, const char *format, ...);
/* Remembers a tensor that no file has. */
bool checkpoint_note_absent(struct checkpoint *ck, const char *name, const char *file,
                            struct error *err);

#endif
