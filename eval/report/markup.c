#include "eval/report/markup.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/output_file.h"

static void append(struct markup *m, const char *bytes, size_t n)
{
    m->failed = m->failed || !buffer_append(&m->out, bytes, n, m->err);
}

void markup_raw(struct markup *m, const char *text)
{
    append(m, text, strlen(text));
}

void markup_printf(struct markup *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    m->failed = m->failed || !buffer_vprintf(&m->out, m->err, format, args);
    va_end(args);
}

void markup_text(struct markup *m, const char *text)
{
    if (text)
        m->failed = m->failed || !escape_text(&m->out, text, m->err);
}

bool markup_save(struct markup *m, const char *path)
{
    bool ok = !m->failed && output_file_write(path, m->out.data, m->out.size, m->err);
    markup_free(m);
    return ok;
}

void markup_free(struct markup *m)
{
    buffer_free(&m->out);
}
