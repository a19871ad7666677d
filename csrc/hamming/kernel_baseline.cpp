#include "lanes_scalar.h"
#include "plane_filter.h"

namespace fasthash {

HammingKernel hamming_kernel_baseline() { return {scan, distances, rows_up_to, plane_filter(0.17), 1.3}; }

}  // namespace fasthash
