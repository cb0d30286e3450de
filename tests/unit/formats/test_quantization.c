#include "formats/quantization.h"

#include "base/json.h"
#include "fake.h"
#include "tests/check.h"

#define P FAKE_PREFIX

/* ---- settings --------------------------------------------------------------------- */

#define GROUP "config_groups.group_0"
#define WEIGHTS GROUP ".weights"

static const struct {
    const char *name, *where, *key, *value, *fragment;  /* fragment NULL: accepted */
} settings[] = {                        /* one change to a good quantization_config */
    { "unchanged", "", "x", "1", NULL },
    { "mixed-precision", "", "format", "\"mixed-precision\"", NULL },
    { "mixed-precision, group's format", GROUP, "format", "\"mxfp4-pack-quantized\"", NULL },
    { "a group's other format", GROUP, "format", "\"nvfp4-pack-quantized\"", NULL },
    { "quant_method fp8", "", "quant_method", "\"fp8\"", NULL },
    { "quant_method gptq", "", "quant_method", "\"gptq\"", NULL },
    { "quant_method hqq", "", "quant_method", "\"hqq\"",
      "quantization_config.quant_method is \"hqq\", expected \"compressed-tensors\", \"fp8\","
      " \"gptq\", \"awq\", \"auto-round\", \"intel/auto-round\", \"modelopt\" or \"quark\"" },
    { "quant_method absent", "", "quant_method", NULL, "quant_method is missing" },
    { "quant_method a number", "", "quant_method", "4", "quant_method is 4" },
    { "format nvfp4", "", "format", "\"nvfp4-pack-quantized\"", NULL },
    { "format marlin-24", "", "format", "\"marlin-24\"",
      "format is \"marlin-24\", expected \"mxfp4-pack-quantized\", \"mixed-precision\"," },
    { "format absent", "", "format", NULL, "format is missing" },
    { "status compressed", "", "quantization_status", "\"compressed\"", NULL },
    { "status initialized", "", "quantization_status", "\"initialized\"",
      "quantization_status is \"initialized\"" },
    { "a quantized cache, which is the engine's", "", "kv_cache_scheme", "{\"num_bits\":8}", NULL },
    { "a rotation", "", "rotation_config", "{\"r1\":true}", "rotation_config is" },
    { "no quantized cache", "", "kv_cache_scheme", "null", NULL },
    { "sparsity", "", "sparsity_config", "{\"format\":\"sparse-24\"}", "sparsity_config is" },
    { "no sparsity", "", "sparsity_config", "{}", NULL },
    { "a transform", "", "transform_config", "{\"config_groups\":{}}", "transform_config is" },
    { "no transform", "", "transform_config", "{}", NULL },
    { "no groups", "", "config_groups", NULL, "config_groups is not an object" },
    { "groups in a list", "", "config_groups", "[]", "config_groups is not an object" },
    { "a group by preset", "", "config_groups", "{\"MXFP4\":[\"Linear\"]}",
      "config_groups.MXFP4 is not an object" },
    { "input activations", GROUP, "input_activations", "{\"num_bits\":4}",
      "group_0.input_activations is" },
    { "no input activations", GROUP, "input_activations", "null", NULL },
    { "output activations", GROUP, "output_activations", "{}", "group_0.output_activations is {}" },
    { "no weights", GROUP, "weights", NULL, "group_0.weights is not an object" },
    { "num_bits 8", WEIGHTS, "num_bits", "8", "weights.num_bits is 8, expected 4" },
    { "num_bits absent", WEIGHTS, "num_bits", NULL, "weights.num_bits is missing" },
    { "type int", WEIGHTS, "type", "\"int\"", "weights.type is \"int\", expected \"float\"" },
    { "group_size 16", WEIGHTS, "group_size", "16", "weights.group_size is 16, expected 32" },
    { "group_size null", WEIGHTS, "group_size", "null", "weights.group_size is missing" },
    { "strategy channel", WEIGHTS, "strategy", "\"channel\"", "weights.strategy is \"channel\"" },
    { "strategy absent", WEIGHTS, "strategy", NULL, NULL },
    { "asymmetric", WEIGHTS, "symmetric", "false", "weights.symmetric is false" },
    { "dynamic", WEIGHTS, "dynamic", "true", "weights.dynamic is true" },
    { "ignore a string", "", "ignore", "\"lm_head\"", "quantization_config.ignore is not a list" },
    { "ignore of numbers", "", "ignore", "[1]",
      "quantization_config.ignore has an entry that is not a string" },
    { "ignore null", "", "ignore", "null", NULL },
    { "a pattern", "", "ignore", "[\"re:.*gate$\"]", NULL },
    { "a broken pattern", "", "ignore", "[\"re:(\"]",
      "quantization_config.ignore has 're:(', not a regular expression" },
    { "targets a string", GROUP, "targets", "\"Linear\"", "targets is not a list" },
};

