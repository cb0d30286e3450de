/* Rotary embedding against the rotation by position / theta^(2i / rotary_dim) in double. */
#include "model/rope.h"

#include "tests/differ.h"
#include "tests/random.h"

#define MOST 128

/* The angle of a pair of channels. */
static double angle(size_t i, size_t rotary_dim, double theta, size_t position)
{
    return (double)position * pow(theta, -2.0 * (double)i / (double)rotary_dim);
}

static const struct {
    const char *name;
    size_t rotary_dim;
    double theta;
    size_t position;
    double tolerance;               /* of sine and cosine */
} cases[] = {
    /* Half of an f32's last place at 1 (2^-25), and the roundings in double of frequency and angle,
     * some 16 x 2^-53 of the angle. */
    { "at position 0 nothing turns",        64, 1e7, 0,       0x1p-25 },
    { "one pair turns by the position",     2,  1e4, 3,       0x1p-25 + 1e-12 },
    { "an odd number of pairs",             6,  1e4, 17,      0x1p-25 + 1e-12 },
    { "the model's own size",               64, 1e7, 4096,    0x1p-25 + 1e-11 },
    { "far positions keep their angles",    64, 1e7, 200000,  0x1p-25 + 1e-9 },
    { "a million, an odd number of pairs",  22, 5e5, 1000003, 0x1p-25 + 1e-8 },
};
#define N_CASES (sizeof cases / sizeof *cases)

static void test_angles(void)
{
    for (size_t k = 0; k < N_CASES; k++) {
        size_t half = cases[k].rotary_dim / 2;
        double frequency[MOST], expected[MOST], each[MOST], cosines[MOST], sines[MOST];
        float c[MOST], s[MOST];
        char where[DIFFER_TEXT] = "";
        rope_frequencies(frequency, cases[k].rotary_dim, cases[k].theta);
        rope_angles(c, s, frequency, cases[k].rotary_dim, cases[k].position);
        for (size_t i = 0; i < half; i++) {
            double a = angle(i, cases[k].rotary_dim, cases[k].theta, cases[k].position);
            expected[i] = (double)angle(i, cases[k].rotary_dim, cases[k].theta, 1);
            each[i] = 4e-15 * expected[i];  /* the exponent's rounding, times log(theta) */
            cosines[i] = cos(a);
            sines[i] = sin(a);
        }
        bool near = differ_compare(where, (struct differ_array){ frequency, DIFFER_F64 },
                                   (struct differ_array){ expected, DIFFER_F64 }, half,
                                   &(struct differ_limit){ .each = each })
                 && near_f32(where, c, cosines, half, cases[k].tolerance)
                 && near_f32(where, s, sines, half, cases[k].tolerance);
        check(near, cases[k].name, "%s", where);
    }
}

/* To BF16's 8 significant bits, ties to even (no value here is too small or large for it). */
static float to_bf16(float x)
{
    int e;
    float m = frexpf(x, &e);
    return ldexpf(nearbyintf(ldexpf(m, 8)), e - 8);
}

/* A head with more channels than turn; the rest stays. */
static void test_turn(enum compute_type type)
{
    bool bf16 = type == COMPUTE_BF16;
    struct random r = { 3 };
    for (size_t k = 0; k < N_CASES; k++) {
        size_t half = cases[k].rotary_dim / 2, d = cases[k].rotary_dim + 5;
        double frequency[MOST], expected[MOST];
        float c[MOST], s[MOST], head[MOST], before[MOST];
        char where[DIFFER_TEXT] = "", name[96];
        rope_frequencies(frequency, cases[k].rotary_dim, cases[k].theta);
        rope_angles(c, s, frequency, cases[k].rotary_dim, cases[k].position);
        for (size_t i = 0; i < d; i++) {
            head[i] = bf16 ? to_bf16(random_normal(&r)) : random_normal(&r);
            before[i] = head[i];
            expected[i] = (double)head[i];
            c[i % half] = bf16 ? to_bf16(c[i % half]) : c[i % half];
            s[i % half] = bf16 ? to_bf16(s[i % half]) : s[i % half];
        }
        for (size_t i = 0; i < half; i++) {
            double x = (double)before[i], y = (double)before[i + half];
            double cosine = (double)c[i], sine = (double)s[i];
            expected[i] = x * cosine - y * sine;
            expected[i + half] = y * cosine + x * sine;
            if (bf16) {                         /* each product, then the sum */
                float xc = to_bf16((float)(x * cosine)), ys = to_bf16((float)(y * sine));
                float yc = to_bf16((float)(y * cosine)), xs = to_bf16((float)(x * sine));
                expected[i] = (double)to_bf16(xc - ys);
                expected[i + half] = (double)to_bf16(yc + xs);
            }
        }
        rope_apply(head, c, s, cases[k].rotary_dim, type);
        /* Values of at most 4, three roundings of 2^-25 relative; in BF16 exactly the formula's. */
        bool near = near_f32(where, head, expected, d, bf16 ? 1e-30 : 5e-7)
                 && same_f32(where, head + 2 * half, before + 2 * half, d - 2 * half);
        snprintf(name, sizeof name, "%s turned: %s", kernels_compute_name(type), cases[k].name);
        check(near, name, "%s", where);
    }
}

int main(void)
{
    test_angles();
    test_turn(COMPUTE_F32);
    test_turn(COMPUTE_BF16);
    return check_done();
}
