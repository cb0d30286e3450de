#include "server/http_library.h"

#include <dlfcn.h>
#include <string.h>

bool http_library_open(struct http_library *l, struct error *err)
{
    const struct {
        const char *name;
        void *function;                 /* the pointer that it goes into */
    } functions[] = {
        { "MHD_start_daemon", &l->start_daemon },
        { "MHD_stop_daemon", &l->stop_daemon },
        { "MHD_quiesce_daemon", &l->quiesce_daemon },
        { "MHD_get_daemon_info", &l->get_daemon_info },
        { "MHD_get_connection_info", &l->get_connection_info },
        { "MHD_lookup_connection_value", &l->lookup_connection_value },
        { "MHD_suspend_connection", &l->suspend_connection },
        { "MHD_resume_connection", &l->resume_connection },
        { "MHD_create_response_from_buffer", &l->create_response_from_buffer },
        { "MHD_create_response_from_callback", &l->create_response_from_callback },
        { "MHD_add_response_header", &l->add_response_header },
        { "MHD_queue_response", &l->queue_response },
        { "MHD_destroy_response", &l->destroy_response },
    };
    /* Libraries below it end with the process: they may hold data of threads. */
    l->handle = dlopen(HTTP_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!l->handle)
        return error_set(err, "serve needs %s (Debian: libmicrohttpd12), which cannot be loaded: "
                         "%s", HTTP_LIBRARY, dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(l->handle, functions[i].name);
        if (!found)
            return error_set(err, "%s: has no %s", HTTP_LIBRARY, functions[i].name);
        memcpy(functions[i].function, &found, sizeof found);
    }
    return true;
}

void http_library_close(struct http_library *l)
{
    if (l->handle)
        dlclose(l->handle);
    *l = (struct http_library){ 0 };
}
