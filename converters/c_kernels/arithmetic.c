/* needs: */
/* a * b / 2^31, rounded to nearest, ties upwards. */
static int32_t high_multiply(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * (int64_t)b;
    const int64_t half = (product >= 0) ? INT64_C(1073741824) : INT64_C(-1073741823);

    return (int32_t)((product + half) / INT64_C(2147483648));
}

/* value / 2^exponent, rounded to nearest, ties away from zero; exponent is 0 to 31. */
static int32_t divide_by_power(int32_t value, int32_t exponent)
{
    const int64_t half = (INT64_C(1) << exponent) / 2;
    const int64_t magnitude = (value < 0) ? -(int64_t)value : (int64_t)value;
    const int64_t rounded = (magnitude + half) >> exponent;

    return (int32_t)((value < 0) ? -rounded : rounded);
}
