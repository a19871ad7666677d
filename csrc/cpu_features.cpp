#include "cpu_features.h"

#include <cstdlib>
#include <stdexcept>

namespace fasthash {

namespace {

bool processor_can_run(Isa isa) {
#if defined(__x86_64__)
    const bool v2 = __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("sse4.2");
    const bool avx2 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    switch (isa) {
        case Isa::baseline: return true;
        case Isa::v2: return v2;
        case Isa::avx2: return avx2;
        case Isa::avx512: return avx512;
        case Isa::avx512vpopcntdq: return avx512 && __builtin_cpu_supports("avx512vpopcntdq");
        case Isa::neon: return false;
    }
    return false;
#else
    static_cast<void>(isa);  // every processor of the architecture has what the build uses
    return true;
#endif
}

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

const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::baseline: return "baseline";
        case Isa::v2: return "v2";
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
        case Isa::avx512vpopcntdq: return "avx512vpopcntdq";
        case Isa::neon: return "neon";
    }
    return "unknown";
}

const std::vector<Isa>& built_isas() {
#if defined(__x86_64__)
    static const std::vector<Isa> isas = {Isa::baseline, Isa::v2, Isa::avx2, Isa::avx512, Isa::avx512vpopcntdq};
#elif defined(__aarch64__)
    static const std::vector<Isa> isas = {Isa::baseline, Isa::neon};
#else
    static const std::vector<Isa> isas = {Isa::baseline};
#endif
    return isas;
}

const std::vector<Isa>& runnable_isas() {
    static const std::vector<Isa> isas = [] {
        std::vector<Isa> found;
        for (Isa isa : built_isas()) {
            if (processor_can_run(isa)) found.push_back(isa);
        }
        return found;
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
