/* needs: window dot_4 rescale clamp */
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

/* Four output channels of one place, before rescaling; the window's corner is at (y, x). */
static void conv_2d_sums(const conv_2d_layer *l, const int8_t *in, int32_t y, int32_t x,
                         const int32_t channels[4], int32_t sums[4])
{
    const window_part rows = window_inside(y, l->height, l->dilation_y, l->in_height);
    const window_part columns = window_inside(x, l->width, l->dilation_x, l->in_width);
    const int32_t taps = columns.to - columns.from;
    const int32_t joined = ((l->group_channels == l->in_channels) && (l->dilation_x == 1)) ? taps : 1;
    const int32_t kernel = l->height * l->width * l->group_channels;
    const int8_t *w[4];
    int32_t i;
    int32_t k;
    int32_t n;

    for (i = rows.from; i < rows.to; ++i) {
        const int8_t *row = &in[(y + (i * l->dilation_y)) * l->in_width * l->in_channels];

        for (k = columns.from; k < columns.to; k += joined) {
            const int32_t tap = ((i * l->width) + k) * l->group_channels;

            for (n = 0; n < 4; ++n) {
                w[n] = &l->weights[(channels[n] * kernel) + tap];
            }
            dot_4(&row[(x + (k * l->dilation_x)) * l->in_channels], w,
                  joined * l->group_channels, l->in_offset, sums);
        }
    }
}

/* The output channels from first to end - 1 of one place; in begins with their input channels. */
static void conv_2d_group(const conv_2d_layer *l, const int8_t *in, int8_t *out, int32_t y,
                          int32_t x, int32_t first, int32_t end)
{
    int32_t channels[4];
    int32_t sums[4];
    int32_t c;
    int32_t n;

    for (c = first; c < end; c += 4) {
        for (n = 0; n < 4; ++n) { /* behind the last channel the last one again */
            channels[n] = ((c + n) < end) ? (c + n) : (end - 1);
            sums[n] = l->bias[channels[n]];
        }
        conv_2d_sums(l, in, y, x, channels, sums);
        for (n = 0; n < 4; ++n) {
            const int32_t value =
                rescale(sums[n], l->multiplier[channels[n]], l->shift[channels[n]]);

            out[channels[n]] = clamp(value + l->out_offset, l->low, l->high);
        }
    }
}

static void conv_2d(const conv_2d_layer *l, const int8_t *in, int8_t *out)
{
    const int32_t groups = l->in_channels / l->group_channels;
    const int32_t filters = l->out_channels / groups;
    int32_t y;
    int32_t x;
    int32_t g;

    for (y = 0; y < l->out_height; ++y) {
        for (x = 0; x < l->out_width; ++x) {
            int8_t *place = &out[((y * l->out_width) + x) * l->out_channels];

            for (g = 0; g < groups; ++g) {
                conv_2d_group(l, &in[g * l->group_channels], place,
                              (y * l->stride_y) - l->pad_top, (x * l->stride_x) - l->pad_left,
                              g * filters, (g + 1) * filters);
            }
        }
    }
}
