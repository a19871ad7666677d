#include "small_gemm.h"

namespace fasthash {

MatrixProductKernel matrix_product_kernel_avx512() { return {multiply<float>, multiply<double>}; }

}  // namespace fasthash
