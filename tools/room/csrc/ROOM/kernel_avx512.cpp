#include "rows.h"

namespace fasthash {

ROOM_Kernel ROOM_kernel_avx512() { return {{rows<float>}, {rows<double>}}; }

}  // namespace fasthash
