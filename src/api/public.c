#include "api/public.h"

#include <string.h>

#include "base/json.h"

bool public_tell(struct surprisal_error *out, bool ok, const struct error *err)
{
    _Static_assert(sizeof out->message == ERROR_MESSAGE_BYTES, "messages pass whole");
    if (!ok && out) {
        memcpy(out->message, err->message, sizeof out->message);
        out->interrupted = err->interrupted;
    }
    return ok;
}

bool public_give_text(struct buffer *b, bool ok, char **text, size_t *n_bytes, struct error *err)
{
    ok = ok && buffer_append(b, "", 0, err);
    if (!ok) {
        buffer_free(b);
        return false;
    }
    *text = b->data;
    if (n_bytes)
        *n_bytes = b->size;
    return true;
}

bool public_give(cJSON *found, struct buffer *b, bool ok, char **json, char **text,
                 struct error *err)
{
    char *print = ok && json ? json_print(found) : NULL;
    cJSON_Delete(found);
    if (ok && json && !print)
        ok = error_set(err, "out of memory: the result as JSON");
    if (text)
        ok = public_give_text(b, ok, text, NULL, err);
    if (ok && json)
        *json = print;
    else
        cJSON_free(print);
    return ok;
}
