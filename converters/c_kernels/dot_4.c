/* needs: */
/* Adds the sums of (x + offset) * w over count neighbours, for four rows of weights at once. */
static void dot_4(const int8_t *x, const int8_t *const w[4], int32_t count, int32_t offset,
                  int32_t sums[4])
{
    const int8_t *const w_0 = w[0];
    const int8_t *const w_1 = w[1];
    const int8_t *const w_2 = w[2];
    const int8_t *const w_3 = w[3];
    int32_t sum_0 = sums[0];
    int32_t sum_1 = sums[1];
    int32_t sum_2 = sums[2];
    int32_t sum_3 = sums[3];
    int32_t i;

    for (i = 0; i < count; ++i) {
        const int32_t value = (int32_t)x[i] + offset;

        sum_0 += value * (int32_t)w_0[i];
        sum_1 += value * (int32_t)w_1[i];
        sum_2 += value * (int32_t)w_2[i];
        sum_3 += value * (int32_t)w_3[i];
    }
    sums[0] = sum_0;
    sums[1] = sum_1;
    sums[2] = sum_2;
    sums[3] = sum_3;
}
