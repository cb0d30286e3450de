#include "formats/names.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "formats/checkpoint_note.h"
#include "formats/weight_kind.h"

#define EMBEDDING "embed_tokens.weight"
#define HEAD "lm_head."
#define SHOWN 3                         /* names in a message */

/* The first n characters of a name that is there. */
struct prefix {
    const char *name;
    size_t n;
};

static bool is_prefix(struct prefix p, const char *text)
{
    return strlen(text) == p.n && memcmp(p.name, text, p.n) == 0;
}

static bool has_prefix(const char *name, struct prefix p)
{
    return strncmp(name, p.name, p.n) == 0;
}

/* *n: where `end` begins, which is all that follows a '.' or is the whole name. */
static bool ends_in(size_t *n, const char *name, const char *end)
{
    size_t length = strlen(name), n_end = strlen(end);
    if (length < n_end || strcmp(name + length - n_end, end) != 0)
        return false;
    *n = length - n_end;
    return *n == 0 || name[*n - 1] == '.';
}

/* ---- finding --------------------------------------------------------------------------- */

/* How many prefixes there are, and the first; the model's own alone, if one is there. */
static size_t find_prefixes(struct prefix *found, const struct checkpoint *ck)
{
    size_t n = 0;
    for (size_t i = 0; i < ck->n_tensors; i++) {
        struct prefix p = { .name = ck->tensors[i]->name };
        if (!ends_in(&p.n, p.name, EMBEDDING) || weight_kind_outside(p.name) != WEIGHT_OTHER)
            continue;
        bool is_own = is_prefix(p, NAMES_MULTIMODAL) || is_prefix(p, NAMES_TEXT);
        if (n == 0 || is_own)
            *found = p;
        n++;
        if (is_own)
            return 1;
    }
    return n;
}

/* Does the name begin with the head's, after the beginning of the prefix up to a '.'?  *n: of this
 * beginning. */
static bool is_head(size_t *n, const char *name, struct prefix of)
{
    for (*n = 0; *n <= of.n; ++*n)
        if ((*n == 0 || of.name[*n - 1] == '.') && strncmp(name, of.name, *n) == 0
            && strncmp(name + *n, HEAD, strlen(HEAD)) == 0)
            return true;
    return false;
}

/* The one beginning that heads have; refused are two. */
static bool find_head(struct prefix *found, const struct checkpoint *ck, struct prefix of,
                      const struct checkpoint_faults *faults, struct error *err)
{
    const struct tensor *first = NULL;
    size_t n;
    *found = (struct prefix){ .name = "" };
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i];
        if (!is_head(&n, t->name, of))
            continue;
        if (first && n != found->n) {
            const struct checkpoint_place at = { .file = t->file, .tensor = t->name,
                                                 .other = first->file };
            struct error why = { 0 };
            error_set(&why, "%s: '%s' and '%s' are both there, expected one head", ck->path,
                      first->name, t->name);
            return checkpoint_fault_add(faults, CHECKPOINT_TWICE, &at, &why, err);
        }
        first = first ? first : t;
        *found = (struct prefix){ t->name, n };
    }
    return true;
}

/* ---- renaming ---------------------------------------------------------------------------- */

/* From these prefixes to those of the model. */
struct renaming {
    struct prefix body, head;
};

/* What stands before the rest of a name, *n characters into it; NULL: the name stays. */
static const char *new_prefix(size_t *n, const char *name, const struct renaming *r)
{
    size_t n_head = r->head.n;
    if (n_head && has_prefix(name, r->head) && strncmp(name + n_head, HEAD, strlen(HEAD)) == 0) {
        *n = n_head;
        return "";
    }
    if (is_prefix(r->body, NAMES_MULTIMODAL) || is_prefix(r->body, NAMES_TEXT)
        || !has_prefix(name, r->body) || weight_kind_outside(name) != WEIGHT_OTHER
        || (r->body.n == 0 && strncmp(name, HEAD, strlen(HEAD)) == 0))
        return NULL;
    *n = r->body.n;
    return NAMES_MULTIMODAL;
}

