#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "../aligned_array.h"
#include "../array_arguments.h"
#include "../cpu_features.h"
#include "../thread_pool.h"
#include "kernel.h"

namespace py = pybind11;

namespace fasthash {

namespace {

constexpr int64_t kElementsPerTask = 1 << 18;

// Projections at a time: few enough to stay in the second-level cache, in whole tiles of SmallGemm's at every level.
constexpr int64_t kBlockRows = 84, kBlockBits = 256;
constexpr int64_t kProductsPerTask = 1 << 24, kProductsPerNanosecond = 32;

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

// x [n, d] where it lies, projection [d, n_bits]. Returns the place in C order of the first NaN of x projection - offset, or -1.
template <class T>
int64_t pack_projections(const py::array_t<T>& x, Array<T> projection, std::optional<Array<T>> offset, Array<uint8_t> out, int threads,
                         const std::string& isa) {
    const PackingKernel kernel = packing_kernel(select_isa(isa));
    const auto project = [&] {
        if constexpr (sizeof(T) == sizeof(float)) return kernel.project_float;
        else return kernel.project_double;
    }();
    const int64_t n = x.shape(0), d = x.shape(1), n_bits = projection.shape(1), n_bytes = (n_bits + 7) / 8;
    const int64_t x_row = x.strides(0) / x.itemsize(), x_column = x.strides(1) / x.itemsize();
    const T* embeddings = x.data();
    const T* hyperplanes = projection.data();
    uint8_t* codes = out.mutable_data();
    std::vector<T> start(static_cast<size_t>(n_bits));
    if (offset) std::transform(offset->data(), offset->data() + n_bits, start.begin(), [](T value) { return -value; });

    const int64_t products_per_block = kBlockRows * std::min(n_bits, kBlockBits) * std::max<int64_t>(1, d);
    const int64_t rows_per_task = kBlockRows * std::max<int64_t>(1, kProductsPerTask / products_per_block);
    const int64_t bit_blocks = (n_bits + kBlockBits - 1) / kBlockBits, row_blocks = (n + rows_per_task - 1) / rows_per_task;
    constexpr int64_t none = std::numeric_limits<int64_t>::max();
    std::atomic<int64_t> first_nan{none};
    run_interruptible([&](const std::function<bool()>& interrupted) {
        parallel_for(row_blocks * bit_blocks, thread_count(threads), [&](Job& job, int64_t task) {
            const int64_t first_bit = task % bit_blocks * kBlockBits, bits = std::min(kBlockBits, n_bits - first_bit);
            const int64_t first_row = task / bit_blocks * rows_per_task, last_row = std::min(first_row + rows_per_task, n);
            AlignedArray<T> projections(std::min(kBlockRows, last_row - first_row) * bits);
            for (int64_t row = first_row; row < last_row; row += kBlockRows) {
                const int64_t rows = std::min(kBlockRows, last_row - row);
                const Product<T> product{rows, bits, d, embeddings + row * x_row, x_row, x_column, hyperplanes + first_bit, n_bits, 1,
                                         T{1}, start.data() + first_bit, 0, projections.get(), bits};
                if (project(product, codes + row * n_bytes + first_bit / 8, n_bytes)) {
                    const T* values = projections.get();
                    const int64_t place = std::find_if(values, values + rows * bits, [](T value) { return value != value; }) - values;
                    const int64_t found = (row + place / bits) * n_bits + first_bit + place % bits;
                    for (int64_t known = first_nan; found < known && !first_nan.compare_exchange_weak(known, found);) {}
                }
                job.checkpoint(rows * bits * d / kProductsPerNanosecond);
            }
        }, interrupted);
    });
    return first_nan == none ? -1 : first_nan.load();
}

template <class T>
void define_projections(py::module_& m) {
    m.def("pack_projections", &pack_projections<T>, py::arg("x").noconvert(), py::arg("projection").noconvert(), py::arg("offset").noconvert(),
          py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"));
}

}  // namespace

void register_packing(py::module_& m) {
    m.def("pack_bits", &pack_bits, py::arg("x").noconvert(), py::arg("element"), py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"));
    define_projections<float>(m);
    define_projections<double>(m);
}

}  // namespace fasthash
