/* Devices, versions and errors: an H200, compute capability 9.0. */
#include <atomic>
#include <cstring>

#include "cudart.h"

static thread_local cudaError_t last_error = cudaSuccess;

cudaError_t result(int error)
{
    if (error != 0)
        last_error = static_cast<cudaError_t>(error);
    return static_cast<cudaError_t>(error);
}

/* The error of every call that needs a driver and a device. */
static cudaError_t unusable()
{
    if (standin_fails("old-driver"))
        return cudaErrorInsufficientDriver;
    return standin_fails("no-device") ? cudaErrorNoDevice : cudaSuccess;
}

static int devices()
{
    return static_cast<int>(standin_setting("STANDIN_DEVICES", 1));
}

static thread_local int current_device = 0;

extern "C" {

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = unusable() == cudaSuccess ? devices() : 0;
    return result(unusable());
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current_device;
    return result(unusable());
}

cudaError_t cudaSetDevice(int device)
{
    if (unusable() != cudaSuccess)
        return result(unusable());
    if (device < 0 || device >= devices())
        return result(cudaErrorInvalidDevice);
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (unusable() != cudaSuccess)
        return result(unusable());
    if (device < 0 || device >= devices())
        return result(cudaErrorInvalidDevice);
    *properties = {};
    strcpy(properties->name, "NVIDIA H200 (stand-in)");
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = 132;
    properties->warpSize = 32;
    properties->totalGlobalMem = kMemoryBytes;
    properties->totalConstMem = 65536;
    properties->l2CacheSize = 60 << 20;
    properties->memPitch = 2147483647;
    properties->memoryBusWidth = 6144;
    properties->textureAlignment = 512;
    properties->regsPerBlock = properties->regsPerMultiprocessor = 65536;
    properties->sharedMemPerBlock = 49152;
    properties->sharedMemPerBlockOptin = kSharedMemoryBytes;
    properties->sharedMemPerMultiprocessor = 233472;
    properties->reservedSharedMemPerBlock = 1024;
    properties->maxThreadsPerBlock = properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
    properties->maxThreadsDim[2] = 64;
    properties->maxGridSize[0] = 2147483647;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    properties->maxThreadsPerMultiProcessor = 2048;
    properties->maxBlocksPerMultiProcessor = 32;
    properties->asyncEngineCount = 3;
    properties->canMapHostMemory = properties->concurrentKernels = properties->unifiedAddressing = 1;
    properties->streamPrioritiesSupported = properties->cooperativeLaunch = properties->clusterLaunch = 1;
    properties->managedMemory = properties->concurrentManagedAccess = properties->memoryPoolsSupported = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: *value = 1024; break;
    case cudaDevAttrMaxBlockDimZ: *value = 64; break;
    case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = 65535; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = 32; break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = 65536; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = kSharedMemoryBytes; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 233472; break;
    case cudaDevAttrReservedSharedMemoryPerBlock: *value = 1024; break;
    case cudaDevAttrL2CacheSize: *value = 60 << 20; break;
    default: *value = 1; /* features: it has them */
    }
    return result(unusable());
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = standin_fails("old-driver") ? 12040 : kDriverVersion;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = kDriverVersion;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *, void **function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult *found)
{
    *function = nullptr;
    if (found != nullptr)
        *found = cudaDriverEntryPointSymbolNotFound;
    return result(cudaErrorNotSupported);
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError()
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureImplicit: return "cudaErrorStreamCaptureImplicit";
    default: return "cudaErrorUnknown";
    }
}

const char *cudaGetErrorString(cudaError_t error) /* in CUDA's own words, which errors quote */
{
    switch (error) {
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit:
        return "operation would make the legacy stream depend on a capturing blocking stream";
    default: return "unknown error";
    }
}
}
