#pragma once

// What the bindings of searches share: their arguments, and hits as arrays.

#include <functional>
#include <memory>

#include "../cpu_features.h"
#include "../hamming/search.h"
#include "array_arguments.h"

namespace fasthash {

// A search for queries, whatever the codes are in.
struct SearchCall {
    const QuerySet queries;
    SearchOptions options;

    SearchCall(const QuerySet& queries, int threads, Isa isa);

    // Calls `search` as run_interruptible does, with options that tell of the interrupt.
    void run(const std::function<void()>& search);

    // The hits that `search` finds, none farther than max_distance, as arrays: offsets [n_queries + 1], and distances and ids [n_hits].
    pybind11::tuple run_radius(int64_t max_distance, const std::function<HitGroups()>& search);
};

// Packed queries in an array, which stays the caller's.
QuerySet query_set(const Array<uint8_t>& codes);

// Packed codes that are searched and a mask of them, checked. The arrays stay the caller's.
class RowArguments {
    std::unique_ptr<const Mask> mask_;

public:
    const CodeSet set;

    RowArguments(const char* function, const Array<uint8_t>& codes, const OptionalArray<uint8_t>& mask);
};

// The arguments of a search of rows for packed queries, checked.
struct SearchArguments : SearchCall, RowArguments {
    SearchArguments(const char* function, const Array<uint8_t>& query_codes, const Array<uint8_t>& codes,
                    const OptionalArray<uint8_t>& mask, int threads, Isa isa);

    // The hits in a radius.
    pybind11::tuple run_radius(int64_t radius, const std::function<HitGroups()>& search);
};

}  // namespace fasthash
