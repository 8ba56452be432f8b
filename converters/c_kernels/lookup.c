/* needs: */
/* Any function of one int8 value: its results, from that of -128 to that of 127. */
static void lookup(const int8_t *table, int32_t count, const int8_t *in, int8_t *out)
{
    int32_t i;

    for (i = 0; i < count; ++i) {
        out[i] = table[(int32_t)in[i] + 128];
    }
}
