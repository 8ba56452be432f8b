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

/* Adds to count sums, at most four, those of the output channels from c on. */
static void depthwise_conv_2d_sums(const depthwise_conv_2d_layer *l, const int8_t *in, int32_t y,
                                   int32_t x, int32_t c, int32_t count, int32_t sums[4])
{
    const window_part rows = window_inside(y, l->height, l->dilation_y, l->in_height);
    const window_part columns = window_inside(x, l->width, l->dilation_x, l->in_width);
    const int32_t out_channels = l->in_channels * l->depth_multiplier;
    int32_t i;
    int32_t k;
    int32_t n;

    for (i = rows.from; i < rows.to; ++i) {
        const int8_t *row = &in[(y + (i * l->dilation_y)) * l->in_width * l->in_channels];

        for (k = columns.from; k < columns.to; ++k) {
            const int8_t *pixel = &row[(x + (k * l->dilation_x)) * l->in_channels];
            const int8_t *taps = &l->weights[(((i * l->width) + k) * out_channels) + c];

            if ((l->depth_multiplier == 1) && (count == 4)) {
                sums[0] += ((int32_t)pixel[c] + l->in_offset) * taps[0];
                sums[1] += ((int32_t)pixel[c + 1] + l->in_offset) * taps[1];
                sums[2] += ((int32_t)pixel[c + 2] + l->in_offset) * taps[2];
                sums[3] += ((int32_t)pixel[c + 3] + l->in_offset) * taps[3];
            } else {
                for (n = 0; n < count; ++n) {
                    const int32_t value = pixel[(c + n) / l->depth_multiplier];

                    sums[n] += (value + l->in_offset) * taps[n];
                }
            }
        }
    }
}

/* All output channels of one place; the window's corner is at (y, x). */
static void depthwise_conv_2d_at(const depthwise_conv_2d_layer *l, const int8_t *in, int8_t *out,
                                 int32_t y, int32_t x)
{
    const int32_t out_channels = l->in_channels * l->depth_multiplier;
    int32_t sums[4];
    int32_t c;
    int32_t n;

    for (c = 0; c < out_channels; c += 4) {
        const int32_t count = ((out_channels - c) < 4) ? (out_channels - c) : 4;

        for (n = 0; n < count; ++n) {
            sums[n] = l->bias[c + n];
        }
        depthwise_conv_2d_sums(l, in, y, x, c, count, sums);
        for (n = 0; n < count; ++n) {
            const int32_t value = rescale(sums[n], l->multiplier[c + n], l->shift[c + n]);

            out[c + n] = clamp(value + l->out_offset, l->low, l->high);
        }
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
