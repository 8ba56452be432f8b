/* needs: */
typedef struct {
    int32_t in_size[4];
    int32_t before[4];
    int32_t out_size[4];
    int32_t value;
} pad_layer;

static int32_t pad_inside(const pad_layer *l, int32_t axis, int32_t place)
{
    const int32_t own = place - l->before[axis];

    return ((own >= 0) && (own < l->in_size[axis])) ? 1 : 0;
}

static void pad(const pad_layer *l, const int8_t *in, int8_t *out)
{
    const int8_t *from = in;
    int8_t *next = out;
    int32_t i;
    int32_t j;
    int32_t k;
    int32_t n;

    for (i = 0; i < l->out_size[0]; ++i) {
        for (j = 0; j < l->out_size[1]; ++j) {
            for (k = 0; k < l->out_size[2]; ++k) {
                const int32_t row = pad_inside(l, 0, i) * pad_inside(l, 1, j) * pad_inside(l, 2, k);

                for (n = 0; n < l->out_size[3]; ++n) {
                    if ((row != 0) && (pad_inside(l, 3, n) != 0)) {
                        *next = *from;
                        ++from;
                    } else {
                        *next = (int8_t)l->value;
                    }
                    ++next;
                }
            }
        }
    }
}