/* Sets or (NULL) removes a member of quantization_config, at a path of names with dots. */
static void edit(cJSON *config, const char *where, const char *key, const char *value)
{
    char path[64], *rest = path;
    snprintf(path, sizeof path, "%s", where);
    cJSON *at = cJSON_GetObjectItemCaseSensitive(config, "quantization_config");
    for (char *part; (part = strtok_r(NULL, ".", &rest));)
        at = cJSON_GetObjectItemCaseSensitive(at, part);
    cJSON_DeleteItemFromObjectCaseSensitive(at, key);
    if (value)
        cJSON_AddItemToObject(at, key, cJSON_Parse(value));
}

static void test_settings(void)
{
    struct fake f = fake_moe();
    f.config = FAKE_MOE FAKE_QUANTIZATION("[\"Linear\"]", "[\"lm_head\"]") "}";
    struct opened *o = open_fake(&f);
    cJSON *good = o->ck.config_json;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct error err = { 0 };
        o->ck.config_json = cJSON_Duplicate(good, true);
        edit(o->ck.config_json, settings[i].where, settings[i].key, settings[i].value);
        bool ok = quantization_check(&o->ck, &err);
        const char *fragment = settings[i].fragment;
        bool right = fragment ? !ok && strstr(err.message, fragment)
                                && strstr(err.message, "/config.json: ") : ok;
        check(right, settings[i].name, "%s, expected '%s'", ok ? "accepted" : err.message,
              fragment ? fragment : "nothing");
        cJSON_Delete(o->ck.config_json);
    }
    o->ck.config_json = cJSON_Parse("{\"quantization_config\":[]}");
    check(!quantization_check(&o->ck, &o->err)
          && strstr(o->err.message, "quantization_config is not an object"), "a list", "%s",
          o->err.message);
    cJSON_Delete(o->ck.config_json);
    o->ck.config_json = cJSON_Parse("{\"text_config\":{\"quantization_config\":"
                                    "{\"quant_method\":\"hqq\"}}}");
    check(!quantization_check(&o->ck, &o->err) && strstr(o->err.message, "\"hqq\""),
          "inside text_config", "%s", o->err.message);
    cJSON_Delete(o->ck.config_json);
    o->ck.config_json = good;
    close_fake(o);
    f = fake_moe();
    o = open_fake(&f);
    check(o->ok && quantization_check(&o->ck, &o->err), "no quantization_config", "%s",
          o->err.message);
    close_fake(o);
}

