/* Memory: that of the device is memory of this process, and copies copy. */
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "cudart.h"

namespace {

/* Blocks by their address. */
class Blocks {
public:
    void add(void *address, size_t bytes)
    {
        std::lock_guard<std::mutex> guard(mutex);
        sizes[reinterpret_cast<uintptr_t>(address)] = bytes;
        live += bytes;
    }

    /* Bytes of the block at that address, which is forgotten; 0 if there is none. */
    size_t remove(void *address)
    {
        std::lock_guard<std::mutex> guard(mutex);
        auto found = sizes.find(reinterpret_cast<uintptr_t>(address));
        if (found == sizes.end())
            return 0;
        size_t bytes = found->second;
        live -= bytes;
        sizes.erase(found);
        return bytes;
    }

    bool contains(const void *address)
    {
        std::lock_guard<std::mutex> guard(mutex);
        auto after = sizes.upper_bound(reinterpret_cast<uintptr_t>(address));
        if (after == sizes.begin())
            return false;
        --after;
        return reinterpret_cast<uintptr_t>(address) < after->first + after->second;
    }

    size_t bytes()
    {
        std::lock_guard<std::mutex> guard(mutex);
        return live;
    }

private:
    std::mutex mutex;
    std::map<uintptr_t, size_t> sizes;
    size_t live = 0;
};

/* Never destroyed: sessions are freed after static objects. */
Blocks &device = *new Blocks;
Blocks &pinned = *new Blocks;

cudaError_t reserve(void **pointer, size_t bytes)
{
    size_t mapped = bytes == 0 ? 1 : bytes;
    /* Pages that nothing is copied to cost no memory */
    void *address = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED)
        return result(cudaErrorMemoryAllocation);
    device.add(address, mapped);
    *pointer = address;
    return cudaSuccess;
}

cudaError_t release(void *pointer)
{
    if (pointer == nullptr)
        return cudaSuccess;
    size_t bytes = device.remove(pointer);
    if (bytes == 0)
        return result(cudaErrorInvalidValue);
    munmap(pointer, bytes);
    return cudaSuccess;
}

cudaError_t reserve_pinned(void **pointer, size_t bytes)
{
    if (int error = standin_unsafe("malloc", "pinned=1 bytes=%zu", bytes))
        return result(error);
    *pointer = calloc(1, bytes == 0 ? 1 : bytes);
    pinned.add(*pointer, bytes);
    return cudaSuccess;
}

const char *direction(const void *to, const void *from)
{
    if (device.contains(to))
        return device.contains(from) ? "DtoD" : "HtoD";
    return device.contains(from) ? "DtoH" : "HtoH";
}

/* A copy to memory that is not pinned returns when it is done. */
bool waits(const void *to, const void *from)
{
    return device.contains(from) && !device.contains(to) && !pinned.contains(to);
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
    if (int error = standin_unsafe("malloc", "bytes=%zu live=%zu", bytes, device.bytes() + bytes))
        return result(error);
    return reserve(pointer, bytes);
}

cudaError_t cudaFree(void *pointer)
{
    if (int error = standin_unsafe("free", "pointer=%p", pointer))
        return result(error);
    return release(pointer);
}

cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, cudaMemPool_t, cudaStream_t stream)
{
    if (int error = standin_work(stream, "malloc-node", "bytes=%zu", bytes))
        return result(error);
    return reserve(pointer, bytes);
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream)
{
    if (int error = standin_work(stream, "free-node", "pointer=%p", pointer))
        return result(error);
    return release(pointer);
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned)
{
    return reserve_pinned(pointer, bytes);
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes)
{
    return reserve_pinned(pointer, bytes);
}

cudaError_t cudaFreeHost(void *pointer)
{
    if (int error = standin_unsafe("free", "pinned=1 pointer=%p", pointer))
        return result(error);
    pinned.remove(pointer);
    free(pointer);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    *total = kMemoryBytes;
    *available = kMemoryBytes - device.bytes();
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer)
{
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    if (device.contains(pointer)) {
        attributes->type = cudaMemoryTypeDevice;
        attributes->devicePointer = const_cast<void *>(pointer);
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    if (int error = standin_unsafe("copy", "way=%s bytes=%zu waits=1", direction(to, from), bytes))
        return result(error);
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream)
{
    const char *way = direction(to, from);
    if (int error = standin_work(stream, "copy", "way=%s bytes=%zu waits=%d", way, bytes, waits(to, from)))
        return result(error);
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind, cudaStream_t stream)
{
    const char *way = direction(to, from);
    if (int error = standin_work(stream, "copy", "way=%s bytes=%zu waits=%d", way, width * height, waits(to, from)))
        return result(error);
    for (size_t row = 0; row < height; row++)
        memcpy(static_cast<char *>(to) + row * pitch, static_cast<const char *>(from) + row * from_pitch, width);
    return cudaSuccess;
}

cudaError_t cudaMemcpyFromSymbol(void *to, const void *, size_t bytes, size_t, cudaMemcpyKind)
{
    if (int error = standin_unsafe("copy", "way=DtoH bytes=%zu waits=1", bytes))
        return result(error);
    memset(to, 0, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    if (int error = standin_unsafe("memset", "bytes=%zu", bytes))
        return result(error);
    memset(to, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    if (int error = standin_work(stream, "memset", "bytes=%zu", bytes))
        return result(error);
    memset(to, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *)
{
    *pool = reinterpret_cast<cudaMemPool_t>(new char);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    delete reinterpret_cast<char *>(pool);
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *value)
{
    *static_cast<uint64_t *>(value) = 0;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *)
{
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t)
{
    return cudaSuccess;
}
}
