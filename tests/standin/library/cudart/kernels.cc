/* Kernels: they are registered with their names, launches are logged, nothing is computed. */
#include <map>
#include <string>

#include "cudart.h"

struct Launch {
    dim3 grid, block;
    size_t shared;
    void *stream;
};

/* Names by the address of the host's function; filled by static constructors of the provider, hence behind a function. */
static std::map<const void *, std::string> &names()
{
    static auto *map = new std::map<const void *, std::string>;
    return *map;
}

static const char *name_of(const void *kernel)
{
    auto found = names().find(kernel);
    return found == names().end() ? "unknown" : found->second.c_str();
}

static bool possible(const Launch &launch)
{
    auto [grid, block, shared, stream] = launch;
    bool some = grid.x > 0 && grid.y > 0 && grid.z > 0 && block.x > 0 && block.y > 0 && block.z > 0;
    bool fits = grid.y <= 65535 && grid.z <= 65535 && block.x * block.y * block.z <= 1024;
    return some && fits && shared <= kSharedMemoryBytes;
}

static cudaError_t launch(const void *kernel, const Launch &launch)
{
    auto [grid, block, shared, stream] = launch;
    if (!possible(launch)) {
        standin_log("FORBIDDEN", "reason=configuration name=%s grid=%u,%u,%u block=%u,%u,%u shared=%zu",
                    name_of(kernel), grid.x, grid.y, grid.z, block.x, block.y, block.z, shared);
        return result(cudaErrorInvalidConfiguration);
    }
    return result(standin_work(stream, "kernel", "name=%s grid=%u,%u,%u block=%u,%u,%u shared=%zu", name_of(kernel),
                               grid.x, grid.y, grid.z, block.x, block.y, block.z, shared));
}

static thread_local Launch configured;

extern "C" {

cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream)
{
    return launch(kernel, {grid, block, shared, stream});
}

cudaError_t cudaLaunchCooperativeKernel(const void *kernel, dim3 grid, dim3 block, void **, size_t shared,
                                        cudaStream_t stream)
{
    return launch(kernel, {grid, block, shared, stream});
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *configuration, const void *kernel, void **)
{
    return launch(kernel, {configuration->gridDim, configuration->blockDim, configuration->dynamicSmemBytes,
                           configuration->stream});
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream)
{
    return launch(kernel, {grid, block, shared, stream});
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function)
{
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void *>(function));
    return cudaSuccess;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
    configured = {grid, block, shared, stream};
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    *grid = configured.grid;
    *block = configured.block;
    *shared = configured.shared;
    *static_cast<void **>(stream) = configured.stream;
    return cudaSuccess;
}

void **__cudaRegisterFatBinary(void *)
{
    static void *handle;
    return &handle;
}

void __cudaRegisterFatBinaryEnd(void **) {}

void __cudaUnregisterFatBinary(void **) {}

void __cudaRegisterFunction(void **, const char *function, char *, const char *name, int, void *, void *, void *,
                            void *, int *)
{
    names()[function] = name;
}

void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument)
{
    if (int error = standin_work(stream, "host-function", " "))
        return result(error);
    if (!standin_is_captured(stream))
        function(argument);
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *)
{
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 64;
    attributes->maxDynamicSharedSizeBytes = kSharedMemoryBytes;
    attributes->binaryVersion = attributes->ptxVersion = 90;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute attribute, int value)
{
    bool too_large = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > kSharedMemoryBytes;
    return result(too_large ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *, int, size_t, unsigned)
{
    *blocks = 2;
    return cudaSuccess;
}

/* Kernels that are compiled at run time are none of the project's. */
cudaError_t cudaLibraryLoadData(cudaLibrary_t *, const void *, cudaJitOption *, void **, unsigned, cudaLibraryOption *,
                                void **, unsigned)
{
    return result(cudaErrorNotSupported);
}

cudaError_t cudaLibraryUnload(cudaLibrary_t)
{
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *, cudaLibrary_t, const char *)
{
    return result(cudaErrorNotSupported);
}

cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t, cudaFuncAttribute, int, int)
{
    return cudaSuccess;
}
}
