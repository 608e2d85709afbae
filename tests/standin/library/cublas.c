/* libcublas.so.13: products are logged with their sizes, types and whether they may use TF32 (mode 3). */
#include "standin.h"

#include <stdlib.h>

struct handle {
    void *stream;
    int mode;
};

/* Every call of a product has the same answer: 14 is CUBLAS_STATUS_INTERNAL_ERROR. */
#define PRODUCT(handle, name, format, ...)                                                                             \
    (standin_work(((struct handle *)(handle))->stream, "kernel", "name=" name " " format " mode=%d", __VA_ARGS__,      \
                  ((struct handle *)(handle))->mode)                                                                   \
         ? 14                                                                                                          \
         : 0)

int cublasCreate_v2(void **handle)
{
    if (standin_unsafe("create", "what=cublas")) /* it allocates */
        return 14;
    *handle = calloc(1, sizeof(struct handle));
    return 0;
}

int cublasDestroy_v2(void *handle)
{
    if (standin_unsafe("destroy", "what=cublas"))
        return 14;
    free(handle);
    return 0;
}

int cublasSetStream_v2(void *handle, void *stream)
{
    ((struct handle *)handle)->stream = stream;
    return 0;
}

int cublasGetMathMode(void *handle, int *mode)
{
    *mode = ((struct handle *)handle)->mode;
    return 0;
}

int cublasSetMathMode(void *handle, int mode)
{
    ((struct handle *)handle)->mode = mode;
    return 0;
}

const char *cublasGetStatusName(int status)
{
    return status == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INTERNAL_ERROR";
}

const char *cublasGetStatusString(int status)
{
    return status == 15 ? "the functionality requested is not supported" : "an internal operation failed";
}

int cublasGemmEx(void *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha, const void *a,
                 int type, int lda, const void *b, int type_b, int ldb, const void *beta, void *c, int type_c, int ldc,
                 int compute, int algorithm)
{
    return PRODUCT(handle, "cublasGemmEx", "m=%d n=%d k=%d type=%d compute=%d", m, n, k, type, compute);
}

int cublasGemmStridedBatchedEx(void *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,
                               const void *a, int type, int lda, long long stride_a, const void *b, int type_b, int ldb,
                               long long stride_b, const void *beta, void *c, int type_c, int ldc, long long stride_c,
                               int batch, int compute, int algorithm)
{
    return PRODUCT(handle, "cublasGemmStridedBatchedEx", "m=%d n=%d k=%d batch=%d type=%d compute=%d", m, n, k, batch,
                   type, compute);
}

int cublasSgemm_v2(void *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,
                   const void *a, int lda, const void *b, int ldb, const void *beta, void *c, int ldc)
{
    return PRODUCT(handle, "cublasSgemm", "m=%d n=%d k=%d type=0", m, n, k);
}

int cublasSgemmStridedBatched(void *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,
                              const void *a, int lda, long long stride_a, const void *b, int ldb, long long stride_b,
                              const void *beta, void *c, int ldc, long long stride_c, int batch)
{
    return PRODUCT(handle, "cublasSgemmStridedBatched", "m=%d n=%d k=%d batch=%d type=0", m, n, k, batch);
}

int cublasSgeam(void *handle, int transpose_a, int transpose_b, int m, int n, const void *alpha, const void *a, int lda,
                const void *beta, const void *b, int ldb, void *c, int ldc)
{
    return PRODUCT(handle, "cublasSgeam", "m=%d n=%d type=0", m, n); /* a sum of matrices: here a transpose */
}
