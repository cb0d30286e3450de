/* helper.h - small tokenizers for the tests of this folder, made of parts of a tokenizer.json. */
#ifndef SURPRISAL_TESTS_UNIT_TOKENIZER_HELPER_H
#define SURPRISAL_TESTS_UNIT_TOKENIZER_HELPER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/output_file.h"
#include "tokenizer/tokenizer.h"

/* The parts of a file as JSON; NULL leaves the default of small_tokenizer(). */
struct weight_schedule {
    const char *normalizer, *pre_tokenizer, *added_tokens, *decoder, *vocab, *merges;
    const char *model;              /* more members of the model, each with a comma behind */
    const char *more;               /* more members of the root, each with a comma behind */
};

/* Words end at spaces; "ab", "abc", "bc" and two halves of U+00E9 can be told apart. */
static const struct weight_schedule default_parts = {
    .normalizer = "{\"type\":\"NFC\"}",
    .pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
    .added_tokens = "[]",
    .decoder = "{\"type\":\"ByteLevel\"}",
    .vocab = "{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"bc\":4,\"abc\":5,\"Ġ\":6,\"Ã\":7,\"©\":8,"
             "\"Ċ\":9,\"Ä\":10}",
    .merges = "[[\"b\",\"c\"],[\"a\",\"b\"],[\"a\",\"bc\"]]",
    .model = "", .more = "",
};

#define PART(name) (p->name ? p->name : default_parts.name)

/* Writes the file of these parts into a new folder and opens it; the folder is removed. */
static inline struct tokenizer *open_parts(const struct weight_schedule *p, struct error *err)
{
    char folder[] = "/tmp/surprisal-tokenizer-XXXXXX";
    struct buffer text = { 0 };
    struct tokenizer *t = NULL;
    if (!mkdtemp(folder))
        return NULL;
    char *path = file_join(folder, "tokenizer.json", err);
    if (path
        && buffer_printf(&text, err,
                         "{%s\"version\":\"1.0\",\"added_tokens\":%s,\"normalizer\":%s,"
                         "\"pre_tokenizer\":%s,\"post_processor\":null,\"decoder\":%s,"
                         "\"model\":{\"type\":\"BPE\",%s\"vocab\":%s,\"merges\":%s}}",
                         PART(more), PART(added_tokens), PART(normalizer), PART(pre_tokenizer),
                         PART(decoder), PART(model), PART(vocab), PART(merges))
        && output_file_write(path, text.data, text.size, err))
        t = tokenizer_open(folder, err);
    if (path)
        unlink(path);
    rmdir(folder);
    free(path);
    buffer_free(&text);
    return t;
}

/* The ids of n bytes as text ("1 2 3"), or the error's message. */
static inline void encode_as_text(const struct tokenizer *t, const char *text, size_t n,
                                  struct buffer *out)
{
    struct error err = { 0 };
    int32_t *ids = NULL;
    size_t n_ids = 0;
    out->size = 0;
    buffer_append(out, "", 0, NULL);
    if (!tokenizer_encode(t, text, n, &ids, &n_ids, &err)) {
        buffer_printf(out, NULL, "%s", err.message);
        return;
    }
    for (size_t i = 0; i < n_ids; i++)
        buffer_printf(out, NULL, "%s%d", i ? " " : "", ids[i]);
    free(ids);
}

#endif
