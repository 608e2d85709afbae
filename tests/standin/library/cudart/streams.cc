/* Streams, events and graphs: everything is done at once, and a graph is its number of nodes. */
#include "cudart.h"

struct CUgraph_st {
    long nodes;
};

struct CUgraphExec_st {
    long nodes;
};

struct CUevent_st {};

extern "C" {

cudaError_t cudaDeviceSynchronize()
{
    return result(standin_unsafe("wait", "for=device"));
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    *stream = static_cast<cudaStream_t>(standin_create_stream(flags));
    standin_log("create", "what=stream stream=%p flags=%u", static_cast<void *>(*stream), flags);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) /* its address is not used again, so that the log stays readable */
{
    standin_log("destroy", "what=stream stream=%p", static_cast<void *>(stream));
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return result(standin_unsafe("wait", "for=stream stream=%p", static_cast<void *>(stream)));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    *status = standin_is_captured(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    return result(standin_begin_capture(stream, mode));
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    long nodes;
    int error = standin_end_capture(stream, &nodes);
    *graph = error == 0 ? new CUgraph_st{nodes} : nullptr;
    return result(error);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long)
{
    if (int error = standin_unsafe("instantiate", "nodes=%ld", graph->nodes))
        return result(error);
    *executable = new CUgraphExec_st{graph->nodes};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream)
{
    return result(standin_work(stream, "replay", "nodes=%ld graph=%p", executable->nodes,
                               static_cast<void *>(executable)));
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
    standin_log("destroy", "what=graph graph=%p", static_cast<void *>(executable));
    delete executable;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = new CUevent_st;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t, cudaStream_t, unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t)
{
    return result(standin_unsafe("query", "of=event"));
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return result(standin_unsafe("wait", "for=event"));
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t, cudaEvent_t)
{
    *milliseconds = 1;
    return result(standin_unsafe("query", "of=events"));
}
}
