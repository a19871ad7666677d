#include "../hamming/lanes_avx512.h"
#include "stored_planes.h"

namespace fasthash {

PlanesKernel planes_kernel_avx512() { return {write_planes, read_planes, filter_planes}; }

}  // namespace fasthash
