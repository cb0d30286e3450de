/* formats/names.h: which prefixes are translated, on a checkpoint that a reader here makes up. */
#include "formats/names.h"

#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

#define MOST 4

static const struct {
    const char *name, *before[MOST], *after[MOST];      /* after[0] NULL: refused */
} cases[] = {
    { "the model's own",
      { "model.embed_tokens.weight", "lm_head.weight" },
      { "model.embed_tokens.weight", "lm_head.weight" } },
    { "MLX's",
      { "language_model.model.embed_tokens.weight", "language_model.lm_head.weight" },
      { NAMES_MULTIMODAL "embed_tokens.weight", "lm_head.weight" } },
    { "none",
      { "embed_tokens.weight", "norm.weight", "lm_head.weight", "mtp.norm.weight" },
      { NAMES_MULTIMODAL "embed_tokens.weight", NAMES_MULTIMODAL "norm.weight", "lm_head.weight",
        "mtp.norm.weight" } },
    { "an MTP embedding counts for nothing",
      { "x.embed_tokens.weight", "mtp.embed_tokens.weight" },
      { NAMES_MULTIMODAL "embed_tokens.weight", "mtp.embed_tokens.weight" } },
    { "two prefixes stay",
      { "a.embed_tokens.weight", "b.embed_tokens.weight" },
      { "a.embed_tokens.weight", "b.embed_tokens.weight" } },
    { "the own one is enough",
      { "a.embed_tokens.weight", "model.embed_tokens.weight", "a.b" },
      { "a.embed_tokens.weight", "model.embed_tokens.weight", "a.b" } },
    { "a name that only ends so",
      { "x_embed_tokens.weight", "y" },
      { "x_embed_tokens.weight", "y" } },
    { "two heads", { "a.b.embed_tokens.weight", "a.lm_head.weight", "lm_head.weight" }, { NULL } },
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor tensors[MOST] = { { .name = NULL } };
        const struct tensor *counted[MOST];
        struct safetensors_file file = { .tensors = tensors };
        struct checkpoint ck = { .path = "x", .files = &file, .n_files = 1, .tensors = counted };
        struct error err = { 0 };
        for (size_t j = 0; j < MOST && cases[i].before[j]; j++) {
            tensors[j] = (struct tensor){ .name = cases[i].before[j], .file = "f" };
            counted[ck.n_tensors++] = &tensors[file.n_tensors++];
        }
        bool ok = names_translate(&ck, NULL, &err), same = ok == (cases[i].after[0] != NULL);
        bool changed = false;
        for (size_t j = 0; ok && j < ck.n_tensors; j++) {
            same = same && strcmp(tensors[j].name, cases[i].after[j]) == 0;
            changed = changed || strcmp(tensors[j].name, cases[i].before[j]) != 0;
        }
        check(same && (ck.notes.size > 0) == changed, cases[i].name, "'%s' %s",
              ok ? tensors[0].name : err.message, ck.notes.data ? ck.notes.data : "");
        free(ck.names);
        buffer_free(&ck.notes);
    }
    return check_done();
}
