/* needs: arithmetic clamp */
typedef struct {
    int32_t rows, depth;
    const int32_t *exponentials;
} softmax_layer;

/* value * 2^bits, held within int32_t. */
static int32_t softmax_widen(int32_t value, int32_t bits)
{
    const int64_t wide = (int64_t)value * (INT64_C(1) << bits);

    if (wide > INT32_MAX) {
        return INT32_MAX;
    }
    return (wide < INT32_MIN) ? INT32_MIN : (int32_t)wide;
}

/* 1 / (1 + x) for x in 0 to 1, both with 31 fractional bits: three steps of Newton's method on
 * numbers with 29 fractional bits, from the line 48/17 - 32/17 * (1 + x) / 2. */
static int32_t softmax_reciprocal(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t guess = 1515870810 + high_multiply(half, -1010580540);
    int32_t step;

    for (step = 0; step < 3; ++step) {
        const int32_t rest = 536870912 - high_multiply(half, guess);

        guess += softmax_widen(high_multiply(guess, rest), 2);
    }
    return softmax_widen(guess, 1);
}

static void softmax_row(const softmax_layer *l, const int8_t *in, int8_t *out)
{
    int32_t most = -128;
    int32_t leading = 0;
    uint32_t sum = 0U;
    int32_t scale;
    int32_t i;

    for (i = 0; i < l->depth; ++i) {
        if ((int32_t)in[i] > most) {
            most = in[i];
        }
    }
    for (i = 0; i < l->depth; ++i) { /* with 19 fractional bits */
        sum += (uint32_t)divide_by_power(l->exponentials[most - in[i]], 12);
    }
    while ((sum & 0x80000000U) == 0U) {
        sum = sum << 1;
        ++leading;
    }
    scale = softmax_reciprocal((int32_t)(sum - 0x80000000U));
    for (i = 0; i < l->depth; ++i) {
        const int32_t share = high_multiply(scale, l->exponentials[most - in[i]]);

        out[i] = clamp(divide_by_power(share, 35 - leading) - 128, -128, 127);
    }
}

static void softmax(const softmax_layer *l, const int8_t *in, int8_t *out)
{
    int32_t row;

    for (row = 0; row < l->rows; ++row) {
        softmax_row(l, &in[row * l->depth], &out[row * l->depth]);
    }
}