/* Calls for every tensor of every file: what counts, and what is stale. */
static size_t rename_all(struct checkpoint *ck, const struct renaming *r, char *names)
{
    size_t used = 0, n;
    for (size_t i = 0; i < ck->n_files; i++)
        for (size_t j = 0; j < ck->files[i].n_tensors; j++) {
            struct tensor *t = &ck->files[i].tensors[j];
            const char *prefix = new_prefix(&n, t->name, r);
            if (!prefix)
                continue;
            size_t size = strlen(prefix) + strlen(t->name + n) + 1;
            if (names) {
                snprintf(names + used, size, "%s%s", prefix, t->name + n);
                t->name = names + used;
            }
            used += size;
        }
    return used;
}

/* The prefixes stay where they are: in the files' own names. */
static bool rename_tensors(struct checkpoint *ck, const struct renaming *r, struct error *err)
{
    size_t size = rename_all(ck, r, NULL);
    if (size == 0)
        return true;
    ck->names = mem_array(size, 1, "tensor names", err);
    ck->body_prefix = r->body.name;
    ck->n_body_prefix = r->body.n;
    ck->head_prefix = r->head.name;
    ck->n_head_prefix = r->head.n;
    return ck->names && rename_all(ck, r, ck->names);
}

static bool tell(struct checkpoint *ck, const struct checkpoint_faults *faults,
                 const struct renaming *r, struct error *err)
{
    const struct checkpoint_place at = { .file = "" };
    const struct prefix *p = is_prefix(r->body, NAMES_MULTIMODAL) || is_prefix(r->body, NAMES_TEXT)
                           ? &r->head : &r->body;
    bool is_head = p == &r->head;
    return checkpoint_note_add(ck, faults, CHECKPOINT_CHOICE, &at, err,
                               "the tensors '%.*s%s' are read as '%s'", (int)p->n, p->name,
                               is_head ? HEAD "*" : "*", is_head ? HEAD "*" : NAMES_MULTIMODAL "*");
}

bool names_translate(struct checkpoint *ck, const struct checkpoint_faults *faults,
                     struct error *err)
{
    struct renaming r = { .body = { .name = "" } };
    if (find_prefixes(&r.body, ck) != 1)
        return true;
    if (!find_head(&r.head, ck, r.body, faults, err))
        return false;
    bool ok = rename_tensors(ck, &r, err);
    return ok && (!ck->names || tell(ck, faults, &r, err));
}

bool names_in_files(char **out, const struct checkpoint *ck, const char *module, struct error *err)
{
    size_t n = strlen(NAMES_MULTIMODAL);
    bool is_body = strncmp(module, NAMES_MULTIMODAL, n) == 0, is_head = !strcmp(module, "lm_head");
    int size = 0;
    *out = NULL;
    if (ck->names && is_body)
        size = asprintf(out, "%.*s%s", (int)ck->n_body_prefix, ck->body_prefix, module + n);
    else if (ck->names && is_head)
        size = asprintf(out, "%.*s%s", (int)ck->n_head_prefix, ck->head_prefix, module);
    return size >= 0 || error_set(err, "out of memory: a module's name");
}

/* ---- messages ------------------------------------------------------------------------------ */

static size_t show(char *text, size_t n, size_t used, const char *name)
{
    int more = used < n ? snprintf(text + used, n - used, "%s'%.100s'", used ? ", " : "", name) : 0;
    return used + (more > 0 ? (size_t)more : 0);
}

const char *names_shown(const struct checkpoint *ck, char *text, size_t n)
{
    size_t used = 0, shown = 0;
    text[0] = '\0';
    for (size_t i = 0; i < ck->n_tensors && shown < SHOWN; i++)
        if (strstr(ck->tensors[i]->name, "embed")) {
            used = show(text, n, used, ck->tensors[i]->name);
            shown++;
        }
    size_t left = SHOWN - shown;
    for (size_t i = 0; i < left && i < ck->n_tensors; i++)
        used = show(text, n, used, ck->tensors[i * ck->n_tensors / left]->name);
    return text;
}
