/* error.h - the one error type.
 *
 * Whatever can fail because of the outside world (files, memory, arguments)
 * returns bool or NULL and fills a struct error.  error_set always returns
 * false, so failing is one statement:
 *
 *     return error_set(err, "%s: '%s' has dtype %s, expected %s", ...);
 *
 * A message is one line: the object first ("path: "), then what was found and
 * what was expected.  Bytes from files are untrusted: control characters and
 * broken UTF-8 are replaced by '?', so a message cannot drive a terminal.  One
 * that is too long loses the middle of its longest word, so that a long path
 * hides neither what it is about nor the reason.
 * err may be NULL where the caller does not care why. */
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

void error_vset(struct error *err, const char *format, va_list args);

/* The same when the process has no more memory or descriptors: then the message says nothing of the
 * object that it names, and must not be taken for a fault of it. */
bool error_lack(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* strerror in English whatever the program's locale: as the messages are, and not in another
 * character set.  Some messages are part of JSON, which must not depend on the locale. */
const char *error_reason(int number);

/* What every message goes through: replaces control characters and broken UTF-8, in place. */
void error_printable(char *text);

/* Gives a copy, in safe->message, of text from outside that reports can show: printable, on one line,
 * not too long.  error_clean(&(struct error){ 0 }, path) is an argument of a printf. */
const char *error_clean(struct error *safe, const char *text);

/* Puts text in front of the message that is there ("layer 3: " ...); always false. */
bool error_prefix(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
