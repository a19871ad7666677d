#include "probe.h"

namespace fasthash {

IdMapKernel id_map_kernel_baseline() { return {insert, find}; }

}  // namespace fasthash
