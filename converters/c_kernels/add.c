/* needs: broadcast rescale clamp */
typedef struct {
    broadcast shape;
    int32_t a_offset, b_offset, out_offset, low, high;
    int32_t a_multiplier, a_shift, b_multiplier, b_shift, out_multiplier, out_shift;
} add_layer;

static int8_t add_values(const add_layer *l, int32_t a, int32_t b)
{
    /* 20 bits of headroom: both terms are brought to one scale before they are added. */
    const int32_t scaled_a = rescale((a + l->a_offset) * 1048576, l->a_multiplier, l->a_shift);
    const int32_t scaled_b = rescale((b + l->b_offset) * 1048576, l->b_multiplier, l->b_shift);
    const int32_t sum = rescale(scaled_a + scaled_b, l->out_multiplier, l->out_shift);

    return clamp(sum + l->out_offset, l->low, l->high);
}

static void add(const add_layer *l, const int8_t *a, const int8_t *b, int8_t *out)
{
    const broadcast *s = &l->shape;
    int8_t *next = out;
    int32_t i;
    int32_t j;
    int32_t k;
    int32_t n;

    for (i = 0; i < s->size[0]; ++i) {
        for (j = 0; j < s->size[1]; ++j) {
            for (k = 0; k < s->size[2]; ++k) {
                const int8_t *row_a = &a[broadcast_row(s->step_a, i, j, k)];
                const int8_t *row_b = &b[broadcast_row(s->step_b, i, j, k)];

                for (n = 0; n < s->size[3]; ++n) {
                    *next = add_values(l, row_a[n * s->step_a[3]], row_b[n * s->step_b[3]]);
                    ++next;
                }
            }
        }
    }
}
