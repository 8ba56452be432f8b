/* needs: dot_4 rescale_once clamp */
typedef struct {
    int32_t rows, in_size, out_size;
    int32_t in_offset, out_offset, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t per_channel;
} fully_connected_layer;

static void fully_connected_row(const fully_connected_layer *l, const int8_t *in, int8_t *out)
{
    const int8_t *w[4];
    int32_t channels[4];
    int32_t sums[4];
    int32_t c;
    int32_t n;

    for (c = 0; c < l->out_size; c += 4) {
        for (n = 0; n < 4; ++n) { /* behind the last channel the last one again */
            channels[n] = ((c + n) < l->out_size) ? (c + n) : (l->out_size - 1);
            sums[n] = l->bias[channels[n]];
            w[n] = &l->weights[channels[n] * l->in_size];
        }
        dot_4(in, w, l->in_size, l->in_offset, sums);
        for (n = 0; n < 4; ++n) {
            const int32_t scale = (l->per_channel != 0) ? channels[n] : 0;
            const int32_t value = rescale_once(sums[n], l->multiplier[scale], l->shift[scale]);

            out[channels[n]] = clamp(value + l->out_offset, l->low, l->high);
        }
    }
}

static void fully_connected(const fully_connected_layer *l, const int8_t *in, int8_t *out)
{
    int32_t row;

    for (row = 0; row < l->rows; ++row) {
        fully_connected_row(l, &in[row * l->in_size], &out[row * l->out_size]);
    }
}
