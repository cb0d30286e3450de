#include "eval/protocol/input.h"

#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "base/file.h"
#include "eval/protocol/text.h"
#include "eval/protocol/wikitext.h"

bool input_read_ids(const char *path, int32_t **ids, size_t *n_ids, struct buffer *bytes,
                    struct error *err)
{
    struct buffer text;
    if (!file_read_input(&text, path, err))
        return false;
    bool ok = text_parse_ids(text.data, text.size, path, ids, n_ids, err);
    if (ok && bytes)
        *bytes = text;
    else
        buffer_free(&text);
    return ok;
}

bool input_check_ids(const int32_t *ids, size_t n_ids, const char *path,
                     const struct checkpoint *ck, struct error *err)
{
    size_t V = ck->config.vocab_size;
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= V)
            return error_set(err, "%s: token %zu has id %d, but the vocabulary of %s has %zu", path,
                             i, (int)ids[i], ck->path, V);
    return true;
}

static bool end_document(struct input *in, struct error *err)
{
    if (!mem_grow(&in->document_ends, &in->documents_capacity, in->n_documents + 1,
                  sizeof *in->document_ends, "documents", err))
        return false;
    in->document_ends[in->n_documents++] = in->n_ids;
    return true;
}

static bool append_document(struct input *in, const struct tokenizer *t, const char *text, size_t n,
                            struct error *err)
{
    int32_t *ids;
    size_t n_ids;
    if (!tokenizer_encode(t, text, n, &ids, &n_ids, err))
        return error_prefix(err, "%s: ", in->path);
    bool ok = mem_grow(&in->ids, &in->capacity, in->n_ids + n_ids, sizeof *ids, "token ids", err);
    if (ok && n_ids) {
        memcpy(in->ids + in->n_ids, ids, n_ids * sizeof *ids);
        in->n_ids += n_ids;
    }
    free(ids);
    return ok && end_document(in, err);
}

/* Words and bytes are counted in the articles as the file has them, before detokenization.  A byte
 * order mark belongs to none. */
static bool append_articles(struct input *in, const struct tokenizer *t, const char *text, size_t n,
                            size_t max_documents, struct error *err)
{
    in->bytes = 0;
    struct wikitext_articles articles = { .text = text, .n = n, .at = encoding_mark(text, n) };
    struct buffer page = { 0 }, plain = { 0 };
    bool ok = true;
    while (ok && (!max_documents || in->n_documents < max_documents)
           && wikitext_next(&articles, &page, &ok, err)) {
        in->bytes += page.size;
        in->words += text_words(page.data, page.size);
        ok = wikitext_detokenize(&plain, page.data, page.size, err)
          && append_document(in, t, plain.data, plain.size, err);
        buffer_free(&plain);
    }
    buffer_free(&page);
    return ok;
}

/* Each line that is not blank is a document.  A byte order mark belongs to none. */
static bool append_lines(struct input *in, const struct tokenizer *t, const char *text, size_t n,
                         size_t max_documents, struct error *err)
{
    in->bytes = 0;
    for (size_t at = encoding_mark(text, n), end;
         at < n && (!max_documents || in->n_documents < max_documents); at = end + 1) {
        const char *newline = memchr(text + at, '\n', n - at), *shown = text + at;
        end = newline ? (size_t)(newline - text) : n;
        size_t length = end - at;
        text_trim(&shown, &length);
        if (length == 0)
            continue;
        in->bytes += end - at;
        in->words += text_words(text + at, end - at);
        if (!append_document(in, t, text + at, end - at, err))
            return false;
    }
    return true;
}

static bool read_text(struct input *in, const struct surprisal_eval_options *o,
                      enum surprisal_task task, const struct tokenizer *t, struct error *err)
{
    struct buffer text;
    if (!text_read(&text, in->path, o->join, err))
        return false;
    in->is_text = true;
    in->bytes = text.size;
    in->has_crlf = text.size && memmem(text.data, text.size, "\r\n", 2);
    in->has_mark = encoding_mark(text.data, text.size) > 0;
    bool ok = (text.size || error_set(err, "%s: is empty", in->path))
           && digest_of(&in->digest, text.data, text.size, err);
    if (ok && task == SURPRISAL_TASK_WIKITEXT)
        ok = append_articles(in, t, text.data, text.size, o->max_documents, err);
    else if (ok && task == SURPRISAL_TASK_LINES)
        ok = append_lines(in, t, text.data, text.size, o->max_documents, err);
    else if (ok) {
        in->words = text_words(text.data, text.size);
        ok = append_document(in, t, text.data, text.size, err);
    }
    buffer_free(&text);
    return ok;
}

static bool read_ids(struct input *in, struct error *err)
{
    struct buffer bytes;
    if (!input_read_ids(in->path, &in->ids, &in->n_ids, &bytes, err))
        return false;
    in->bytes = bytes.size;
    bool ok = digest_of(&in->digest, bytes.data, bytes.size, err) && end_document(in, err);
    buffer_free(&bytes);
    return ok;
}

bool input_read(struct input *in, const struct surprisal_eval_options *o, enum surprisal_task task,
                const struct tokenizer *t, const struct checkpoint *ck, struct error *err)
{
    *in = (struct input){ .path = o->text ? o->text : o->ids };
    bool ok = (o->text ? read_text(in, o, task, t, err) : read_ids(in, err))
           && (in->n_ids || error_set(err, "%s: holds no tokens", in->path))
           && input_check_ids(in->ids, in->n_ids, in->path, ck, err)
           && digest_of(&in->ids_digest, in->ids, in->n_ids * sizeof *in->ids, err);
    if (!ok)
        input_free(in);
    return ok;
}

void input_free(struct input *in)
{
    free(in->ids);
    free(in->document_ends);
    *in = (struct input){ 0 };
}
