#include "quantization.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/names.h"

#define FORMAT "mxfp4-pack-quantized"

/* quantization_config, and where it was read, for messages. */
struct source {
    const cJSON *config;        /* NULL when absent */
    char *path;                 /* owned: of config.json, or of quantization_file.h */
};

static bool open_source(struct source *s, const struct checkpoint *ck, struct error *err)
{
    s->config = checkpoint_quantization(ck);
    s->path = mem_string(ck->quantization_path ? ck->quantization_path : ck->config_path, err);
    return s->path != NULL;
}

/* ---- settings --------------------------------------------------------------- */

/* What a setting may be, as JSON text; absent or null is as the column says. */
struct setting {
    const char *key;
    bool may_be_absent;
    const char *values[10];
};

#define METHODS \
    { "\"compressed-tensors\"", "\"fp8\"", "\"gptq\"", "\"awq\"", "\"auto-round\"", \
      "\"intel/auto-round\"", "\"modelopt\"", "\"quark\"" }
#define FORMATS \
    { "\"" FORMAT "\"", "\"mixed-precision\"", "\"float-quantized\"", "\"naive-quantized\"", \
      "\"int-quantized\"", "\"pack-quantized\"", "\"nvfp4-pack-quantized\"", \
      "\"mxfp8-quantized\"", "\"mxfp6-pack-quantized\"" }

static const struct setting any_settings[] = {
    { "quant_method", false, METHODS },
    { "rotation_config", true, { "null", "{}" } },
    { "transform_config", true, { "null", "{}" } },
};

static const struct setting tensors_settings[] = {
    { "format", false, FORMATS },
    { "quantization_status", true, { "\"compressed\"", "\"frozen\"" } },
    { "sparsity_config", true, { "null", "{}" } },
};

static const struct setting gptq_settings[] = {
    { "checkpoint_format", true, { "\"gptq\"", "\"gptq_v2\"" } },
    { "sym", true, { "true", "false" } },
};

static const struct setting mlx_settings[] = {
    { "mode", true, { "\"affine\"", "\"mxfp4\"", "\"mxfp8\"", "\"nvfp4\"" } },
};

static const struct setting awq_settings[] = {
    { "version", true, { "\"gemm\"", "\"GEMM\"" } },
};

static const struct setting auto_round_settings[] = {
    { "packing_format", true, { "\"auto_round:auto_gptq\"", "\"auto_round:gptqmodel\"",
                                "\"auto_round\"", "\"auto_round:exllamav2\"",
                                "\"auto_round:auto_awq\"", "\"auto_round:llm_compressor\"",
                                "\"auto_round:fp8\"" } },
    { "sym", true, { "true", "false" } },
};

/* transformers' fp8 (FineGrainedFP8Config), as Qwen releases it. */
static const struct setting fp8_settings[] = {
    { "activation_scheme", true, { "\"dynamic\"" } },
    { "fmt", true, { "\"e4m3\"" } },
    { "scale_fmt", true, { "\"ue8m0\"", "\"float\"" } },
};

static const struct setting group_settings[] = {
    { "format", true, { "\"" FORMAT "\"" } },
    { "input_activations", true, { "null" } },
    { "output_activations", true, { "null" } },
};

static const struct setting weights_settings[] = {
    { "num_bits", false, { "4" } },
    { "type", false, { "\"float\"" } },
    { "group_size", false, { "32" } },
    { "strategy", true, { "\"group\"" } },
    { "symmetric", true, { "true" } },
    { "dynamic", true, { "false" } },
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Where settings are checked, and who takes the faults: NULL where the first one ends the check. */
struct checking {
    const char *path;
    bool (*fault)(void *user, const struct error *why);
    void *user;
    struct error *err;
};

/* err holds the fault; true: go on. */
static bool report(const struct checking *c)
{
    return c->fault && c->fault(c->user, c->err);
}

/* where: "quantization_config", "quantization_config.config_groups.group_0", ... */
static bool check_setting(const struct checking *c, const cJSON *object,
                          const struct setting *setting, const char *where)
{
    const cJSON *item = json_get_value(object, setting->key);
    if (!item && setting->may_be_absent)
        return true;
    char *printed = item ? json_print_line(item) : NULL;
    const char *found = printed ? printed : "missing";
    bool ok = false;
    char expected[256] = "";
    for (size_t i = 0; i < COUNT(setting->values) && setting->values[i]; i++) {
        ok |= strcmp(found, setting->values[i]) == 0;
        bool is_last = i + 1 == COUNT(setting->values) || !setting->values[i + 1];
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s%s",
                 i == 0 ? "" : is_last ? " or " : ", ", setting->values[i]);
    }
    if (!ok)
        error_set(c->err, "%s: %s.%s is %.80s, expected %s", c->path, where, setting->key, found,
                  expected);
    cJSON_free(printed);
    return ok || report(c);
}

