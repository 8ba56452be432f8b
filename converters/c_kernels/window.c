/* needs: */
/* Where a window of size taps, step apart, meets 0 to limit - 1: the first and the end tap. */
typedef struct {
    int32_t from;
    int32_t to;
} window_part;

static window_part window_inside(int32_t origin, int32_t taps, int32_t step, int32_t limit)
{
    window_part part;

    part.from = (origin < 0) ? ((step - 1 - origin) / step) : 0;
    part.to = (limit > origin) ? ((limit - origin + step - 1) / step) : 0;
    if (part.to > taps) {
        part.to = taps;
    }
    return part;
}
