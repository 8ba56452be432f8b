/* needs: rescale clamp */
/* The axes that stay are the outer and the inner one; those in between are averaged. */
typedef struct {
    int32_t outer, count, inner;
    int32_t sum_offset, out_offset;
    int32_t multiplier, shift;
} mean_layer;

static void mean(const mean_layer *l, const int8_t *in, int8_t *out)
{
    int32_t o;
    int32_t c;
    int32_t i;

    for (o = 0; o < l->outer; ++o) {
        for (c = 0; c < l->inner; ++c) {
            int32_t sum = l->sum_offset;

            for (i = 0; i < l->count; ++i) {
                sum += in[(((o * l->count) + i) * l->inner) + c];
            }
            out[(o * l->inner) + c] =
                clamp(rescale(sum, l->multiplier, l->shift) + l->out_offset, -128, 127);
        }
    }
}
