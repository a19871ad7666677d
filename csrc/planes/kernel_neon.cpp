#include "../hamming/lanes_neon.h"
#include "stored_planes.h"

namespace fasthash {

PlanesKernel planes_kernel_neon() { return {write_planes, read_planes, filter_planes}; }

}  // namespace fasthash
