#include "rows.h"

namespace fasthash {

CamelROOMKernel ROOM_kernel_baseline() { return {{rows<float>}, {rows<double>}}; }

}  // namespace fasthash