static bool check_object(const struct checking *c, const cJSON *object, const char *where)
{
    if (!cJSON_IsObject(object))
        error_set(c->err, "%s: %s is not an object", c->path, where);
    else if (json_unique_keys(object, c->path, c->err))
        return true;
    return report(c);
}

static bool check_settings(const struct checking *c, const cJSON *object,
                           const struct setting *settings, size_t n, const char *where)
{
    bool ok = check_object(c, object, where);
    for (size_t i = 0; ok && cJSON_IsObject(object) && i < n; i++)
        ok = check_setting(c, object, &settings[i], where);
    return ok;
}

static bool has_text(const cJSON *object, const char *key, const char *text)
{
    const char *found = cJSON_GetStringValue(json_get_value(object, key));
    return found && strcmp(found, text) == 0;
}

/* The weights of a group that says MXFP4 are what that is; of others their tensors say all. */
static bool check_group(const struct checking *c, const cJSON *config, const cJSON *group)
{
    bool is_mxfp4 = json_get_value(group, "format")
                        ? has_text(group, "format", FORMAT)
                        : has_text(config, "format", FORMAT);
    struct buffer where = { 0 };
    bool ok = buffer_printf(&where, c->err, "quantization_config.config_groups.%s", group->string)
           && check_object(c, group, where.data)
           && (!is_mxfp4
               || (check_settings(c, group, group_settings, COUNT(group_settings), where.data)
                   && buffer_printf(&where, c->err, ".weights")
                   && check_settings(c, json_get(group, "weights"), weights_settings,
                                     COUNT(weights_settings), where.data)));
    buffer_free(&where);
    return ok;
}

/* Absent: 128 x 128 (formats/weight.c). */
static bool check_block_size(const struct checking *c, const cJSON *config)
{
    const cJSON *size = json_get_value(config, "weight_block_size");
    size_t n[2];
    bool ok = !size || cJSON_GetArraySize(size) == 2;
    for (int i = 0; ok && size && i < 2; i++)
        ok = json_to_size(cJSON_GetArrayItem(size, i), &n[i]) && n[i] > 0;
    if (!ok)
        error_set(c->err,
                  "%s: quantization_config.weight_block_size is not a list of two numbers from 1,"
                  " rows and columns",
                  c->path);
    return ok || report(c);
}

static bool check_groups(const struct checking *c, const cJSON *config)
{
    const cJSON *groups = json_get_value(config, "config_groups"), *group;
    bool ok = check_object(c, groups, "quantization_config.config_groups");
    if (cJSON_IsObject(groups))
        cJSON_ArrayForEach(group, groups)
            ok = ok && check_group(c, config, group);
    return ok;
}

/* A setting that decides what zero points mean cannot be of some modules alone. */
static bool check_overrides(const struct checking *c, const cJSON *config, const char *key)
{
    const cJSON *sym = json_get_value(config, "sym"), *item;
    cJSON_ArrayForEach(item, json_get_value(config, key)) {
        const cJSON *own = json_get_value(item, "sym");
        if (own && cJSON_IsFalse(own) != cJSON_IsFalse(sym)) {
            error_set(c->err, "%s: quantization_config.%s has a sym of its own for %.80s, expected"
                      " one for all", c->path, key, item->string);
            return report(c);
        }
    }
    return true;
}

#define SETTINGS(c, config, list) \
    check_settings(c, config, list, COUNT(list), "quantization_config")

static bool check_config(const struct checking *c, const cJSON *config)
{
    if (quantization_rules_is_mlx(config))
        return SETTINGS(c, config, mlx_settings);
    if (!SETTINGS(c, config, any_settings))
        return false;
    if (has_text(config, "quant_method", "fp8"))
        return SETTINGS(c, config, fp8_settings) && check_block_size(c, config);
    if (has_text(config, "quant_method", "gptq"))
        return SETTINGS(c, config, gptq_settings) && check_overrides(c, config, "dynamic");
    if (has_text(config, "quant_method", "awq"))
        return SETTINGS(c, config, awq_settings);
    if (has_text(config, "quant_method", "auto-round")
        || has_text(config, "quant_method", "intel/auto-round"))
        return SETTINGS(c, config, auto_round_settings)
            && check_overrides(c, config, "extra_config");
    if (has_text(config, "quant_method", "modelopt") || has_text(config, "quant_method", "quark"))
        return true;
    return SETTINGS(c, config, tensors_settings) && check_groups(c, config);
}

