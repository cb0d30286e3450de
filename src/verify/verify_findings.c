#include "verify/verify_findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/format.h"
#include "base/memory.h"

static const char *const names[FINDING_CODES] = {
    [FOUND_CONFIG] = "config",
    [FOUND_QUANTIZATION] = "quantization",
    [FOUND_INDEX] = "index",
    [FOUND_UNREADABLE] = "unreadable",
    [FOUND_MISSING_FILE] = "missing-file",
    [FOUND_UNLISTED] = "unlisted",
    [FOUND_WRONG_FILE] = "wrong-file",
    [FOUND_STALE] = "stale",
    [FOUND_TWICE] = "twice",
    [FOUND_DOWNLOAD] = "download",
    [FOUND_MISSING] = "missing",
    [FOUND_UNEXPECTED] = "unexpected",
    [FOUND_SHAPE] = "shape",
    [FOUND_DTYPE] = "dtype",
    [FOUND_TIED] = "tied",
    [FOUND_PAIR] = "pair",
    [FOUND_NO_CONFIG] = "no-config",
    [FOUND_IGNORED] = "ignored",
    [FOUND_NOT_COVERED] = "not-covered",
    [FOUND_OTHER_FORMAT] = "other-format",
    [FOUND_NOT_PACKED] = "not-packed",
    [FOUND_MERGED] = "merged",
    [FOUND_SCALE_NAN] = "scale-nan",
    [FOUND_NON_FINITE] = "non-finite",
    [FOUND_ZERO_TENSOR] = "zero-tensor",
    [FOUND_ZERO_ROWS] = "zero-rows",
    [FOUND_CONSTANT] = "constant",
    [FOUND_SATURATED] = "saturated",
    [FOUND_SMALL_CODES] = "small-codes",
    [FOUND_EXTRA] = "extra",
    [FOUND_DIFFERS] = "differs",
    [FOUND_LOW_SQNR] = "low-sqnr",
    [FOUND_SCALE_OFF] = "scale-off",
    [FOUND_ZEROED] = "zeroed",
    [FOUND_CONFIG_DIFFERS] = "config-differs",
    [FOUND_FILE_DIFFERS] = "file-differs",
    [FOUND_TOKENS] = "tokens",
    [SUSPECT_NORM] = "norm-offset",
    [SUSPECT_EXTREME] = "extreme",
    [SUSPECT_SCALE] = "scale-level",
    [SUSPECT_VERSION] = "scale-version",
    [NOTE_CONSTANT] = "constant",
    [NOTE_CODES] = "codes",
    [NOTE_PATTERN] = "pattern",
    [NOTE_TOTAL_SIZE] = "total-size",
    [NOTE_FILE] = "file",
    [NOTE_CHOICE] = "choice",
    [NOTE_DOWNLOAD] = "download",
    [NOTE_LEFT_OUT] = "left-out",
};

const char *finding_code_name(enum finding_code code)
{
    return names[code];
}

enum finding_level finding_level(enum finding_code code)
{
    return code < FINDINGS ? LEVEL_FINDING : code < SUSPICIONS_END ? LEVEL_SUSPICION : LEVEL_NOTE;
}

/* Gives a copy that is safe to print. */
static char *clean(const char *text, struct error *err)
{
    return mem_string(error_clean(&(struct error){ 0 }, text ? text : ""), err);
}

static void free_finding(struct finding *x)
{
    free(x->file);
    free(x->tensor);
    free(x->text);
}

bool findings_add(struct findings *f, enum finding_code code, const char *file, const char *tensor,
                  struct error *err, const char *format, ...)
{
    struct error text = { 0 };
    va_list args;
    enum finding_level level = finding_level(code);
    f->counts[level]++;
    if (f->n == FINDINGS_KEPT || (level == LEVEL_NOTE && f->counts[level] > NOTES_KEPT))
        return true;
    va_start(args, format);
    error_vset(&text, format, args);
    va_end(args);
    struct finding x = { .code = code };
    if ((x.file = clean(file ? file_last_part(file) : "", err)) && (x.tensor = clean(tensor, err))
        && (x.text = clean(text.message, err))
        && mem_grow(&f->list, &f->capacity, f->n + 1, sizeof *f->list, "findings", err)) {
        f->list[f->n++] = x;
        return true;
    }
    free_finding(&x);
    return false;
}

/* A message without the path in front of it, which a finding shows by itself. */
static const char *without_path(const char *message, const char *path)
{
    struct error shown = { 0 };
    size_t n = strlen(error_clean(&shown, path));
    return strncmp(message, shown.message, n) == 0 && message[n] == ':' ? message + n + 2 : message;
}

/* The same with a tensor, which follows its file. */
static const char *without_tensor(const char *text, const char *tensor)
{
    char quoted[ERROR_MESSAGE_BYTES];
    struct error shown = { 0 };
    int n = tensor ? snprintf(quoted, sizeof quoted, "'%s' ", error_clean(&shown, tensor)) : 0;
    return n > 0 && n < (int)sizeof quoted && strncmp(text, quoted, (size_t)n) == 0 ? text + n
                                                                                    : text;
}

bool findings_add_error(struct findings *f, enum finding_code code, const char *path,
                        const char *tensor, const struct error *why, struct error *err)
{
    if (!why->lacking)
        return findings_add(f, code, path, tensor, err, "%s",
                            without_tensor(without_path(why->message, path), tensor));
    *err = *why;
    return false;
}

void findings_free(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        free_finding(&f->list[i]);
    free(f->list);
    *f = (struct findings){ 0 };
}
