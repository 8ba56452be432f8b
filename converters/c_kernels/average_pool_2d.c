/* needs: pool_2d clamp */
static int32_t average_pool_2d_mean(const pool_2d_layer *l, const int8_t *in, pool_2d_area area)
{
    const int32_t count = (area.bottom - area.top) * (area.right - area.left);
    int32_t sum = 0;
    int32_t y;
    int32_t x;

    for (y = area.top; y < area.bottom; ++y) {
        for (x = area.left; x < area.right; ++x) {
            sum += in[((y * l->in_width) + x) * l->channels];
        }
    }
    return (sum > 0) ? ((sum + (count / 2)) / count) : ((sum - (count / 2)) / count);
}

static void average_pool_2d(const pool_2d_layer *l, const int8_t *in, int8_t *out)
{
    int8_t *next = out;
    int32_t y;
    int32_t x;
    int32_t c;

    for (y = 0; y < l->out_height; ++y) {
        for (x = 0; x < l->out_width; ++x) {
            const pool_2d_area area = pool_2d_window(l, y, x);

            for (c = 0; c < l->channels; ++c) {
                *next = clamp(average_pool_2d_mean(l, &in[c], area), l->low, l->high);
                ++next;
            }
        }
    }
}
