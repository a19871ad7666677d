#include "select.h"

namespace fasthash {

MultiIndexKernel multi_index_kernel_v2() { return {select, verify, kPopcountCost}; }

}  // namespace fasthash