/* compressed-tensors 0.13 subtracted 2; 0.12 has no MXFP4, and 0.14 writes it as the standard says
 * (compressors/quantized_compressors/fp4_quantized.py; pull request 538). */
const char *quantization_off_version(const struct checkpoint *ck)
{
    const char *version =
        cJSON_GetStringValue(json_get_value(checkpoint_quantization(ck), "version"));
    return version && strncmp(version, "0.13.", strlen("0.13.")) == 0 ? version : NULL;
}

/* ---- what the config says of a module ------------------------------------------ */

bool quantization_rules_read(struct quantization_rules *r, const struct checkpoint *ck,
                             struct error *err)
{
    struct source s = { 0 };
    *r = (struct quantization_rules){ .ck = ck };
    bool ok = open_source(&s, ck, err) && quantization_rules_fill(r, s.config, s.path, err);
    free(s.path);
    return ok;
}

void quantization_rules_free(struct quantization_rules *r)
{
    module_list_free(&r->targets);
    module_list_free(&r->ignore);
}

/* By the model's name for the module, or by that of the files. */
static bool is_in_list(bool *found, const struct quantization_rules *r,
                       const struct module_list *list, const char *module, struct error *err)
{
    char *in_files = NULL;
    bool ok = module_list_names(found, list, module, err)
           && (*found || !r->ck || names_in_files(&in_files, r->ck, module, err))
           && (!in_files || module_list_names(found, list, in_files, err));
    free(in_files);
    return ok;
}

bool quantization_says(struct module_said *out, const struct quantization_rules *r,
                       const char *module, struct error *err)
{
    *out = (struct module_said){ 0 };
    if (!r->is_there)
        return true;
    if (!is_in_list(&out->ignored, r, &r->ignore, module, err)
        || !is_in_list(&out->named, r, &r->targets, module, err))
        return false;
    out->ignored |= r->ignore.has_linear;
    out->by_class = r->targets.has_linear;
    return true;
}

bool quantization_check_each(const struct checkpoint *ck,
                             bool (*fault)(void *user, const struct error *why), void *user,
                             struct error *err)
{
    struct source s = { 0 };
    struct quantization_rules rules = { 0 };
    bool ok = open_source(&s, ck, err);
    const struct checking c = { s.path, fault, user, err };
    if (ok && s.config)
        ok = check_config(&c, s.config)
          && (quantization_rules_fill(&rules, s.config, s.path, err) || report(&c));
    quantization_rules_free(&rules);
    free(s.path);
    return ok;
}

bool quantization_check(const struct checkpoint *ck, struct error *err)
{
    return quantization_check_each(ck, NULL, NULL, err);
}

/* ---- contradictions --------------------------------------------------------------- */

const char *quantization_verdict_text(enum quantization_verdict verdict)
{
    static const char *const texts[] = {
        [PACKED_NO_CONFIG] = "packed in the files, but config.json has no quantization_config",
        [PACKED_IGNORED] = "packed in the files, ignored by the config",
        [PACKED_UNTARGETED] = "packed in the files, not targeted by the config",
        [PACKED_OTHERWISE] = "packed in the files, in another format than the config says",
        [TARGETED_PLAIN] = "targeted by the config, not packed in the files",
        [NO_CONTRADICTION] = "as the config says",
    };
    return texts[verdict];
}

/* Modules of one name, but for layer and expert, with one verdict: one line. */
struct group {
    char *every, *in_layer;     /* owned: the name with "*" for each number, for the expert */
    char *module;               /* owned: the first one's name */
    enum quantization_verdict verdict;
    size_t n_modules, n_layers, last_layer;
};

struct collector {
    const struct checkpoint *ck;
    struct quantization_rules rules;
    struct group *groups;       /* owned */
    size_t n_groups, capacity;
    size_t layer;
    struct error *err;
};

/* Upstream the router is a linear to one loader and none to another, quantizers always keep head
 * and shared_expert_gate, and fused experts are no linears.  So these may be packed or not. */
bool quantization_promises(enum weight_kind kind, bool is_fused)
{
    return kind == WEIGHT_ATTENTION || kind == WEIGHT_DELTA_NET || kind == WEIGHT_SHARED_EXPERT
        || kind == WEIGHT_DENSE_MLP || (kind == WEIGHT_EXPERTS && !is_fused);
}

