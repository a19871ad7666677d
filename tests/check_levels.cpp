// Which of a room's levels serves a processor's; built and run by the tests.
#include "../csrc/levels.h"

using namespace fasthash;

namespace {

constexpr Level<int> kTwo[] = {{Isa::baseline, [] { return 0; }}, {Isa::avx2, [] { return 2; }}};
constexpr Level<int> kOne[] = {{Isa::baseline, [] { return 0; }}};

}  // namespace

int main() {
    const bool below = at_level(kTwo, Isa::baseline) == 0 && at_level(kTwo, Isa::v2) == 0;
    const bool above = at_level(kTwo, Isa::avx2) == 2 && at_level(kTwo, Isa::avx512vpopcntdq) == 2;
    return below && above && at_level(kOne, Isa::avx512) == 0 ? 0 : 1;
}
