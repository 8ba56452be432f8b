/* Counts the instructions of one inference on the first sample of the file "samples", and the bytes
 * of stack that it takes. Needs QEMU's -icount, where every instruction takes the same time. */
#include "model.h"

#include <stdio.h>

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_CURRENT (*(volatile uint32_t *)0xE000E018u)
#define SYSTICK_RUN 7u /* the processor's clock, with an interrupt at zero */
#define SYSTICK_PERIOD 0x1000000u

#define PAINT 0xA5C3F017u
#define PAINTED_WORDS 16384

extern volatile uint32_t systick_overflows;

/* What the model is compared with: a call of a single instruction. */
__attribute__((naked)) static void nothing(void)
{
    __asm__ volatile("bx lr\n");
}

static uint64_t now(void)
{
    uint32_t before;
    uint32_t left;

    do {
        before = systick_overflows;
        left = SYSTICK_CURRENT;
    } while (before != systick_overflows);
    return ((uint64_t)before * SYSTICK_PERIOD) + ((SYSTICK_PERIOD - left) % SYSTICK_PERIOD);
}

__attribute__((noinline)) static uint64_t ticks(model_t model)
{
    const uint64_t started = now();

    (void)CALL(model);
    return now() - started;
}

/* How far below this function's own frame the stack has been written: all that was painted where it
 * may have been written further down. */
__attribute__((noinline)) static uint32_t stack_bytes(model_t model)
{
    volatile uint32_t *top;
    int unused = PAINTED_WORDS;

    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (int i = 1; i <= PAINTED_WORDS; ++i) {
        top[-i] = PAINT;
    }
    (void)CALL(model);
    while ((unused > 0) && (top[-unused] == PAINT)) {
        --unused;
    }
    return (uint32_t)unused * sizeof *top;
}

int main(void)
{
    FILE *const samples = fopen("samples", "rb");

    if ((samples == NULL) || (fread(input, sizeof input, 1, samples) != 1)) {
        return 2;
    }
    const uint32_t stack = stack_bytes(MODEL);

    SYSTICK_RELOAD = SYSTICK_PERIOD - 1u;
    SYSTICK_CURRENT = 0u;
    SYSTICK_CONTROL = SYSTICK_RUN;
    const uint64_t bare = ticks((model_t)nothing);
    const uint32_t overflows = systick_overflows;
    const uint64_t whole = ticks(MODEL);

    (void)printf("%lu %llu %llu %lu\n", (unsigned long)stack, bare, whole,
                 (unsigned long)(systick_overflows - overflows));
    return 0;
}
