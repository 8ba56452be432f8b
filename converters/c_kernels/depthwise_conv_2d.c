/* needs: window rescale clamp */
typedef struct {
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, depth_multiplier;
    int32_t height, width;
    int32_t stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left;
    int32_t in_offset, out_offset, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
} depthwise_conv_2d_layer;

/* All output channels of one place; the window's corner is at (y, x). */
static void depthwise_conv_2d_at(const depthwise_conv_2d_layer *l, const int8_t *in, int8_t *out,
                                 int32_t y, int32_t x)
{
    const window_part rows = window_inside(y, l->height, l->dilation_y, l->in_height);
    const window_part columns = window_inside(x, l->width, l->dilation_x, l->in_width);
    const int32_t out_channels = l->in_channels * l->depth_multiplier;
    int32_t c;
    int32_t i;
    int32_t k;

    for (c = 0; c < out_channels; ++c) {
        const int8_t *from = &in[c / l->depth_multiplier];
        const int8_t *taps = &l->weights[c];
        int32_t sum = l->bias[c];

        for (i = rows.from; i < rows.to; ++i) {
            for (k = columns.from; k < columns.to; ++k) {
                const int32_t at_y = y + (i * l->dilation_y);
                const int32_t at_x = x + (k * l->dilation_x);
                const int32_t value = from[((at_y * l->in_width) + at_x) * l->in_channels];

                sum += (value + l->in_offset) * taps[((i * l->width) + k) * out_channels];
            }
        }
        out[c] = clamp(rescale(sum, l->multiplier[c], l->shift[c]) + l->out_offset, l->low,
                       l->high);
    }
}

static void depthwise_conv_2d(const depthwise_conv_2d_layer *l, const int8_t *in, int8_t *out)
{
    const int32_t out_channels = l->in_channels * l->depth_multiplier;
    int32_t y;
    int32_t x;

    for (y = 0; y < l->out_height; ++y) {
        for (x = 0; x < l->out_width; ++x) {
            depthwise_conv_2d_at(l, in, &out[((y * l->out_width) + x) * out_channels],
                                 (y * l->stride_y) - l->pad_top, (x * l->stride_x) - l->pad_left);
        }
    }
}
