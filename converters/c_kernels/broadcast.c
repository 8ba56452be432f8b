/* needs: */
/* The shape of two inputs brought together: a step of 0 repeats an input along that axis. */
typedef struct {
    int32_t size[4];
    int32_t step_a[4];
    int32_t step_b[4];
} broadcast;

/* Where the row of the last axis starts that belongs to the places i, j, k of the others. */
static int32_t broadcast_row(const int32_t *step, int32_t i, int32_t j, int32_t k)
{
    return (i * step[0]) + (j * step[1]) + (k * step[2]);
}
