#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "id_map.h"

namespace py = pybind11;

namespace fasthash::id_map_bindings {

namespace {

IdTable checked_table(const char* function, Array<int64_t>& table) {
    const int64_t n_slots = table.size();
    if (n_slots < 2 || (n_slots & (n_slots - 1)) != 0) {
        throw std::invalid_argument(std::string(function) + ": expected table of a power of two slots, got " + std::to_string(n_slots));
    }
    check_shape(function, "table", table, {n_slots});
    return {reinterpret_cast<uint64_t*>(table.mutable_data()), __builtin_ctzll(static_cast<uint64_t>(n_slots))};
}

PositionBits checked_bits(const char* function, const char* name, const OptionalArray<uint8_t>& bits) {
    if (bits) check_shape(function, name, *bits, {bits->size()});
    return {data_or_null(bits), bits ? 8 * bits->size() : 0};
}

IdList checked_list(const char* function, const Array<int64_t>& ids, const OptionalArray<uint8_t>& live) {
    const int64_t n = ids.size();
    check_shape(function, "ids", ids, {n});
    if (n >= int64_t{1} << kPositionBits) {
        throw std::invalid_argument(std::string(function) + ": expected fewer than 2^40 ids, got " + std::to_string(n));
    }
    return {ids.data(), n, checked_bits(function, "live", live)};
}

int64_t insert(Array<int64_t> table, const Array<int64_t>& ids, int64_t first, const OptionalArray<uint8_t>& live,
               const OptionalArray<uint8_t>& kept, const std::string& isa) {
    constexpr const char* name = "id_map_insert";
    const IdTable slots = checked_table(name, table);
    const IdList list = checked_list(name, ids, live);
    const PositionBits kept_bits = checked_bits(name, "kept", kept);
    if (first < 0 || first > list.n) {
        throw std::invalid_argument(std::string(name) + ": expected first from 0 to " + std::to_string(list.n) + ", got " +
                                    std::to_string(first));
    }
    const IdMapKernel kernel = id_map_kernel(select_isa(isa));
    int64_t repeated = -1;
    run_interruptible(
        [&](const std::function<bool()>& interrupted) { repeated = insert_ids(slots, list, kept_bits, first, kernel, interrupted); });
    return repeated;
}

void find(Array<int64_t> table, const Array<int64_t>& ids, const OptionalArray<uint8_t>& live, const Array<int64_t>& sought,
          Array<int64_t> positions, int threads, const std::string& isa) {
    constexpr const char* name = "id_map_find";
    const IdTable slots = checked_table(name, table);
    const IdList list = checked_list(name, ids, live);
    const IdMapKernel kernel = id_map_kernel(select_isa(isa));
    const int64_t n_sought = sought.size();
    check_shape(name, "sought", sought, {n_sought});
    int64_t* const out = output(name, "positions", positions, {n_sought});
    run_interruptible([&](const std::function<bool()>& interrupted) {
        find_ids(slots, list, sought.data(), n_sought, kernel, thread_count(threads), interrupted, out);
    });
}

}  // namespace

void add_to(py::module_& m) {
    m.def("id_map_insert", &insert, exact("table"), exact("ids"), py::arg("first"), exact("live"), exact("kept"), py::arg("isa"));
    m.def("id_map_find", &find, exact("table"), exact("ids"), exact("live"), exact("sought"), exact("positions"), py::arg("threads"),
          py::arg("isa"));
}

}  // namespace fasthash::id_map_bindings
