/* needs: window dot rescale clamp */
typedef struct {
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t height, width, group_channels;
    int32_t stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left;
    int32_t in_offset, out_offset, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
} conv_2d_layer;

/* One output value before rescaling: output channel c, the window's corner at (y, x). */
static int32_t conv_2d_sum(const conv_2d_layer *l, const int8_t *in, int32_t y, int32_t x,
                           int32_t c)
{
    const window_part rows = window_inside(y, l->height, l->dilation_y, l->in_height);
    const window_part columns = window_inside(x, l->width, l->dilation_x, l->in_width);
    const int32_t groups = l->in_channels / l->group_channels;
    const int32_t first = (c / (l->out_channels / groups)) * l->group_channels;
    const int32_t joined = ((groups == 1) && (l->dilation_x == 1)) ? 1 : 0;
    const int32_t runs = (joined != 0) ? 1 : (columns.to - columns.from);
    const int32_t taps = (joined != 0) ? (columns.to - columns.from) : 1;
    int32_t sum = l->bias[c];
    int32_t i;
    int32_t k;

    for (i = rows.from; i < rows.to; ++i) {
        for (k = 0; k < runs; ++k) {
            const int32_t column = columns.from + k;
            const int32_t at_y = y + (i * l->dilation_y);
            const int32_t at_x = x + (column * l->dilation_x);
            const int32_t pixel = (at_y * l->in_width) + at_x;
            const int32_t tap = (((c * l->height) + i) * l->width) + column;

            sum += dot(&in[(pixel * l->in_channels) + first], &l->weights[tap * l->group_channels],
                       taps * l->group_channels, l->in_offset);
        }
    }
    return sum;
}

static void conv_2d(const conv_2d_layer *l, const int8_t *in, int8_t *out)
{
    int8_t *next = out;
    int32_t y;
    int32_t x;
    int32_t c;

    for (y = 0; y < l->out_height; ++y) {
        for (x = 0; x < l->out_width; ++x) {
            for (c = 0; c < l->out_channels; ++c) {
                const int32_t sum = conv_2d_sum(l, in, (y * l->stride_y) - l->pad_top,
                                                (x * l->stride_x) - l->pad_left, c);
                const int32_t value = rescale(sum, l->multiplier[c], l->shift[c]);

                *next = clamp(value + l->out_offset, l->low, l->high);
                ++next;
            }
        }
    }
}
