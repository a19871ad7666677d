#pragma once

// What the bindings of searches share: their arguments, and hits as arrays.

#include <functional>
#include <memory>

#include "../cpu_features.h"
#include "../hamming/search.h"
#include "array_arguments.h"

namespace fasthash {

// The arguments of a search, checked. The arrays stay the caller's.
class SearchArguments {
    std::unique_ptr<const Mask> mask_;

public:
    const CodeSet set;
    const QuerySet queries;
    SearchOptions options;

    SearchArguments(const char* function, const Array<uint8_t>& query_codes, const Array<uint8_t>& codes,
                    const OptionalArray<uint8_t>& mask, int threads, Isa isa);

    // Calls `search` as run_interruptible does, with options that tell of the interrupt.
    void run(const std::function<void()>& search);

    // The hits that `search` finds in a radius as arrays: offsets [n_queries + 1], and distances and ids [n_hits].
    pybind11::tuple run_radius(int64_t radius, const std::function<HitGroups()>& search);
};

}  // namespace fasthash
