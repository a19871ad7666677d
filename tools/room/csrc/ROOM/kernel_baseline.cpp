#include "rows.h"

namespace fasthash {

ROOM_Kernel ROOM_kernel_baseline() { return {{rows<float>}, {rows<double>}}; }

}  // namespace fasthash
