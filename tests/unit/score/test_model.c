/* What jobs with one opened model leave to each other: digests of the weights. */
#include "eval/score/model.h"

#include <string.h>

#include "tests/check.h"

#define CHECKPOINT "tests/fixtures/mini"

/* The digest without reading more than is known already. */
static bool known_digest(struct digest *out, struct model_source from, struct error *err)
{
    const struct surprisal_progress silent = { 0 };
    struct model m = { 0 };
    struct weights_hash *h = NULL;
    bool ok = model_open(&m, from, NULL, &silent, err) && (h = model_hash_open(&m, err))
           && weights_hash_end(out, h, err);
    weights_hash_close(h);
    model_close(&m);
    return ok;
}

/* The digest by reading, given to the handle, if there is one. */
static bool read_digest(struct digest *out, struct model_source from, struct error *err)
{
    const struct surprisal_progress silent = { 0 };
    struct model m = { 0 };
    struct weights_hash *h = NULL;
    bool ok = model_open(&m, from, NULL, &silent, err) && (h = model_hash_open(&m, err))
           && weights_hash_rest(h, 1, NULL, err) && weights_hash_end(out, h, err);
    if (ok)
        model_hash_keep(&m, h);
    weights_hash_close(h);
    model_close(&m);
    return ok;
}

int main(void)
{
    struct error err = { 0 };
    struct digest by_path, by_handle, known;
    struct surprisal_model *handle = model_handle_open(CHECKPOINT, NULL, &err);
    if (!check(handle != NULL, "a handle", "%s", err.message))
        return 1;
    const struct model_source path = { CHECKPOINT, NULL }, opened = { NULL, handle };
    check(!known_digest(&known, opened, &err), "a new handle knows no digests", "it does");
    check(read_digest(&by_path, path, &err), "by path", "%s", err.message);
    check(!known_digest(&known, path, &err), "by path nothing is known, even then", "it is");
    check(read_digest(&by_handle, opened, &err)
          && memcmp(&by_path, &by_handle, sizeof by_path) == 0,
          "by handle: the same digest", "%s", err.message);
    check(known_digest(&known, opened, &err) && memcmp(&by_path, &known, sizeof known) == 0,
          "the next job need not read", "%s", err.message);
    check(strcmp(model_source_path(path), model_source_path(opened)) == 0, "one path either way",
          "%s", model_source_path(opened));
    model_handle_close(handle);
    return check_done();
}