enum quantization_verdict quantization_judge(const struct quantization_rules *r,
                                             const struct module_said *said, enum dtype format,
                                             bool is_promised)
{
    bool is_packed = dtype_is_packed(format);
    if (!r->is_there)
        return is_packed ? PACKED_NO_CONFIG : NO_CONTRADICTION;
    if (is_packed && said->ignored)
        return PACKED_IGNORED;
    if (is_packed && !said->named && !said->by_class)
        return PACKED_UNTARGETED;
    if (is_packed && r->formats && !(r->formats & UINT64_C(1) << format))
        return PACKED_OTHERWISE;
    if (!is_packed && !said->ignored && (said->named || (said->by_class && is_promised)))
        return TARGETED_PLAIN;
    return NO_CONTRADICTION;
}

/* Gives the name with "*" in place of its numbers, from the first or the second one on. */
static char *star(const char *module, bool keep_first, struct error *err)
{
    char *out = mem_string(module, err), *to = out;
    bool keep = keep_first;
    for (const char *from = out; out && *from;) {
        size_t n = strcspn(from, "."), digits = strspn(from, "0123456789");
        bool is_number = n > 0 && digits == n;
        if (is_number && !keep)
            *to++ = '*';
        else {
            memmove(to, from, n);
            to += n;
        }
        keep = keep && !is_number;
        from += n;
        if (*from == '.')
            *to++ = *from++;
    }
    if (out)
        *to = '\0';
    return out;
}

static void free_group(struct group *g)
{
    free(g->every);
    free(g->in_layer);
    free(g->module);
}

static bool count(struct collector *c, const char *module, enum quantization_verdict verdict)
{
    struct group g = { .verdict = verdict, .n_layers = 1, .last_layer = c->layer };
    g.every = star(module, false, c->err);
    g.in_layer = star(module, true, c->err);
    g.module = mem_string(module, c->err);
    bool ok = g.every && g.in_layer && g.module;
    size_t i = 0;
    while (ok && i < c->n_groups
           && !(c->groups[i].verdict == verdict && strcmp(c->groups[i].every, g.every) == 0))
        i++;
    if (ok && i == c->n_groups) {
        ok = mem_grow(&c->groups, &c->capacity, i + 1, sizeof *c->groups, "contradictions", c->err);
        if (ok)
            c->groups[c->n_groups++] = g;
    } else
        free_group(&g);
    if (!ok)
        return false;
    struct group *same = &c->groups[i];
    same->n_modules++;
    same->n_layers += same->last_layer != c->layer;
    same->last_layer = c->layer;
    return true;
}

static bool collect(void *user, const struct model_weight *x)
{
    struct collector *c = user;
    struct module_said said;
    struct stored_weight stored;
    if (!x->is_linear || c->ck->reader->is_self_described)
        return true;
    if (!quantization_says(&said, &c->rules, x->module, c->err)
        || !weight_find(&stored, c->ck, x, NULL, c->err))
        return false;
    enum quantization_verdict verdict =
        quantization_judge(&c->rules, &said, stored.view.dtype,
                           quantization_promises(x->kind, stored.is_fused));
    return verdict == NO_CONTRADICTION || count(c, x->module, verdict);
}

static bool write_group(struct contradictions *out, const struct group *g, struct error *err)
{
    struct buffer *b = &out->text;
    bool ok;
    if (g->n_modules == 1)
        ok = buffer_printf(b, err, "%s", g->module);
    else if (g->n_layers == 1)
        ok = buffer_printf(b, err, "%s (%zu modules)", g->in_layer, g->n_modules);
    else
        ok = buffer_printf(b, err, "%s (%zu modules in %zu layers)", g->every, g->n_modules,
                           g->n_layers);
    out->count++;
    return ok && buffer_printf(b, err, ": %s\n", quantization_verdict_text(g->verdict));
}

bool quantization_contradictions(struct contradictions *out, const struct checkpoint *ck,
                                 const struct weights *w, struct error *err)
{
    *out = (struct contradictions){ 0 };
    struct source s = { 0 };
    struct collector c = { .ck = ck, .err = err };
    bool ok = open_source(&s, ck, err)
           && quantization_rules_fill(&c.rules, s.config, s.path, err)
           && buffer_append(&out->text, "", 0, err);
    for (c.layer = 0; ok && c.layer <= ck->config.num_hidden_layers; c.layer++)
        ok = weights_visit_layer(ck, w, c.layer, collect, &c);
    for (size_t i = 0; i < c.n_groups; i++) {
        ok = ok && write_group(out, &c.groups[i], err);
        free_group(&c.groups[i]);
    }
    free(c.groups);
    quantization_rules_free(&c.rules);
    free(s.path);
    if (!ok)
        quantization_contradictions_free(out);
    return ok;
}

void quantization_contradictions_free(struct contradictions *c)
{
    buffer_free(&c->text);
    c->count = 0;
}
