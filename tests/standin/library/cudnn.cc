/* libcudnn.so.9: operation graphs are kept and described in the log, plans are always found, execution is logged.
 *
 * The numbers of descriptors, attributes and types are cudnnBackendDescriptorType_t, cudnnBackendAttributeName_t and
 * cudnnBackendAttributeType_t.
 */
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "standin.h"

namespace {

enum Status { kSuccess = 0, kInternalError = 4000, kNotSupported = 3000 };
enum Kind { kConvolution = 10, kOperationGraph = 15, kMatmul = 19, kAttention = 41 };
enum Name { kPlanWorkspace = 402, kGraphOperations = 801 };
enum Type { kBoolean = 2, kInt64 = 3, kDescriptor = 15, kInt32 = 23 };

constexpr int64_t kWorkspaceBytes = 1 << 20;

struct Attribute {
    std::vector<char> bytes;
    int64_t count = 0;
};

struct Descriptor {
    int kind;
    std::map<int, Attribute> attributes;

    std::vector<Descriptor *> pointers(int name) const
    {
        auto found = attributes.find(name);
        if (found == attributes.end())
            return {};
        auto first = reinterpret_cast<Descriptor *const *>(found->second.bytes.data());
        return {first, first + found->second.count};
    }
};

struct Handle {
    void *stream = nullptr;
};

size_t size_of(int type)
{
    switch (type) {
    case 0:  /* HANDLE */
    case 3:  /* INT64 */
    case 5:  /* DOUBLE */
    case 6:  /* VOID_PTR */
    case 15: /* BACKEND_DESCRIPTOR */
        return 8;
    case 2:  /* BOOLEAN */
    case 24: /* CHAR */
        return 1;
    case 26: /* FRACTION */
        return 16;
    default:
        return 4;
    }
}

/* The operations of a graph that are the reason for it: a convolution, attention, or others. */
std::string operations_of(const Descriptor &graph)
{
    std::string names;
    for (Descriptor *operation : graph.pointers(kGraphOperations)) {
        int kind = operation->kind;
        const char *name = kind == kMatmul        ? "matmul"
                           : kind == kConvolution ? "convolution"
                           : kind == kAttention   ? "attention"
                                                  : "other";
        names += std::string(names.empty() ? "" : ",") + name;
    }
    return names;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion()
{
    return standin_setting("STANDIN_CUDNN_VERSION", 91900);
}

int cudnnCreate(void **handle)
{
    if (standin_unsafe("create", "what=cudnn"))
        return kInternalError;
    *handle = new Handle;
    return kSuccess;
}

int cudnnDestroy(void *handle)
{
    if (standin_unsafe("destroy", "what=cudnn"))
        return kInternalError;
    delete static_cast<Handle *>(handle);
    return kSuccess;
}

int cudnnSetStream(void *handle, void *stream)
{
    static_cast<Handle *>(handle)->stream = stream;
    return kSuccess;
}

int cudnnGetStream(void *handle, void **stream)
{
    *stream = static_cast<Handle *>(handle)->stream;
    return kSuccess;
}

const char *cudnnGetErrorString(int status)
{
    return status == kNotSupported ? "CUDNN_STATUS_NOT_SUPPORTED" : "CUDNN_STATUS_INTERNAL_ERROR";
}

void cudnnGetLastErrorString(char *message, size_t bytes)
{
    if (bytes > 0)
        message[0] = '\0';
}

int cudnnBackendCreateDescriptor(int kind, void **descriptor)
{
    *descriptor = new Descriptor{kind, {}};
    return kSuccess;
}

int cudnnBackendDestroyDescriptor(void *descriptor)
{
    delete static_cast<Descriptor *>(descriptor);
    return kSuccess;
}

int cudnnBackendSetAttribute(void *descriptor, int name, int type, int64_t count, const void *values)
{
    Attribute &attribute = static_cast<Descriptor *>(descriptor)->attributes[name];
    auto first = static_cast<const char *>(values);
    attribute.bytes.assign(first, first == nullptr ? first : first + size_of(type) * count);
    attribute.count = count;
    return kSuccess;
}

int cudnnBackendFinalize(void *pointer)
{
    const Descriptor &descriptor = *static_cast<Descriptor *>(pointer);
    if (descriptor.kind == kOperationGraph) {
        std::string operations = operations_of(descriptor);
        /* One operation, or where that cannot mask, products and what is between them */
        bool attention = operations.find("attention") != std::string::npos ||
                         operations.find("matmul") != std::string::npos;
        bool convolution = operations.find("convolution") != std::string::npos;
        standin_log("plan", "operations=%s", operations.c_str());
        if ((attention && standin_fails("attention")) || (convolution && standin_fails("convolution")))
            return kNotSupported;
    }
    return kSuccess;
}

int cudnnBackendGetAttribute(void *pointer, int name, int type, int64_t requested, int64_t *count, void *values)
{
    const Descriptor &descriptor = *static_cast<Descriptor *>(pointer);
    int64_t found = 1;
    auto kept = descriptor.attributes.find(name);
    if (type == kDescriptor) { /* the caller's own descriptor is filled in: it stays as it is */
    } else if (kept != descriptor.attributes.end() && values != nullptr) {
        const std::vector<char> &bytes = kept->second.bytes;
        memcpy(values, bytes.data(), std::min(bytes.size(), size_of(type) * requested));
        found = kept->second.count;
    } else if (type == kInt64 || type == kInt32 || type == kBoolean) {
        int64_t value = name == kPlanWorkspace ? kWorkspaceBytes : type == kBoolean;
        if (values != nullptr && requested > 0)
            memcpy(values, &value, size_of(type));
    } else {
        found = 0;
    }
    if (count != nullptr)
        *count = found;
    return kSuccess;
}

int cudnnBackendExecute(void *handle, void *plan, void *variables)
{
    return standin_work(static_cast<Handle *>(handle)->stream, "kernel", "name=cudnnBackendExecute") ? kInternalError
                                                                                                    : kSuccess;
}

int cudnnCreateTensorDescriptor(void **descriptor)
{
    *descriptor = new Descriptor{-1, {}};
    return kSuccess;
}

int cudnnDestroyTensorDescriptor(void *descriptor)
{
    return cudnnBackendDestroyDescriptor(descriptor);
}

int cudnnSetTensorNdDescriptor(void *descriptor, int type, int axes, const int *sizes, const int *strides)
{
    return kSuccess;
}

int cudnnCreateFilterDescriptor(void **descriptor)
{
    return cudnnCreateTensorDescriptor(descriptor);
}

int cudnnDestroyFilterDescriptor(void *descriptor)
{
    return cudnnBackendDestroyDescriptor(descriptor);
}

int cudnnCreateReduceTensorDescriptor(void **descriptor)
{
    return cudnnCreateTensorDescriptor(descriptor);
}

int cudnnDestroyReduceTensorDescriptor(void *descriptor)
{
    return cudnnBackendDestroyDescriptor(descriptor);
}

int cudnnSetReduceTensorDescriptor(void *descriptor, int operation, int type, int nan, int indices, int index_type)
{
    return kSuccess;
}

int cudnnGetReductionWorkspaceSize(void *handle, void *reduction, void *from, void *to, size_t *bytes)
{
    *bytes = 0;
    return kSuccess;
}

int cudnnGetReductionIndicesSize(void *handle, void *reduction, void *from, void *to, size_t *bytes)
{
    *bytes = 0;
    return kSuccess;
}

int cudnnReduceTensor(void *handle, void *reduction, void *indices, size_t index_bytes, void *workspace, size_t bytes,
                      const void *alpha, void *from, const void *a, const void *beta, void *to, void *c)
{
    return standin_work(static_cast<Handle *>(handle)->stream, "kernel", "name=cudnnReduceTensor") ? kInternalError
                                                                                                  : kSuccess;
}

int cudnnAddTensor(void *handle, const void *alpha, void *added, const void *a, const void *beta, void *sum, void *c)
{
    return standin_work(static_cast<Handle *>(handle)->stream, "kernel", "name=cudnnAddTensor") ? kInternalError
                                                                                               : kSuccess;
}
}
