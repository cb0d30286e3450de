/* surprisal.h's generation over the modules here, as src/api/api.c does for the rest. */
#include <surprisal.h>

#include "api/public.h"
#include "generate/generate.h"

struct surprisal_generate_options surprisal_generate_defaults(void)
{
    return generate_defaults();
}

bool surprisal_generate_check(const struct surprisal_generate_options *options,
                              struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, generate_check(options, &inner), &inner);
}

bool surprisal_generate(const struct surprisal_generate_options *options,
                        struct surprisal_generate_result *result, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, generate_run(options, result, &inner), &inner);
}

void surprisal_generate_result_free(struct surprisal_generate_result *result)
{
    generate_result_free(result);
}
