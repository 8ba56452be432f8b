/* needs: */
/* The sum of (x + offset) * w over count neighbours. */
static int32_t dot(const int8_t *x, const int8_t *w, int32_t count, int32_t offset)
{
    int32_t sum = 0;
    int32_t i;

    for (i = 0; i < count; ++i) {
        sum += ((int32_t)x[i] + offset) * (int32_t)w[i];
    }
    return sum;
}
