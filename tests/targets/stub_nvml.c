/* A management library: one GPU at 0000:01:00.0. POOR tells no more than a Jetson's. */
#include <stdio.h>
#include <string.h>

int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **handle)
{
    *handle = (void *)0x1234;
    return strcmp(bus, "0000:01:00.0") ? 6 : 0;
}
int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    snprintf(text, size, "580.95.05");
    return 0;
}
#ifdef POOR
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) { return 3; }
#else
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts)
{
    *milliwatts = 15250;
    return handle != (void *)0x1234;
}
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius)
{
    *celsius = 61;
    return sensor != 0;
}
int nvmlDeviceGetClockInfo(void *handle, unsigned kind, unsigned *megahertz)
{
    *megahertz = kind == 1 ? 1300 : kind == 2 ? 3199 : 0;
    return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *bits)
{
    *bits = 0x4 | 0x40;
    return 0;
}
#endif
