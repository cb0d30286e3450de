/* schema_parts.h - what the files of the schema compiler share.
 *
 * Several schemas may hold for one value: those of allOf, of $ref with words beside it, of a choice
 * in anyOf.  A view is the list of all of them, with no choice left. */
#ifndef SURPRISAL_GRAMMAR_SCHEMA_PARTS_H
#define SURPRISAL_GRAMMAR_SCHEMA_PARTS_H

#include "grammar/dfa.h"
#include "grammar/schema.h"
#include "grammar/word_lists.h"

enum schema_type {
    SCHEMA_NULL = 1, SCHEMA_BOOLEAN = 2, SCHEMA_WHOLE = 4, SCHEMA_FRACTION = 8, SCHEMA_STRING = 16,
    SCHEMA_OBJECT = 32, SCHEMA_ARRAY = 64, SCHEMA_ALL_TYPES = 127,
};

struct schema {
    struct json_text *text;             /* borrowed, as root and name */
    const cJSON *root;
    const char *name;
    bool strict;
    struct word_lists numbers;          /* of schemas, by their addresses */
    const cJSON **by_number;
    size_t by_number_capacity;
    struct word_lists wanted;           /* lists of numbers of schemas, and a place */
    uint32_t *nodes;                    /* [wanted.n]: reserved, or filled if below n_done */
    size_t nodes_capacity, n_done;
};

struct schema_view {
    const cJSON **parts;                /* owned: objects */
    size_t n, capacity;
    unsigned types;
    enum schema_place place;
};

/* ---- words of a schema (schema_words.c) ------------------------------------------ */

/* "NAME: /path/word: ..."; always false.  word may be NULL. */
bool schema_refuse(const struct schema *s, const cJSON *at, const char *word, struct error *err,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same, for the reason that another error holds. */
bool schema_refuse_with(const struct schema *s, const cJSON *at, const char *word,
                        const struct error *why, struct error *err);
/* Refuses an object (the schema itself, or its `word`) in which a key occurs twice. */
bool schema_unique_keys(const struct schema *s, const cJSON *object, const cJSON *at,
                        const char *word, struct error *err);
/* Refuses what is no schema, repeated words, and words that are not supported. */
bool schema_check_words(const struct schema *s, const cJSON *schema, struct error *err);
/* The schema that a $ref names. */
const cJSON *schema_find(const struct schema *s, const cJSON *schema, struct error *err);
/* Narrows *types to those that `type` names. */
bool schema_read_types(const struct schema *s, const cJSON *schema, unsigned *types,
                       struct error *err);
/* A count (minLength ...): leaves *value alone where it is absent. */
bool schema_read_count(const struct schema *s, const cJSON *schema, const char *word,
                       uint32_t *value, struct error *err);

/* ---- what else is to be compiled (schema_wanted.c) ------------------------------- */

/* Counts work (graph_spend); too much is an error that names the schema. */
bool schema_spend(const struct schema *s, const cJSON *at, size_t work, struct error *err);
/* The node of n schemas that all hold; it is compiled later. */
bool schema_want(struct schema *s, const cJSON *const *schemas, size_t n, enum schema_place place,
                 uint32_t *node, struct error *err);

/* ---- strings (schema_strings.c): lengths, patterns and formats that all hold ------------ */

/* Release with schema_strings_free, also after a failure. */
struct schema_strings {
    uint32_t min, max;          /* characters; UINT32_MAX: any number */
    struct dfa *dfas;
    size_t n, capacity;
};

bool schema_strings_read(const struct schema *s, const struct schema_view *v,
                         struct schema_strings *r, struct error *err);
uint32_t schema_strings_node(const struct schema *s, const struct schema_strings *r,
                             enum schema_place place);
bool schema_strings_fit(const struct schema_strings *r, const char *text);
void schema_strings_free(struct schema_strings *r);

/* ---- values (schema_values.c, schema_containers.c) ------------------------------- */

/* The node of a view's values of all its types. */
bool schema_values(struct schema *s, const struct schema_view *v, uint32_t *node,
                   struct error *err);
bool schema_object(struct schema *s, const struct schema_view *v, uint32_t *node,
                   struct error *err);
bool schema_array(struct schema *s, const struct schema_view *v, uint32_t *node,
                  struct error *err);

/* Members of a view that is an object's: names in order, and the schemas of each. */
struct schema_members {
    struct schema_named {
        const char *name;
        bool required;
    } *all;
    size_t n, capacity;
    bool closed;                        /* no others */
};
bool schema_find_members(struct schema *s, const struct schema_view *v, struct schema_members *m,
                         struct error *err);
/* The node of a member's value; name NULL: of any other member's. */
bool schema_member_node(struct schema *s, const struct schema_view *v, const char *name,
                        enum schema_place place, uint32_t *node, struct error *err);

#endif
