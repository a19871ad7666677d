#include "../hamming/lanes_scalar.h"
#include "stored_planes.h"

namespace fasthash {

PlanesKernel planes_kernel_baseline() { return {write_planes, read_planes, filter_planes}; }

}  // namespace fasthash
