/* The least that a Cortex-M needs to reach newlib's start-up code, whose I/O is semihosting. */
extern void _mainCRTStartup(void);
extern unsigned int __stack;

static void reset(void)
{
    _mainCRTStartup();
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&__stack, reset, fault, fault, fault, fault, fault, fault,
    fault, fault, fault, fault, fault, fault, fault, fault,
};
