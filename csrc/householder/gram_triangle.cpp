#include "gram_triangle.h"

#include <algorithm>

#include "../aligned_array.h"

namespace fasthash {

namespace {

constexpr int64_t kBlock = 64;  // of the rows of a triangle

// S differs from half of W W^T only by its triangle: what rounding adds to their sum is missing from the rotation's
// orthogonality, and nearly parallel vectors make it count. So this one product and the inverse are in double precision.
class GramTriangle {
public:
    GramTriangle(int64_t l, const RotationKernels& kernels, const RowBlocks& blocks)
        : l_(l),
          multiply_(kernels.products.of<double>()),
          invert_triangle_(kernels.reflections.of<double>().invert_triangle),
          blocks_(blocks),
          s_(l * l),
          inverse_(l * l),
          spare_(l * l / 4) {}

    template <class T>
    void invert(const T* w, int64_t k, T* s_inverse) {
        AlignedArray<double> wide(l_ * k);
        std::copy_n(w, l_ * k, wide.get());
        blocks_.for_each(l_, kBlock, [&](int64_t first, int64_t rows) {
            const double* from = wide.get() + first * k;
            multiply_({rows, l_ - first, k, from, k, 1, from, 1, k, 1, nullptr, 0, s_.get() + first * l_ + first, l_});
            for (int64_t i = first; i < first + rows; ++i) s_.get()[i * l_ + i] /= 2;
        });
        std::fill_n(inverse_.get(), l_ * l_, 0.0);
        invert(l_, s_.get(), inverse_.get());
        std::transform(inverse_.get(), inverse_.get() + l_ * l_, s_inverse, [](double x) { return static_cast<T>(x); });
    }

private:
    // The inverse of an upper triangle, of row stride l, by halves: from the inverses A' and C' of the diagonal blocks of [A B; 0 C],
    // that of B's place is -A' B C'.
    void invert(int64_t n, const double* s, double* inverse) {
        if (n <= kTriangle) return invert_triangle_(s, static_cast<int>(n), l_, inverse);
        const int64_t half = round_up(n / 2, kTriangle), rest = n - half, diagonal = half * l_ + half;
        double* const spare = spare_.get();
        invert(half, s, inverse);
        invert(rest, s + diagonal, inverse + diagonal);
        blocks_.for_each(half, kBlock, [&](int64_t first, int64_t rows) {
            multiply_(
                {rows, rest, rest, s + first * l_ + half, l_, 1, inverse + diagonal, l_, 1, 1, nullptr, 0, spare + first * rest, rest});
        });
        blocks_.for_each(half, kBlock, [&](int64_t first, int64_t rows) {
            const int64_t depth = half - first;  // left of the diagonal are zeros
            multiply_({rows, rest, depth, inverse + first * l_ + first, l_, 1, spare + first * rest, rest, 1, -1, nullptr, 0,
                       inverse + first * l_ + half, l_});
        });
    }

    const int64_t l_;
    const Multiply<double> multiply_;
    void (*const invert_triangle_)(const double*, int, int64_t, double*);
    const RowBlocks& blocks_;
    AlignedArray<double> s_, inverse_, spare_;
};

}  // namespace

template <class T>
void invert_gram_triangle(const T* w, int64_t l, int64_t k, const RotationKernels& kernels, const RowBlocks& blocks, T* s_inverse) {
    GramTriangle(l, kernels, blocks).invert(w, k, s_inverse);
}

template void invert_gram_triangle(const float*, int64_t, int64_t, const RotationKernels&, const RowBlocks&, float*);
template void invert_gram_triangle(const double*, int64_t, int64_t, const RotationKernels&, const RowBlocks&, double*);

}  // namespace fasthash
