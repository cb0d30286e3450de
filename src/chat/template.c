#include "chat/template.h"

#include <stdlib.h>

#include "chat/lexer.h"
#include "chat/parser.h"

struct template {
    struct workspace tree_memory;
    struct parser_result tree;
    char *path;
};

struct template *template_read(const char *text, size_t n, const char *path, struct error *err)
{
    struct template *t = mem_array(1, sizeof *t, "a template", err);
    struct lexer_token *tokens;
    size_t n_tokens;
    if (!t)
        return NULL;
    t->tree_memory.bytes_limit = TEMPLATE_BYTES;
    t->tree_memory.steps_limit = WORKSPACE_STEPS;
    t->path = mem_string(path, err);
    if (t->path && lexer_run(&tokens, &n_tokens, text, n, path, &t->tree_memory, err)
        && parser_run(&t->tree, tokens, path, &t->tree_memory, err))
        return t;
    template_free(t);
    return NULL;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    workspace_free(&t->tree_memory);
    free(t->path);
    free(t);
}

bool template_reads_parts(const struct template *t)
{
    return t->tree.reads_parts;
}

bool template_render(struct marked_text_builder *out, const struct template *t,
                     const struct value_mapping *variables, time_t now, struct workspace *w,
                     struct error *err)
{
    return interpreter_run(out, &t->tree, variables, now, t->path, w, err);
}
