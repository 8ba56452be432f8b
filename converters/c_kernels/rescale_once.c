/* needs: */
/* value * multiplier / 2^31 * 2^shift, rounded once, ties upwards: dense layers do so. */
static int32_t rescale_once(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t places = 31 - shift;
    const int64_t half = INT64_C(1) << (places - 1);
    const int64_t product = ((int64_t)value * (int64_t)multiplier) + half;

    return (int32_t)((product >= 0) ? (product >> places) : ~(~product >> places));
}
