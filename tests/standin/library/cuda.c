/* libcuda.so.1: the driver, as far as the project calls it itself. */
#include "standin.h"

enum { NO_DEVICE = 100, INVALID_DEVICE = 101 }; /* CUDA_ERROR_... */

static int context;

int cuInit(unsigned flags)
{
    return standin_fails("no-device") ? NO_DEVICE : 0;
}

int cuDriverGetVersion(int *version)
{
    *version = standin_fails("old-driver") ? 12040 : 13000;
    return 0;
}

int cuDeviceGet(int *device, int ordinal)
{
    *device = ordinal;
    return ordinal < standin_setting("STANDIN_DEVICES", 1) ? 0 : INVALID_DEVICE;
}

int cuDevicePrimaryCtxRetain(void **result, int device)
{
    *result = &context;
    return 0;
}

int cuCtxPushCurrent_v2(void *pushed)
{
    return 0;
}

int cuCtxPopCurrent_v2(void **popped)
{
    *popped = &context;
    return 0;
}

int cuStreamCreate(void **stream, unsigned flags)
{
    *stream = standin_create_stream(flags);
    standin_log("create", "what=stream stream=%p flags=%u", *stream, flags);
    return 0;
}

int cuTensorMapEncodeTiled(void)
{
    return 801; /* CUDA_ERROR_NOT_SUPPORTED: kernels that use it have another path */
}
