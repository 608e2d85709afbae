/* What the parts of libcudart.so.13 share. */
#pragma once

#include <driver_types.h>
#include <vector_types.h>

#include "../standin.h"

/* The last error of this thread becomes `error`, unless it is none. */
cudaError_t result(int error);

constexpr size_t kMemoryBytes = 150'000'000'000;
constexpr int kSharedMemoryBytes = 232448; /* of a block, opted into */
constexpr int kDriverVersion = 13000;
