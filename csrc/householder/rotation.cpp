#include "rotation.h"

#include <algorithm>

#include "../aligned_array.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "gram_triangle.h"
#include "row_blocks.h"

namespace fasthash {

namespace {

constexpr int64_t kBlock = 64;         // of the rows and columns of a triangle
constexpr int64_t kRowsPerTask = 256;  // of x; fixed, so that the number of threads changes no result
constexpr int64_t kRowsPerSum = 4096;  // of x, that a task adds to a gradient in v, unless there are too many tasks
constexpr int64_t kMaxSums = 16;
constexpr int64_t kProductsPerThread = 1 << 22;  // multiplications worth another thread

// What one call shares: its sizes, threads, and the reflections' vectors divided by their lengths.
template <class T>
class RotationCall {
public:
    RotationCall(const Rotation<T>& rotation, const RotationKernels& kernels, int threads, const std::function<bool()>& interrupted)
        : rotation_(rotation),
          n_(rotation.n),
          k_(rotation.k),
          l_(rotation.l),
          kernels_(kernels),
          multiply_(kernels.products.of<T>()),
          blocks_{static_cast<int>(std::clamp<int64_t>(l_ * k_ * (n_ + l_) / kProductsPerThread, 1, threads)), l_ * k_ / 16, interrupted},
          w_(l_ * k_),
          lengths_(l_) {
        kernels.reflections.of<T>().unit_rows(rotation.v, l_, k_, w_.get(), lengths_.get());
    }

    void apply(T* y, T* q, T* s_inverse) {
        invert_gram_triangle(w_.get(), l_, k_, kernels_, blocks_, s_inverse);
        const T* x = rotation_.x;
        blocks_.for_each(n_, kRowsPerTask, [&](int64_t first, int64_t rows) {
            AlignedArray<T> p(rows * l_);
            if (x) {
                multiply_({rows, l_, k_, x + first * k_, k_, 1, w_.get(), 1, k_, 1, nullptr, 0, p.get(), l_});
            } else {
                for (int64_t j = 0; j < l_; ++j) {
                    for (int64_t i = 0; i < rows; ++i) p.get()[i * l_ + j] = w_.get()[j * k_ + first + i];
                }
            }
            times_triangle(rows, p.get(), s_inverse, !rotation_.transpose, 1, q + first * l_);
            T* to = y + first * k_;
            if (!x) {
                std::fill_n(to, rows * k_, T{0});
                for (int64_t i = 0; i < rows; ++i) to[i * k_ + first + i] = 1;
            }
            multiply_({rows, k_, l_, q + first * l_, l_, 1, w_.get(), k_, 1, -1, x ? x + first * k_ : to, k_, to, k_});
        });
    }

    void backward(const T* dy, const T* q, const T* s_inverse, T* dx, T* dv) {
        AlignedArray<T> z(n_ * l_);
        blocks_.for_each(n_, kRowsPerTask, [&](int64_t first, int64_t rows) {
            AlignedArray<T> p(rows * l_);
            multiply_({rows, l_, k_, dy + first * k_, k_, 1, w_.get(), 1, k_, 1, nullptr, 0, p.get(), l_});
            times_triangle(rows, p.get(), s_inverse, rotation_.transpose, -1, z.get() + first * l_);
            if (dx) multiply_({rows, k_, l_, z.get() + first * l_, l_, 1, w_.get(), k_, 1, 1, dy + first * k_, k_, dx + first * k_, k_});
        });

        const int64_t sums = std::clamp<int64_t>(n_ / kRowsPerSum, 1, kMaxSums);
        AlignedArray<T> a(sums * l_ * l_), spare((sums - 1) * l_ * k_);
        const int64_t blocks = ceil_div(l_, kBlock);
        parallel_for(sums * blocks, blocks_.threads, blocks_.interrupted, [&](Job& job, int64_t task) {
            const int64_t sum = task / blocks, row = sum * n_ / sums, n = (sum + 1) * n_ / sums - row;
            const Block block = {task % blocks * kBlock, std::min(kBlock, l_ - task % blocks * kBlock)};
            T* const part = sum == 0 ? dv : spare.get() + (sum - 1) * l_ * k_;
            add_rows(block, row, n, dy, q, z.get(), part);
            add_triangle(block, row, n, q, z.get(), a.get() + sum * l_ * l_);
            job.checkpoint(n * block.rows * k_ / 16);
        });
        blocks_.for_each(l_, kBlock, [&](int64_t first, int64_t rows) {
            for (int64_t sum = 1; sum < sums; ++sum) {
                add(spare.get() + (sum - 1) * l_ * k_ + first * k_, rows * k_, dv + first * k_);
                add(a.get() + sum * l_ * l_ + first * l_, rows * l_, a.get() + first * l_);
            }
        });
        blocks_.for_each(l_, kBlock, [&](int64_t first, int64_t rows) { finish({first, rows}, a.get(), dv); });
    }

private:
    struct Block {
        int64_t first, rows;
    };

