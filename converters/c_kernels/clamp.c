/* needs: */
static int8_t clamp(int32_t value, int32_t low, int32_t high)
{
    int32_t kept = value;

    if (kept < low) {
        kept = low;
    }
    if (kept > high) {
        kept = high;
    }
    return (int8_t)kept;
}
