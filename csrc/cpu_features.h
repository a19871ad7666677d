#pragma once

#include <string>
#include <vector>

namespace fasthash {

// The processor levels of this architecture, ascending; one that can run a level can run those before it.
enum class Isa {
#define LEVEL(name, requirement) name,
#include "processor_levels.def"
#undef LEVEL
};

const char* isa_name(Isa isa);

// The levels that this build holds, ascending, and those among them that this processor can run.
const std::vector<Isa>& built_isas();
const std::vector<Isa>& runnable_isas();

// The level to run: `name` if given, else FASTHASH_ISA, else the best runnable one.
// Throws std::invalid_argument for an unknown name or a level this processor lacks.
Isa select_isa(const std::string& name = "");

}  // namespace fasthash
