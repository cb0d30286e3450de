#include "verify/verify_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

/* A tokenizer and one of its tokens. */
struct side {
    char *path;                         /* owned, as all that follows */
    struct tokenizer *tokenizer;
    struct buffer text;
    bool has, is_added;
};

/* False: it cannot be read, which is a finding, or an error in err. */
static bool open_side(struct side *s, struct findings *found, bool *ok, struct error *err)
{
    struct error why = { 0 };
    s->tokenizer = tokenizer_open(s->path, &why);
    if (!s->tokenizer)
        *ok = findings_add_error(found, FOUND_TOKENS, s->path, NULL, &why, err);
    return s->tokenizer;
}

static bool read_token(struct side *s, int32_t id, struct error *err)
{
    s->has = tokenizer_has_token(s->tokenizer, id);
    s->is_added = s->has && tokenizer_is_added(s->tokenizer, id);
    s->text.size = 0;
    return buffer_append(&s->text, "", 0, err)
        && (!s->has || tokenizer_append_bytes(s->tokenizer, id, &s->text, err));
}

static bool same_token(const struct side *a, const struct side *b)
{
    return a->has == b->has && a->is_added == b->is_added && a->text.size == b->text.size
        && memcmp(a->text.data, b->text.data, a->text.size) == 0;
}

static bool put_token(struct buffer *b, const struct side *s, struct error *err)
{
    return s->has ? buffer_printf(b, err, "%s'%.80s'", s->is_added ? "added " : "", s->text.data)
                  : buffer_printf(b, err, "no token");
}

static bool compare(struct side *here, struct side *there, struct findings *found,
                    struct error *err)
{
    size_t n = size_max(tokenizer_vocab_size(here->tokenizer),
                        tokenizer_vocab_size(there->tokenizer));
    size_t n_different = 0;
    struct buffer first = { 0 };        /* "7: 'a', 'b'" */
    bool ok = true;
    for (size_t id = 0; ok && id < n; id++) {
        ok = read_token(here, (int32_t)id, err) && read_token(there, (int32_t)id, err);
        if (ok && !same_token(here, there) && n_different++ == 0)
            ok = buffer_printf(&first, err, "%zu: ", id) && put_token(&first, here, err)
              && buffer_printf(&first, err, ", ") && put_token(&first, there, err);
    }
    if (ok && n_different)
        ok = findings_add(found, FOUND_TOKENS, here->path, NULL, err,
                          "%zu of %zu tokens are not the original's, the first %s in the original",
                          n_different, n, first.data);
    buffer_free(&first);
    return ok;
}

static void close_side(struct side *s)
{
    tokenizer_close(s->tokenizer);
    buffer_free(&s->text);
    free(s->path);
}

bool verify_tokens(const struct verify_folder *f, const struct verify_folder *original,
                   struct findings *found, struct error *err)
{
    struct side here = { .path = checkpoint_tokenizer(f->ck.path, err) };
    struct side there = { .path = here.path ? checkpoint_tokenizer(original->ck.path, err) : NULL };
    bool ok = here.path && there.path;
    if (ok && file_exists(there.path) && open_side(&there, found, &ok, err)
        && open_side(&here, found, &ok, err))
        ok = compare(&here, &there, found, err);
    close_side(&here);
    close_side(&there);
    return ok;
}
