#include "formats/checkpoint_note.h"

#include <stdarg.h>

bool checkpoint_note_add(struct checkpoint *ck, const struct checkpoint_faults *faults,
                         enum checkpoint_fault fault, const struct checkpoint_place *at,
                         struct error *err, const char *format, ...)
{
    struct error line = { 0 };
    va_list args;
    va_start(args, format);
    error_vset(&line, format, args);
    va_end(args);
    if (faults)
        return checkpoint_fault_add(faults, fault, at, &line, err);
    return buffer_printf(&ck->notes, err, "%s: %s\n", error_clean(&(struct error){ 0 }, ck->path),
                         line.message);
}

bool checkpoint_note_absent(struct checkpoint *ck, const char *name, const char *file,
                            struct error *err)
{
    if (!mem_grow(&ck->absent, &ck->absent_capacity, ck->n_absent + 1, sizeof *ck->absent,
                  "tensors", err))
        return false;
    struct absent_tensor *a = &ck->absent[ck->n_absent];
    *a = (struct absent_tensor){ mem_string(name, err), file };
    ck->n_absent += a->name != NULL;
    return a->name;
}
