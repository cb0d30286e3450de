#include "formats/notes.h"

#include <string.h>

#include "formats/config_unread.h"

#define PIECE_BYTES ((size_t)1 << 20)

/* ---- a tied head ------------------------------------------------------------------- */

static bool same_piece(bool *same, const struct mapped_file *a, size_t at_a,
                       const struct mapped_file *b, size_t at_b, size_t n, struct error *err)
{
    if (!file_populate(a, at_a, n, err) || !file_populate(b, at_b, n, err))
        return false;
    *same = memcmp(a->data + at_a, b->data + at_b, n) == 0;
    file_release(a, at_a, n, false);
    file_release(b, at_b, n, false);
    return true;
}

/* Plain matrices of one type. */
static bool same_bytes(bool *same, const struct checkpoint *ck, const struct matrix *x,
                       const struct matrix *y, struct error *err)
{
    const struct mapped_file *a = checkpoint_file_of(ck, x->data);
    const struct mapped_file *b = checkpoint_file_of(ck, y->data);
    size_t n = x->rows * x->cols * dtype_bytes(x->dtype), piece;
    *same = a && b;
    for (size_t at = 0; *same && at < n; at += piece) {
        piece = size_min(PIECE_BYTES, n - at);
        if (!same_piece(same, a, (size_t)(x->data - a->data) + at, b,
                        (size_t)(y->data - b->data) + at, piece, err))
            return false;
    }
    return true;
}

const char *notes_of_head(bool *ok, const struct checkpoint *ck, const struct matrix *head,
                          const struct matrix *embedding, struct error *err)
{
    bool same = false;
    *ok = true;
    if (head->dtype == embedding->dtype && !dtype_is_packed(head->dtype)
        && head->rows == embedding->rows && head->cols == embedding->cols)
        *ok = same_bytes(&same, ck, head, embedding, err);
    return same || !*ok ? NULL
         : "tie_word_embeddings is true, but lm_head.weight is another than the embedding: "
           "lm_head.weight is read, as transformers 5 does; vLLM reads the embedding";
}

/* ---- the list ------------------------------------------------------------------------ */

static bool add_head(struct buffer *out, const struct checkpoint *ck, const struct weights *w,
                     struct error *err)
{
    bool ok;
    if (!ck->config.tie_word_embeddings || w->lm_head.data == w->embed_tokens.data)
        return true;
    const char *text = notes_of_head(&ok, ck, &w->lm_head, &w->embed_tokens, err);
    return ok && (!text || buffer_printf(out, err, "%s: %s\n",
                                         error_clean(&(struct error){ 0 }, ck->path), text));
}

/* ---- settings ------------------------------------------------------------------------- */

struct names {
    struct buffer text;                 /* "a, b" */
    struct error *err;
};

static bool add_name(void *user, const char *name)
{
    struct names *n = user;
    return buffer_printf(&n->text, n->err, "%s%s", n->text.size ? ", " : "",
                         error_clean(&(struct error){ 0 }, name));
}

static bool add_settings(struct buffer *out, const struct checkpoint *ck, struct error *err)
{
    struct names n = { .err = err };
    bool ok = config_unread_each(ck->config_json, add_name, &n);
    if (ok && n.text.size)
        ok = buffer_printf(out, err, "%s: not read: %s; if it changes the model, the figures are "
                           "those of another one\n",
                           error_clean(&(struct error){ 0 }, ck->config_path), n.text.data);
    buffer_free(&n.text);
    return ok;
}

bool notes_list(struct buffer *out, const struct checkpoint *ck, const struct weights *w,
                struct error *err)
{
    return buffer_append(out, ck->notes.data ? ck->notes.data : "", ck->notes.size, err)
        && add_head(out, ck, w, err) && add_settings(out, ck, err);
}

const char *notes_next(const char **rest, size_t *n)
{
    const char *line = *rest;
    if (!line || !*line)
        return NULL;
    *n = strcspn(line, "\n");
    *rest = line + *n + (line[*n] == '\n');
    return line;
}
