// Which of a room's levels serves a processor's; built and run by the tests.
#include "../csrc/levels.h"

using namespace fasthash;

namespace {

constexpr Isa level(int i) { return static_cast<Isa>(i); }

constexpr KernelAtLevel<int> kTwo[] = {{level(0), [] { return 0; }}, {level(2), [] { return 2; }}};
constexpr KernelAtLevel<int> kOne[] = {{level(0), [] { return 0; }}};

}  // namespace

int main() {
    const bool below = highest_kernel(kTwo, level(0)) == 0 && highest_kernel(kTwo, level(1)) == 0;
    const bool above = highest_kernel(kTwo, level(2)) == 2 && highest_kernel(kTwo, level(4)) == 2;
    return below && above && highest_kernel(kOne, level(3)) == 0 ? 0 : 1;
}
