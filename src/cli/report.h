/* report.h - a run's summary for people: what decides the number, then the number. */
#ifndef SURPRISAL_CLI_REPORT_H
#define SURPRISAL_CLI_REPORT_H

#include <stdbool.h>

/* Prints and frees the one of the two that there is. */
void report_either(char *json, char *text);

/* Prints to stdout; false when memory is out. */
bool report_print(const char *summary_json);

#endif
