/* The least that a Cortex-M needs to run a program of newlib's, whose I/O is semihosting. Newlib's
 * own start-up code is not used: it puts the stack where the emulator says, which on some boards is
 * not below the memory that its heap grows in. */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

extern uint32_t __bss_start__;
extern uint32_t __bss_end__;
extern uint32_t __stack;

extern void initialise_monitor_handles(void);
extern int main(void);

/* How often SysTick has counted to zero. */
volatile uint32_t systick_overflows;

void reset(void)
{
    for (volatile uint32_t *word = &__bss_start__; word < &__bss_end__; ++word) {
        *word = 0u;
    }
    initialise_monitor_handles();
    const int status = main();

    (void)fflush(NULL);
    _exit(status);
}

/* Ends the emulator with a failure (semihosting's SYS_EXIT, ADP_Stopped_InternalError). */
__attribute__((naked)) static void fault(void)
{
    __asm__ volatile("movs r0, #0x18\n"
                     "ldr r1, =0x20024\n"
                     "bkpt 0xab\n"
                     "b .\n");
}

/* In assembly: what reads the counter takes off these five instructions for each overflow. */
__attribute__((naked)) static void systick(void)
{
    __asm__ volatile("ldr r0, =systick_overflows\n"
                     "ldr r1, [r0]\n"
                     "adds r1, #1\n"
                     "str r1, [r0]\n"
                     "bx lr\n");
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&__stack, reset, fault, fault, fault, fault, fault, fault,
    fault, fault, fault, fault, fault, fault, fault, systick,
};
