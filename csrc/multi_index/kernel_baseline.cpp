#include "select.h"

namespace fasthash {

MultiIndexKernel multi_index_kernel_baseline() { return {select, verify, kPopcountCost}; }

}  // namespace fasthash