    // q = alpha p triangle, or of its transpose, for an upper triangle.
    void times_triangle(int64_t rows, const T* p, const T* triangle, bool transposed, T alpha, T* q) const {
        for (int64_t first = 0; first < l_; first += kBlock) {
            const int64_t columns = std::min(kBlock, l_ - first);
            if (transposed) {
                multiply_(
                    {rows, columns, l_ - first, p + first, l_, 1, triangle + first * l_ + first, 1, l_, alpha, nullptr, 0, q + first, l_});
            } else {
                multiply_({rows, columns, first + columns, p, l_, 1, triangle + first, l_, 1, alpha, nullptr, 0, q + first, l_});
            }
        }
    }

    // A block's rows of z^T x - q^T dy.
    void add_rows(Block block, int64_t row, int64_t n, const T* dy, const T* q, const T* z, T* dw) const {
        T* const to = dw + block.first * k_;
        if (rotation_.x) {
            multiply_({block.rows, k_, n, z + row * l_ + block.first, 1, l_, rotation_.x + row * k_, k_, 1, 1, nullptr, 0, to, k_});
        } else {
            std::fill_n(to, block.rows * k_, T{0});
            for (int64_t i = 0; i < block.rows; ++i) {
                for (int64_t j = row; j < row + n; ++j) to[i * k_ + j] = z[j * l_ + block.first + i];
            }
        }
        multiply_({block.rows, k_, n, q + row * l_ + block.first, 1, l_, dy + row * k_, k_, 1, -1, to, k_, to, k_});
    }

    // A block's rows of -z^T q, upper triangle, or of its transpose.
    void add_triangle(Block block, int64_t row, int64_t n, const T* q, const T* z, T* a) const {
        const T *left = rotation_.transpose ? q : z, *right = rotation_.transpose ? z : q;
        multiply_({block.rows, l_ - block.first, n, left + row * l_ + block.first, 1, l_, right + row * l_ + block.first, l_, 1, -1,
                   nullptr, 0, a + block.first * l_ + block.first, l_});
    }

    // Adds to a block of dw its rows of a w, for the symmetric matrix with the upper triangle a, and makes of it that of dv.
    void finish(Block block, const T* a, T* dv) {
        const auto [first, rows] = block;
        const int64_t after = first + rows;
        T square[kBlock * kBlock];
        for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = i; j < rows; ++j) square[i * rows + j] = square[j * rows + i] = a[(first + i) * l_ + first + j];
        }
        T* const to = dv + first * k_;
        multiply_({rows, k_, rows, square, rows, 1, w_.get() + first * k_, k_, 1, 1, to, k_, to, k_});
        if (after < l_) multiply_({rows, k_, l_ - after, a + first * l_ + after, l_, 1, w_.get() + after * k_, k_, 1, 1, to, k_, to, k_});
        if (first > 0) multiply_({rows, k_, first, a + first, 1, l_, w_.get(), k_, 1, 1, to, k_, to, k_});
        for (int64_t i = 0; i < rows; ++i) {
            const T inverse = 1 / lengths_.get()[first + i];
            for (int64_t j = 0; j < k_; ++j) to[i * k_ + j] *= inverse;
        }
    }

    static void add(const T* from, int64_t n, T* to) {
        for (int64_t i = 0; i < n; ++i) to[i] += from[i];
    }

    const Rotation<T>& rotation_;
    const int64_t n_, k_, l_;
    const RotationKernels& kernels_;
    const Multiply<T> multiply_;
    const RowBlocks blocks_;
    AlignedArray<T> w_, lengths_;
};

}  // namespace

template <class T>
void householder_apply(const Rotation<T>& rotation, T* y, T* q, T* s_inverse, const RotationKernels& kernels, int threads,
                       const std::function<bool()>& interrupted) {
    RotationCall<T>(rotation, kernels, threads, interrupted).apply(y, q, s_inverse);
}

template <class T>
void householder_backward(const Rotation<T>& rotation, const T* dy, const T* q, const T* s_inverse, T* dx, T* dv,
                          const RotationKernels& kernels, int threads, const std::function<bool()>& interrupted) {
    RotationCall<T>(rotation, kernels, threads, interrupted).backward(dy, q, s_inverse, dx, dv);
}

template void householder_apply(const Rotation<float>&, float*, float*, float*, const RotationKernels&, int, const std::function<bool()>&);
template void householder_apply(const Rotation<double>&, double*, double*, double*, const RotationKernels&, int,
                                const std::function<bool()>&);
template void householder_backward(const Rotation<float>&, const float*, const float*, const float*, float*, float*, const RotationKernels&,
                                   int, const std::function<bool()>&);
template void householder_backward(const Rotation<double>&, const double*, const double*, const double*, double*, double*,
                                   const RotationKernels&, int, const std::function<bool()>&);

}  // namespace fasthash
