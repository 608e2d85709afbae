/* libcublasLt.so.13: descriptors are nothing, a product is logged. */
#include "standin.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_BYTES = 104 }; /* of cublasLtMatmulHeuristicResult_t */

static int create(void **object)
{
    *object = malloc(1);
    return 0;
}

static int destroy(void *object)
{
    free(object);
    return 0;
}

int cublasLtCreate(void **handle)
{
    return standin_unsafe("create", "what=cublaslt") ? 14 : create(handle);
}

int cublasLtDestroy(void *handle)
{
    return standin_unsafe("destroy", "what=cublaslt") ? 14 : destroy(handle);
}

int cublasLtMatmulDescCreate(void **description, int compute, int scale)
{
    return create(description);
}

int cublasLtMatmulDescDestroy(void *description)
{
    return destroy(description);
}

int cublasLtMatmulDescSetAttribute(void *description, int attribute, const void *value, size_t bytes)
{
    return 0;
}

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading)
{
    return create(layout);
}

int cublasLtMatrixLayoutDestroy(void *layout)
{
    return destroy(layout);
}

int cublasLtMatrixLayoutSetAttribute(void *layout, int attribute, const void *value, size_t bytes)
{
    return 0;
}

int cublasLtMatmulPreferenceCreate(void **preference)
{
    return create(preference);
}

int cublasLtMatmulPreferenceDestroy(void *preference)
{
    return destroy(preference);
}

int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t bytes)
{
    return 0;
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                   int requested, void *results, int *found)
{
    memset(results, 0, RESULT_BYTES);
    *found = 1;
    return 0;
}

int cublasLtMatmul(void *handle, void *operation, const void *alpha, const void *a, void *layout_a, const void *b,
                   void *layout_b, const void *beta, const void *c, void *layout_c, void *d, void *layout_d,
                   const void *algorithm, void *workspace, size_t bytes, void *stream)
{
    return standin_work(stream, "kernel", "name=cublasLtMatmul") ? 14 : 0;
}
