#include "kernel.h"

namespace fasthash {

RankingKernel ranking_kernel_baseline() { return {nullptr, nullptr}; }

}  // namespace fasthash
