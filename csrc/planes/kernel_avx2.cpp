#include "../hamming/lanes_avx2.h"
#include "stored_planes.h"

namespace fasthash {

PlanesKernel planes_kernel_avx2() { return {write_planes, read_planes, filter_planes}; }

}  // namespace fasthash
