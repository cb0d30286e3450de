/* http_library.h - libmicrohttpd, loaded by the process that serves.
 *
 * It brings GnuTLS and what that needs: 2.7 MB and 15 ms at the start of every process that is
 * linked with it.  So neither the library nor the program is; only the header is compiled in, and
 * the version whose binary interface it describes is looked for when a server starts. */
#ifndef SURPRISAL_SERVER_HTTP_LIBRARY_H
#define SURPRISAL_SERVER_HTTP_LIBRARY_H

#include <microhttpd.h>

#include "base/error.h"

#define HTTP_LIBRARY "libmicrohttpd.so.12"

/* The functions that are used, by their names without MHD_.  Zero-initialise. */
struct http_library {
    void *handle;
    __typeof__(MHD_start_daemon) *start_daemon;
    __typeof__(MHD_stop_daemon) *stop_daemon;
    __typeof__(MHD_quiesce_daemon) *quiesce_daemon;
    __typeof__(MHD_get_daemon_info) *get_daemon_info;
    __typeof__(MHD_get_connection_info) *get_connection_info;
    __typeof__(MHD_lookup_connection_value) *lookup_connection_value;
    __typeof__(MHD_suspend_connection) *suspend_connection;
    __typeof__(MHD_resume_connection) *resume_connection;
    __typeof__(MHD_create_response_from_buffer) *create_response_from_buffer;
    __typeof__(MHD_create_response_from_callback) *create_response_from_callback;
    __typeof__(MHD_add_response_header) *add_response_header;
    __typeof__(MHD_queue_response) *queue_response;
    __typeof__(MHD_destroy_response) *destroy_response;
};

/* Refuses a system without it, by name.  http_library_close also after a failure. */
bool http_library_open(struct http_library *l, struct error *err);
void http_library_close(struct http_library *l);

#endif
