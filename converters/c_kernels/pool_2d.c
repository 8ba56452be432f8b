/* needs: window */
typedef struct {
    int32_t in_height, in_width, channels;
    int32_t out_height, out_width;
    int32_t height, width;
    int32_t stride_y, stride_x, pad_top, pad_left;
    int32_t low, high;
} pool_2d_layer;

/* The part of the input that one output place looks at. */
typedef struct {
    int32_t top, bottom, left, right;
} pool_2d_area;

static pool_2d_area pool_2d_window(const pool_2d_layer *l, int32_t y, int32_t x)
{
    const int32_t origin_y = (y * l->stride_y) - l->pad_top;
    const int32_t origin_x = (x * l->stride_x) - l->pad_left;
    const window_part rows = window_inside(origin_y, l->height, 1, l->in_height);
    const window_part columns = window_inside(origin_x, l->width, 1, l->in_width);
    pool_2d_area area;

    area.top = origin_y + rows.from;
    area.bottom = origin_y + rows.to;
    area.left = origin_x + columns.from;
    area.right = origin_x + columns.to;
    return area;
}
