/* page.h - the page at / to try the model: one file, page.html, which the build makes a string. */
#ifndef SURPRISAL_SERVER_PAGE_H
#define SURPRISAL_SERVER_PAGE_H

#include <stddef.h>

#include "base/error.h"

extern const char page_html[];

/* Its Content-Security-Policy, which allows its own style and script by their hashes. */
bool page_make_policy(char *out, size_t n, struct error *err);

#endif
