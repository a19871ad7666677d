#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<MatrixProductKernel> kLevels[] = {
    {Isa::baseline, matrix_product_kernel_baseline},
#if defined(__x86_64__)
    {Isa::avx2, matrix_product_kernel_avx2},
    {Isa::avx512, matrix_product_kernel_avx512},
#endif
};

}  // namespace

MatrixProductKernel matrix_product_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
