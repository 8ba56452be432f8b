/* needs: */
/* One input of a concatenation: its rows go into the wider rows of the output. */
static void copy_rows(int32_t rows, int32_t row_size, int32_t out_step, const int8_t *in,
                      int8_t *out)
{
    int32_t i;

    for (i = 0; i < rows; ++i) {
        (void)memcpy(&out[i * out_step], &in[i * row_size], (size_t)row_size);
    }
}
