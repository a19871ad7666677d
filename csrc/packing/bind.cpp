#include <algorithm>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "../thread_pool.h"
#include "kernel.h"

namespace py = pybind11;

namespace fasthash {

namespace {

constexpr int64_t kElementsPerTask = 1 << 18;

PackingKernel packing_kernel(Isa isa) {
    switch (isa) {
#if defined(__x86_64__)
        case Isa::avx2: return packing_kernel_avx2();
        case Isa::avx512:
        case Isa::avx512vpopcntdq: return packing_kernel_avx512();
#endif
        default: return packing_kernel_baseline();
    }
}

Element element_from_name(const std::string& name) {
    static const std::pair<const char*, Element> elements[] = {
        {"uint8", Element::uint8}, {"int8", Element::int8}, {"int16", Element::int16},
        {"int32", Element::int32}, {"int64", Element::int64}, {"float16", Element::float16},
        {"bfloat16", Element::bfloat16}, {"float32", Element::float32}, {"float64", Element::float64}};
    for (const auto& [known, element] : elements) {
        if (name == known) return element;
    }
    throw py::type_error("pack_bits: element '" + name + "' cannot be packed");
}

// x [n, n_bits] in memory of any element type, named apart because NumPy has no bfloat16.
bool pack_bits(const py::array& x, const std::string& element_name, Array<uint8_t> out, int threads, const std::string& isa) {
    const Element element = element_from_name(element_name);
    const PackingKernel kernel = packing_kernel(select_isa(isa));
    const int64_t n = x.shape(0), n_bits = x.shape(1), n_bytes = (n_bits + 7) / 8, row_bytes = n_bits * x.itemsize();
    const uint8_t* from = static_cast<const uint8_t*>(x.data());
    uint8_t* to = out.mutable_data();
    const int64_t rows_per_task = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, n_bits));
    std::atomic<bool> nan{false};
    run_interruptible([&](const std::function<bool()>& interrupted) {
        parallel_for((n + rows_per_task - 1) / rows_per_task, thread_count(threads), [&](Job& job, int64_t task) {
            const int64_t first = task * rows_per_task, last = std::min(first + rows_per_task, n);
            bool found = false;
            if (n_bits % 8 == 0) {
                found = kernel.pack(from + first * row_bytes, element, (last - first) * n_bits, to + first * n_bytes);
            } else {
                for (int64_t row = first; row < last; ++row) {
                    found |= kernel.pack(from + row * row_bytes, element, n_bits, to + row * n_bytes);
                }
            }
            if (found) nan = true;
            job.checkpoint((last - first) * n_bits);
        }, interrupted);
    });
    return nan;
}

}  // namespace

void register_packing(py::module_& m) {
    m.def("pack_bits", &pack_bits, py::arg("x").noconvert(), py::arg("element"), py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"));
}

}  // namespace fasthash
