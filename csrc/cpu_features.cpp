#include "cpu_features.h"

#include <cstdlib>
#include <stdexcept>

namespace fasthash {

namespace {

struct Level {
    Isa isa;
    const char* name;
    bool (*processor_can_run)();  // which can run the level before
};

constexpr Level kLevels[] = {
#define HAS(feature) __builtin_cpu_supports(feature)
#define LEVEL(name, requirement) {Isa::name, #name, [] { return static_cast<bool>(requirement); }},
#include "processor_levels.def"
#undef LEVEL
#undef HAS
};

Isa isa_from_name(const std::string& source, const std::string& name) {
    std::string runnable;
    for (Isa isa : runnable_isas()) {
        if (name == isa_name(isa)) return isa;
        runnable += runnable.empty() ? "" : ", ";
        runnable += isa_name(isa);
    }
    for (Isa isa : built_isas()) {
        if (name == isa_name(isa)) {
            throw std::invalid_argument(source + ": expected a level this processor can run (" + runnable + "), got '" + name + "'");
        }
    }
    throw std::invalid_argument(source + ": expected one of " + runnable + ", got '" + name + "'");
}

}  // namespace

const char* isa_name(Isa isa) { return kLevels[static_cast<size_t>(isa)].name; }

const std::vector<Isa>& built_isas() {
    static const std::vector<Isa> isas = [] {
        std::vector<Isa> built;
        for (const Level& level : kLevels) built.push_back(level.isa);
        return built;
    }();
    return isas;
}

const std::vector<Isa>& runnable_isas() {
    static const std::vector<Isa> isas = [] {
        std::vector<Isa> runnable;
        for (const Level& level : kLevels) {
            if (!level.processor_can_run()) break;
            runnable.push_back(level.isa);
        }
        return runnable;
    }();
    return isas;
}

Isa select_isa(const std::string& name) {
    if (!name.empty()) return isa_from_name("isa", name);
    static const std::string forced = [] {
        const char* value = std::getenv("FASTHASH_ISA");
        return std::string(value ? value : "");
    }();
    return forced.empty() ? runnable_isas().back() : isa_from_name("FASTHASH_ISA", forced);
}

}  // namespace fasthash
