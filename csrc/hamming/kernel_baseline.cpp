#include "lanes_scalar.h"
#include "scan.h"

namespace fasthash {

HammingKernel hamming_kernel_baseline() { return {scan, distances, rows_up_to}; }

}  // namespace fasthash
