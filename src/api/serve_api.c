/* surprisal.h's server over src/server. */
#include <surprisal.h>

#include "api/public.h"
#include "server/server.h"

struct surprisal_serve_options surprisal_serve_defaults(void)
{
    return server_defaults();
}

bool surprisal_serve_check(const struct surprisal_serve_options *options,
                           struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, server_check(options, &inner), &inner);
}

bool surprisal_serve(const struct surprisal_serve_options *options, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, server_run(options, &inner), &inner);
}
