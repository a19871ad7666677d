#pragma once

#include <string>
#include <vector>

namespace fasthash {

// Processor levels in ascending order of preference on one architecture.
enum class Isa { baseline, v2, avx2, avx512, avx512vpopcntdq, neon };

const char* isa_name(Isa isa);

// The levels that this build holds, ascending, and those among them that this processor can run.
const std::vector<Isa>& built_isas();
const std::vector<Isa>& runnable_isas();

// The level to run: `name` if given, else FASTHASH_ISA, else the best runnable one.
// Throws std::invalid_argument for an unknown name or a level this processor lacks.
Isa select_isa(const std::string& name = "");

}  // namespace fasthash
