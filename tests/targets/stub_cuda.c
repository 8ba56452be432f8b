/* A driver without a GPU: memory of the process, a clock that copies and work move, graphs that
   remember what was queued. A copy takes 1 us per byte, queued work 500 us. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef GPUS
#define GPUS 1
#endif
#ifndef CAPABILITY
#define CAPABILITY 87
#endif
#define COPY_US_PER_BYTE 1
#define WORK_US 500
#define TOTAL ((size_t)8 << 30)

typedef void (*work)(void);
struct stream { int capturing; int count; work queued[64]; };
struct graph { int count; work queued[64]; };
struct block { size_t size; size_t pad; };

static double now_us;
static size_t used;

int cuInit(unsigned flags) { return (int)flags; }
int cuDeviceGetCount(int *count) { *count = GPUS; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < GPUS ? 0 : 101; }
int cuDeviceGetAttribute(int *value, int which, int device)
{
    *value = which == 75 ? CAPABILITY / 10 : which == 76 ? CAPABILITY % 10 : -1;
    return device;
}
int cuDeviceGetName(char *name, int size, int device)
{
    snprintf(name, (size_t)size, "Stub Orin");
    return device;
}
int cuDeviceGetPCIBusId(char *name, int size, int device)
{
    snprintf(name, (size_t)size, "0000:01:00.0");
    return device;
}
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &used; return device; }
int cuCtxSetCurrent(void *context) { return context == &used ? 0 : 201; }
int cuGetErrorString(int status, const char **text)
{
    *text = status == 2 ? "out of memory" : "unknown error";
    return 0;
}

int cuMemGetInfo_v2(size_t *left, size_t *total)
{
    *left = TOTAL - used;
    *total = TOTAL;
    return 0;
}
int cuMemAlloc_v2(uint64_t *address, size_t size)
{
    if (size > TOTAL - used)
        return 2;
    struct block *made = malloc(sizeof *made + size);
    made->size = size;
    used += size;
    *address = (uint64_t)(uintptr_t)(made + 1);
    return 0;
}
int cuMemFree_v2(uint64_t address)
{
    struct block *made = (struct block *)(uintptr_t)address - 1;
    used -= made->size;
    free(made);
    return 0;
}
int cuMemHostAlloc(void **address, size_t size, unsigned flags)
{
    *address = malloc(size);
    return (int)flags;
}
int cuMemFreeHost(void *address) { free(address); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream)
{
    memcpy((void *)(uintptr_t)to, from, size);
    now_us += COPY_US_PER_BYTE * (double)size;
    return stream == NULL;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream)
{
    memcpy(to, (void *)(uintptr_t)from, size);
    now_us += COPY_US_PER_BYTE * (double)size;
    return stream == NULL;
}

int cuStreamCreate(void **stream, unsigned flags)
{
    *stream = calloc(1, sizeof(struct stream));
    return flags != 1;
}
int cuStreamSynchronize(void *stream) { return stream == NULL; }
int cuEventCreate(void **event, unsigned flags)
{
    *event = calloc(1, sizeof(double));
    return (int)flags;
}
int cuEventRecord(void *event, void *stream)
{
    *(double *)event = now_us;
    return stream == NULL;
}
int cuEventElapsedTime(float *milliseconds, void *first, void *last)
{
    *milliseconds = (float)((*(double *)last - *(double *)first) / 1e3);
    return 0;
}

/* What a library that launches kernels would do: TensorRT's stand-in calls it. */
void stub_queue(struct stream *stream, work what)
{
    if (stream->capturing) {
        stream->queued[stream->count++] = what;
        return;
    }
    what();
    now_us += WORK_US;
}
int cuStreamBeginCapture_v2(void *stream, int mode)
{
    ((struct stream *)stream)->capturing = 1;
    ((struct stream *)stream)->count = 0;
    return mode != 1;
}
int cuStreamEndCapture(void *given, void **graph)
{
    struct stream *stream = given;
    struct graph *made = calloc(1, sizeof *made);
    made->count = stream->count;
    memcpy(made->queued, stream->queued, sizeof made->queued);
    stream->capturing = 0;
    *graph = made;
    return 0;
}
int cuGraphInstantiateWithFlags(void **ready, void *graph, unsigned long long flags)
{
    *ready = malloc(sizeof(struct graph));
    memcpy(*ready, graph, sizeof(struct graph));
    return (int)flags;
}
int cuGraphDestroy(void *graph) { free(graph); return 0; }
int cuGraphExecDestroy(void *graph) { free(graph); return 0; }
int cuGraphLaunch(void *given, void *stream)
{
    struct graph *graph = given;
    for (int at = 0; at < graph->count; at++)
        stub_queue(stream, graph->queued[at]);
    return 0;
}
