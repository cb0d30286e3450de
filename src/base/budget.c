#include "base/budget.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/format.h"
#include "base/machine.h"
#include "base/memory.h"

#define MEGABYTE ((size_t)1 << 20)
#define RESERVE_BYTES (8 * MEGABYTE)
#define MARGIN_BYTES  (2 * MEGABYTE)    /* runs differ by less */

size_t budget_left(const struct budget *b)
{
    return b->bytes == SIZE_MAX ? SIZE_MAX : b->bytes - size_min(b->bytes, b->held_bytes);
}

size_t budget_held_now(void)
{
    size_t resident = machine_resident_memory();
    return (resident + MEGABYTE - 1) / MEGABYTE * MEGABYTE + RESERVE_BYTES;
}

enum { SIZE_TEXT = 24 };

/* In the form that options accept. */
static const char *size_text(char out[SIZE_TEXT], size_t bytes)
{
    size_t unit = bytes % MEGABYTE == 0 ? MEGABYTE : bytes % 1024 == 0 ? 1024 : 1;
    const char *letter = unit == MEGABYTE ? "M" : unit == 1024 ? "K" : "";
    snprintf(out, SIZE_TEXT, "%zu%s", bytes / unit, letter);
    return out;
}

static bool refuse(size_t budget, size_t needed, struct error *err, const char *subject)
{
    char found[SIZE_TEXT], expected[SIZE_TEXT];
    size_t enough = size_total(needed, MARGIN_BYTES + MEGABYTE - 1) / MEGABYTE * MEGABYTE;
    return error_set(err, "memory budget of %s is too small: %s needs %s in all",
                     size_text(found, budget), subject, size_text(expected, enough));
}

size_t budget_needed(const struct budget *b, size_t bytes)
{
    return size_max(size_total(b->held_bytes, bytes), b->reached_bytes);
}

bool budget_check(const struct budget *b, size_t bytes, struct error *err, const char *what, ...)
{
    if (b->bytes == SIZE_MAX || budget_needed(b, bytes) <= b->bytes)
        return true;
    char subject[256];
    va_list args;
    va_start(args, what);
    format_text_v(subject, sizeof subject, what, args);
    va_end(args);
    return refuse(b->bytes, budget_needed(b, bytes), err, subject);
}

bool budget_check_ahead(size_t budget, size_t needed, struct error *err, const char *what)
{
    needed = size_total(needed, MARGIN_BYTES);
    return needed <= budget || refuse(budget, needed, err, what);
}
