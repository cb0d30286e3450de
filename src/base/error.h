/* error.h - the one error type.
 *
 * A function that can fail because of the outside world (files, memory, arguments) returns bool or
 * NULL and fills a struct error.  error_set always returns false, so failing is one statement:
 *
 *     return error_set(err, "%s: '%s' has dtype %s, expected %s", ...);
 *
 * A message is one line: the object first ("path: "), then what was found and what was expected.
 * Bytes from files are untrusted: control characters and broken UTF-8 are replaced by '?', so a
 * message cannot drive a terminal.  A message that is too long loses the middle of its longest
 * word, so that a long path hides neither the object nor the reason.  err may be NULL where the
 * caller does not need the reason. */
#ifndef SURPRISAL_BASE_ERROR_H
#define SURPRISAL_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#define ERROR_MESSAGE_BYTES 1024

struct error {
    char message[ERROR_MESSAGE_BYTES];  /* NUL-terminated, no newline */
    bool interrupted;                   /* the user asked to stop (Ctrl-C) */
    bool lacking;                       /* set by error_lack */
};

/* Replaces the message; always false. */
bool error_set(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* err may be NULL, as everywhere. */
void error_vset(struct error *err, const char *format, va_list args);

/* The same, when the process has run out of memory or descriptors: the fault is not in the object
 * that the message names. */
bool error_lack(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Gives on what another error holds, all of it; always false. */
bool error_copy(struct error *err, const struct error *from);

/* strerror in English and ASCII, whatever the program's locale is.  All messages are English, and
 * some become part of JSON, which must not depend on the locale. */
const char *error_reason(int number);

/* Replaces control characters and broken UTF-8 by '?', in place.  Every message goes through
 * this. */
void error_printable(char *text);

/* Copies text from outside to safe->message in a form that reports can show: printable, on one
 * line, not too long.  Returns safe->message:  error_clean(&(struct error){ 0 }, path) can be an
 * argument of printf. */
const char *error_clean(struct error *safe, const char *text);

/* Puts text in front of the message that err holds ("layer 3: " ...); always false. */
bool error_prefix(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
