/* needs: arithmetic */
/* value * multiplier / 2^31 * 2^shift, rounded as the TFLite quantization specification says. */
static int32_t rescale(int32_t value, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return high_multiply((int32_t)((int64_t)value * (INT64_C(1) << shift)), multiplier);
    }
    return divide_by_power(high_multiply(value, multiplier), -shift);
}