/* One config of another writer each. */
static void test_methods(void)
{
    static const struct {
        const char *name, *config, *fragment;   /* fragment NULL: accepted */
    } methods[] = {
        { "GPTQ", "\"gptq\",\"sym\":true,\"checkpoint_format\":\"gptq_v2\"", NULL },
        { "GPTQ, marlin", "\"gptq\",\"checkpoint_format\":\"marlin\"",
          "checkpoint_format is \"marlin\", expected \"gptq\" or \"gptq_v2\"" },
        { "GPTQ, sym of some modules", "\"gptq\",\"sym\":true,\"dynamic\":{\"+:.*up_proj\":"
          "{\"sym\":false}}",
          "dynamic has a sym of its own for +:.*up_proj, expected one for all" },
        { "AWQ", "\"awq\",\"version\":\"gemm\"", NULL },
        { "AWQ, gemv", "\"awq\",\"version\":\"gemv\"", "version is \"gemv\", expected" },
        { "AutoRound", "\"auto-round\",\"packing_format\":\"auto_round:auto_gptq\"", NULL },
        { "AutoRound, fake", "\"intel/auto-round\",\"packing_format\":\"auto_round:fake\"",
          "packing_format is \"auto_round:fake\", expected" },
        { "AutoRound, sym of a module", "\"auto-round\",\"sym\":false,\"extra_config\":{\"a.b\":"
          "{\"sym\":true}}", "extra_config has a sym of its own for a.b" },
        { "modelopt", "\"modelopt\",\"quantized_layers\":{}", NULL },
        { "modelopt, a rotation", "\"modelopt\",\"rotation_config\":{\"a\":1}",
          "rotation_config is" },
        { "Quark", "\"quark\",\"exclude\":[\"*lm_head*\"]", NULL },
        { "a glob with signs", "\"quark\",\"exclude\":[\"a+(b\"]", NULL },
        { "a broken pattern of GPTQ", "\"gptq\",\"dynamic\":{\"-:(\":{}}",
          "quantization_config.dynamic has '(', not a regular expression" },
    };
    struct fake f = fake_moe();
    struct opened *o = open_fake(&f);
    cJSON *good = o->ck.config_json;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"quantization_config\":{\"quant_method\":%s}}",
                 methods[i].config);
        o->ck.config_json = cJSON_Parse(text);
        struct error err = { 0 };
        bool ok = quantization_check(&o->ck, &err);
        const char *fragment = methods[i].fragment;
        check(fragment ? !ok && strstr(err.message, fragment) : ok, methods[i].name, "%s",
              err.message);
        cJSON_Delete(o->ck.config_json);
    }
    o->ck.config_json = good;
    close_fake(o);
}

/* ---- contradictions ------------------------------------------------------------------ */

#define NO_CONFIG ": packed in the files, but config.json has no quantization_config\n"
#define IGNORED ": packed in the files, ignored by the config\n"
#define UNTARGETED ": packed in the files, not targeted by the config\n"
#define PLAIN ": targeted by the config, not packed in the files\n"

#define CONFIG(targets, ignore) FAKE_MOE FAKE_QUANTIZATION(targets, ignore) "}"
#define LINEAR_BUT(more) \
    CONFIG("[\"Linear\"]", "[\"lm_head\",\"re:.*(self|linear)_attn\"," more "]")
#define SHARED "\"re:.*shared_expert[.]\""
#define EXPERTS "\"re:.*mlp.experts\""

#define GATE0 P "layers.0.mlp.gate"
#define GATE1 P "layers.1.mlp.gate"
#define UP(e) P "layers.1.mlp.experts." #e ".up_proj"
#define DOWN(e) P "layers.1.mlp.experts." #e ".down_proj"
#define BOTH_SHARED(name) P "layers.*.mlp.shared_expert." name " (2 modules in 2 layers)"
#define SOME_EXPERTS(name, n) P "layers.1.mlp.experts.*." name " (" #n " modules)"

