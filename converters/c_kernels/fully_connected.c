/* needs: dot rescale_once clamp */
typedef struct {
    int32_t rows, in_size, out_size;
    int32_t in_offset, out_offset, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t per_channel;
} fully_connected_layer;

static void fully_connected(const fully_connected_layer *l, const int8_t *in, int8_t *out)
{
    int32_t row;
    int32_t c;

    for (row = 0; row < l->rows; ++row) {
        for (c = 0; c < l->out_size; ++c) {
            const int32_t scale = (l->per_channel != 0) ? c : 0;
            const int32_t sum = l->bias[c] + dot(&in[row * l->in_size], &l->weights[c * l->in_size],
                                                 l->in_size, l->in_offset);
            const int32_t value = rescale_once(sum, l->multiplier[scale], l->shift[scale]);

            out[(row * l->out_size) + c] = clamp(value + l->out_offset, l->low, l->high);
        }
    }
}
