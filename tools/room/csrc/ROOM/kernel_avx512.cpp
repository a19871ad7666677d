#include "rows.h"

namespace fasthash {

CamelROOMKernel ROOM_kernel_avx512() { return {{rows<float>}, {rows<double>}}; }

}  // namespace fasthash
