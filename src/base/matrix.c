#include "base/matrix.h"

static const struct {
    const char *name;                   /* of a tensor's type: as safetensors spells it */
    size_t bytes;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F32] = { "F32", 4 },
    [DTYPE_F16] = { "F16", 2 },
    [DTYPE_BF16] = { "BF16", 2 },
    [DTYPE_MXFP4] = { "MXFP4", 0 },
    [DTYPE_FP8] = { "FP8", 0 },
    [DTYPE_MXFP8] = { "MXFP8", 0 },
    [DTYPE_MXFP6_E2M3] = { "MXFP6_E2M3", 0 },
    [DTYPE_MXFP6_E3M2] = { "MXFP6_E3M2", 0 },
    [DTYPE_NVFP4] = { "NVFP4", 0 },
    [DTYPE_INT2] = { "INT2", 0 },
    [DTYPE_INT4] = { "INT4", 0 },
    [DTYPE_INT8] = { "INT8", 0 },
    [DTYPE_GPTQ2] = { "GPTQ2", 0 },
    [DTYPE_GPTQ4] = { "GPTQ4", 0 },
    [DTYPE_GPTQ8] = { "GPTQ8", 0 },
    [DTYPE_AWQ4] = { "AWQ4", 0 },
    [DTYPE_MLX2] = { "MLX2", 0 },
    [DTYPE_MLX3] = { "MLX3", 0 },
    [DTYPE_MLX4] = { "MLX4", 0 },
    [DTYPE_MLX5] = { "MLX5", 0 },
    [DTYPE_MLX6] = { "MLX6", 0 },
    [DTYPE_MLX8] = { "MLX8", 0 },
    [DTYPE_F64] = { "F64", 8 },
    [DTYPE_I64] = { "I64", 8 },
    [DTYPE_I32] = { "I32", 4 },
    [DTYPE_I16] = { "I16", 2 },
    [DTYPE_I8] = { "I8", 1 },
    [DTYPE_U64] = { "U64", 8 },
    [DTYPE_U32] = { "U32", 4 },
    [DTYPE_U16] = { "U16", 2 },
    [DTYPE_U8] = { "U8", 1 },
    [DTYPE_BOOL] = { "BOOL", 1 },
    [DTYPE_F8_E4M3] = { "F8_E4M3", 1 },
    [DTYPE_F8_E5M2] = { "F8_E5M2", 1 },
    [DTYPE_F8_E8M0] = { "F8_E8M0", 1 },
    [DTYPE_Q4_0] = { "Q4_0", 0 },
    [DTYPE_Q4_1] = { "Q4_1", 0 },
    [DTYPE_Q5_0] = { "Q5_0", 0 },
    [DTYPE_Q5_1] = { "Q5_1", 0 },
    [DTYPE_Q8_0] = { "Q8_0", 0 },
    [DTYPE_Q2_K] = { "Q2_K", 0 },
    [DTYPE_Q3_K] = { "Q3_K", 0 },
    [DTYPE_Q4_K] = { "Q4_K", 0 },
    [DTYPE_Q5_K] = { "Q5_K", 0 },
    [DTYPE_Q6_K] = { "Q6_K", 0 },
    [DTYPE_IQ4_NL] = { "IQ4_NL", 0 },
    [DTYPE_IQ4_XS] = { "IQ4_XS", 0 },
    [DTYPE_IQ2_XXS] = { "IQ2_XXS", 0 },
    [DTYPE_IQ2_XS] = { "IQ2_XS", 0 },
    [DTYPE_IQ2_S] = { "IQ2_S", 0 },
    [DTYPE_IQ3_XXS] = { "IQ3_XXS", 0 },
    [DTYPE_IQ3_S] = { "IQ3_S", 0 },
    [DTYPE_IQ1_S] = { "IQ1_S", 0 },
    [DTYPE_IQ1_M] = { "IQ1_M", 0 },
    [DTYPE_TQ2_0] = { "TQ2_0", 0 },
    [DTYPE_Q1_0] = { "Q1_0", 0 },
    [DTYPE_Q2_0] = { "Q2_0", 0 },
    [DTYPE_GGML_MXFP4] = { "GGUF_MXFP4", 0 },
    [DTYPE_GGML_NVFP4] = { "GGUF_NVFP4", 0 },
};

const char *dtype_name(enum dtype dtype)
{
    return dtypes[dtype].name;
}

size_t dtype_bytes(enum dtype dtype)
{
    return dtypes[dtype].bytes;
}

bool dtype_is_float(enum dtype dtype)
{
    return dtype == DTYPE_BF16 || dtype == DTYPE_F16 || dtype == DTYPE_F32;
}

bool dtype_is_packed(enum dtype dtype)
{
    return dtypes[dtype].bytes == 0;
}
