#include "rows.h"

namespace fasthash {

ROOM_Kernel ROOM_kernel_avx2() { return {{rows<float>}, {rows<double>}}; }

}  // namespace fasthash