static const struct {
    const char *name, *config;
    const char *packed[5];              /* modules; of the experts only layer 1's can be */
    const char *expected;               /* all lines */
} contradictions[] = {
    { "nothing packed, no config", FAKE_MOE "}", { NULL }, "" },
    { "packed without a config", FAKE_MOE "}", { GATE0 }, GATE0 NO_CONFIG },
    { "several of them", FAKE_MOE "}", { GATE0, GATE1, UP(0), UP(2) },
      P "layers.*.mlp.gate (2 modules in 2 layers)" NO_CONFIG
      SOME_EXPERTS("up_proj", 2) NO_CONFIG },
    { "packed as told, by pattern", CONFIG("[\"re:.*mlp.gate$\"]", "[]"), { GATE0, GATE1 }, "" },
    { "packed as told, by name", CONFIG("[\"" GATE1 "\"]", "[]"), { GATE1 }, "" },
    { "a router is a linear when it is packed", LINEAR_BUT(SHARED "," EXPERTS), { GATE1 }, "" },
    { "and none when it is not", LINEAR_BUT(SHARED "," EXPERTS), { NULL }, "" },
    { "packed but ignored", CONFIG("[\"re:.*gate\"]", "[\"re:.*\"]"), { GATE1 }, GATE1 IGNORED },
    { "packed, targeted elsewhere", CONFIG("[\"lm_head\"]", "[]"), { "lm_head", GATE1 },
      GATE1 UNTARGETED },
    { "patterns match from the start", CONFIG("[\"re:mlp.gate\"]", "[]"), { GATE0 },
      GATE0 UNTARGETED },
    { "names match as a whole", CONFIG("[\"" P "layers.0.mlp\"]", "[]"), { GATE0 },
      GATE0 UNTARGETED },
    { "targeted by class but plain", LINEAR_BUT(EXPERTS), { NULL },
      BOTH_SHARED("gate_proj") PLAIN BOTH_SHARED("up_proj") PLAIN BOTH_SHARED("down_proj") PLAIN },
    { "split experts targeted but plain", LINEAR_BUT(SHARED), { DOWN(0) },
      SOME_EXPERTS("gate_proj", 3) PLAIN SOME_EXPERTS("up_proj", 3) PLAIN
      SOME_EXPERTS("down_proj", 2) PLAIN },
    { "experts ignored by their parent's name",
      LINEAR_BUT(SHARED ",\"" P "layers.1.mlp.experts\""), { NULL }, "" },
    { "or by a pattern that ends there", LINEAR_BUT(SHARED ",\"re:.*experts$\""), { NULL }, "" },
    { "a head named but plain", CONFIG("[\"lm_head\"]", "[]"), { NULL }, "lm_head" PLAIN },
    { "class Linear ignored", CONFIG("[\"Linear\"]", "[\"Linear\"]"), { "lm_head" },
      "lm_head" IGNORED },
};

static void test_contradictions(void)
{
    for (size_t i = 0; i < sizeof contradictions / sizeof contradictions[0]; i++) {
        struct fake f = fake_moe();
        f.config = contradictions[i].config;
        for (size_t j = 0; contradictions[i].packed[j]; j++)
            fake_pack(&f, contradictions[i].packed[j]);
        struct opened *o = open_fake(&f);
        struct contradictions c = { 0 };
        bool ok = o->ok && quantization_check(&o->ck, &o->err)
               && quantization_contradictions(&c, &o->ck, &o->w, &o->err);
        size_t lines = 0;
        for (const char *p = contradictions[i].expected; *p; p++)
            lines += *p == '\n';
        check(ok && strcmp(c.text.data, contradictions[i].expected) == 0 && c.count == lines,
              contradictions[i].name, "%s%s", o->err.message, ok ? c.text.data : "");
        quantization_contradictions_free(&c);
        close_fake(o);
    }
}

/* A pattern that would take forever is an error, not a hang. */
static void test_slow_pattern(void)
{
    struct fake f = fake_moe();
    f.config = CONFIG("[\"re:(([a-z_.0-9])+.?)+[XY]\"]", "[]");
    struct opened *o = open_fake(&f);
    struct contradictions c = { 0 };
    bool ok = quantization_contradictions(&c, &o->ck, &o->w, &o->err);
    check(o->ok && !ok && strstr(o->err.message, "match limit"), "a slow pattern", "%s",
          o->err.message);
    quantization_contradictions_free(&c);
    close_fake(o);
}

static void test_real(const char *demo, const char *shared, const char *name)
{
    const char *path = file_exists(demo) ? demo : shared;
    struct checkpoint ck;
    struct weights w = { 0 };
    struct error err = { 0 };
    struct contradictions c = { 0 };
    if (!file_exists(path)) {
        check_skip(name, "no demo checkpoint");
        return;
    }
    bool ok = checkpoint_open(&ck, path, &err) && quantization_check(&ck, &err)
           && weights_bind(&w, &ck, &err) && quantization_contradictions(&c, &ck, &w, &err);
    check(ok && c.count == 0, name, "%s%s", err.message, ok ? c.text.data : "");
    quantization_contradictions_free(&c);
    weights_free(&w);
    checkpoint_close(&ck);
}

int main(void)
{
    test_settings();
    test_methods();
    test_contradictions();
    test_slow_pattern();
    test_real("data/demo/bf16", "../shared/checkpoints/tiny-bf16",
              "no contradictions in the demo in BF16");
    test_real("data/demo/mxfp4", "../shared/checkpoints/tiny-mxfp4",
              "nor in the demo in MXFP4");
    return check_done();
}
