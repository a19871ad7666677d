// Each level's file includes this one; everything is in an anonymous namespace, so that no level's code can stand in for
// another's at link time.
#include "../householder/reflections.h"
#include "kernel.h"

namespace fasthash {
namespace {

using Values = Register<float>::Values;
using Integers = Register<float>::Integers;
constexpr int kWidth = kLanes<float>;

Values all(float x) { return Values{} + x; }

// Calls f on whole registers, and on a last one that is filled up with zeros and of which only what exists is written back.
template <class F>
void for_each_register(int64_t n, const F& f) {
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) f(i, kWidth);
    if (i < n) f(i, static_cast<int>(n - i));
}

double sum_of(Values values) {
    double sum = 0;
    for (int lane = 0; lane < kWidth; ++lane) sum += static_cast<double>(values[lane]);
    return sum;
}

// e^x to 2e-7, for x <= 0 or not far above.
Values exponential(Values x) {
    x = x < -87.0F ? all(-87.0F) : x;
    const Values shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the nearest integer is in the last bits
    const Values whole = shifted - 12582912.0F;
    const Values r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
    const Values series = 1.0F + r * (1.0F + r * (0.5F + r * (0.16666667F + r * (0.041666668F + r * (8.3333338e-3F + r * 1.3888889e-3F)))));
    return series * (Values)(((Integers)shifted << 23) + (127 << 23));
}

// Blocks of rows, for triangles: what is known to be zero, or not needed, is skipped.
template <class F>
void for_blocks(int64_t n, const F& f) {
    constexpr int64_t kRows = 64;
    for (int64_t first = 0; first < n; first += kRows) f(first, n - first < kRows ? n - first : kRows);
}

struct Objective {
    double sum = 0;

    // Adds the objectives of one row times k; the row becomes its gradient times `scale` if that is not 0.
    void row(float* z, int64_t k, BitLoss loss, float scale) {
        switch (loss) {
            case BitLoss::l2: return elements(z, k, scale, [](Values u, Values& slope) {
                const Values d = u - (u > 0 ? all(1) : all(-1));
                slope = 2 * d;
                return d * d;
            });
            case BitLoss::l1: return elements(z, k, scale, [](Values u, Values& slope) {
                const Values d = u - (u > 0 ? all(1) : all(-1));
                slope = d > 0 ? all(1) : (d < 0 ? all(-1) : all(0));
                return d < 0 ? -d : d;
            });
            case BitLoss::bit_var: return elements(z, k, scale, [](Values u, Values& slope) {
                const Values e = exponential(u < 0 ? u : -u), s = 1 / (1 + e), variance = s * s * e;
                slope = variance * (u < 0 ? (1 - e) * s : (e - 1) * s);
                return variance;
            });
            case BitLoss::min_entry: return min_entry(z, k, scale);
        }
    }

private:
    template <class F>
    void elements(float* z, int64_t k, float scale, const F& f) {
        Values total = {};
        for_each_register(k, [&](int64_t i, int width) {
            Values slope;
            Values cost = f(load(z + i, width), slope);
            for (int lane = width; lane < kWidth; ++lane) cost[lane] = 0;
            total += cost;
            if (scale != 0) store(z + i, slope * scale, width);
        });
        sum += sum_of(total);
    }

    // k log(sum of e^(-z^2)): the smallest entry of a row dominates.
    void min_entry(float* z, int64_t k, float scale) {
        float least = z[0] * z[0];
        for (int64_t i = 1; i < k; ++i) least = z[i] * z[i] < least ? z[i] * z[i] : least;
        Values total = {};
        for_each_register(k, [&](int64_t i, int width) {
            const Values u = load(z + i, width);
            Values e = exponential(least - u * u);
            for (int lane = width; lane < kWidth; ++lane) e[lane] = 0;
            total += e;
        });
        const double whole = sum_of(total);
        sum += static_cast<double>(k) * (__builtin_log(whole) - static_cast<double>(least));
        if (scale == 0) return;
        const Values factor = all(static_cast<float>(-2.0 * static_cast<double>(k) / whole) * scale);
        for_each_register(k, [&](int64_t i, int width) {
            const Values u = load(z + i, width);
            store(z + i, exponential(least - u * u) * u * factor, width);
        });
    }
};

// Inverts the upper triangle of s [n, n], which is destroyed, into `inverse`, whose lower triangle is not touched; both have rows
// of `stride`. From the inverses A' and C' of the diagonal blocks of [A B; 0 C], that of B's place is -A' B C'.
void invert_upper(float* s, int64_t n, int64_t stride, float* inverse, Multiply<float> multiply) {
    if (n <= kTriangle) return invert_triangle(s, static_cast<int>(n), stride, inverse);
    const int64_t half = (n / 2 + kWidth - 1) / kWidth * kWidth, rest = n - half, diagonal = half * stride + half;
    float* const corner = inverse + half;
    invert_upper(s, half, stride, inverse, multiply);
    invert_upper(s + diagonal, rest, stride, inverse + diagonal, multiply);
    multiply({half, rest, half, inverse, stride, 1, s + half, stride, 1, -1, nullptr, 0, corner, stride});
    for (int64_t i = 0; i < half; ++i) __builtin_memcpy(s + i * stride + half, corner + i * stride, static_cast<size_t>(rest) * sizeof(float));
    multiply({half, rest, rest, s + half, stride, 1, inverse + diagonal, stride, 1, 1, nullptr, 0, corner, stride});
}

// With W the rows of v divided by their lengths, S the upper triangle of W W^T with half of the diagonal and M = S^-1 W:
// U^T = I - M^T W.
void rotation(const H2QState& state) {
    const int64_t k = state.k, size = k * k;
    float* const w = state.matrices[kUnit];
    float* const s = state.matrices[kScratch];
    float* const inverse = state.matrices[kTriangleInverse];
    float* const m = state.matrices[kScaled];
    float* const rotation_t = state.matrices[kRotation];
    unit_rows(state.v, k, k, w, state.lengths);
    for_blocks(k, [&](int64_t first, int64_t rows) {
        const float* from = w + first * k;
        state.multiply({rows, k - first, k, from, k, 1, from, 1, k, 1, nullptr, 0, s + first * k + first, k});
    });
    for (int64_t i = 0; i < k; ++i) s[i * k + i] *= 0.5F;
    __builtin_memset(inverse, 0, static_cast<size_t>(size) * sizeof(float));
    invert_upper(s, k, k, inverse, state.multiply);
    for_blocks(k, [&](int64_t first, int64_t rows) {
        state.multiply({rows, k, k - first, inverse + first * k + first, k, 1, w + first * k, k, 1, 1, nullptr, 0, m + first * k, k});
    });
    __builtin_memset(rotation_t, 0, static_cast<size_t>(size) * sizeof(float));
    for (int64_t i = 0; i < k; ++i) rotation_t[i * k + i] = 1;
    state.multiply({k, k, k, m, 1, k, w, k, 1, -1, rotation_t, k, rotation_t, k});
}

double objective(const float* x, int64_t n, float* z, BitLoss loss, const H2QState& state) {
    const int64_t k = state.k;
    state.multiply({n, k, k, x, k, 1, state.matrices[kRotation], k, 1, 1, nullptr, 0, z, k});
    Objective total;
    for (int64_t i = 0; i < n; ++i) total.row(z + i * k, k, loss, 0);
    return total.sum;
}

// The gradient in W, [k, k], of a function of U whose gradient in U^T is `slope`: with T = S^-T W slope^T and
// A the upper triangle of T M^T with half of the diagonal, it is (A + A^T) W - M slope - T.
void pull_back(const float* slope, const H2QState& state, float* scratch, float* gradient) {
    const int64_t k = state.k;
    const float* const w = state.matrices[kUnit];
    const float* const inverse = state.matrices[kTriangleInverse];
    const float* const m = state.matrices[kScaled];
    state.multiply({k, k, k, w, k, 1, slope, 1, k, 1, nullptr, 0, scratch, k});
    for_blocks(k, [&](int64_t first, int64_t rows) {
        state.multiply({rows, k, first + rows, inverse + first, 1, k, scratch, k, 1, -1, nullptr, 0, gradient + first * k, k});
    });
    for_blocks(k, [&](int64_t first, int64_t rows) {
        state.multiply({rows, k - first, k, gradient + first * k, k, 1, m + first * k, 1, k, -1, nullptr, 0, scratch + first * k + first, k});
    });
    for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = i + 1; j < k; ++j) scratch[j * k + i] = scratch[i * k + j];
    }
    state.multiply({k, k, k, m, k, 1, slope, k, 1, -1, gradient, k, gradient, k});
    state.multiply({k, k, k, scratch, k, 1, w, k, 1, 1, gradient, k, gradient, k});
}

// Moves a row of v against its gradient: that in W without its part along w, divided by the row's length.
void update_row(const H2QStep& step, const H2QState& state, int64_t row) {
    constexpr float kFirst = static_cast<float>(kMomentDecay), kSecond = static_cast<float>(kSquareDecay), kEpsilon = 1e-8F;
    const int64_t k = state.k;
    float* const v = state.v + row * k;
    float* const first = state.first_moment + row * k;
    float* const second = state.second_moment + row * k;
    const float* const w = state.matrices[kUnit] + row * k;
    const float* const slope = state.matrices[kGradient] + row * k;
    Values products = {};
    for_each_register(k, [&](int64_t j, int width) { products += load(w + j, width) * load(slope + j, width); });
    const Values along = all(static_cast<float>(sum_of(products))), scale = all(1 / state.lengths[row]);
    for_each_register(k, [&](int64_t j, int width) {
        const Values gradient = (load(slope + j, width) - load(w + j, width) * along) * scale;
        Values change = gradient;
        if (step.optimizer == Optimizer::adam) {
            const Values mean = load(first + j, width) * kFirst + gradient * (1 - kFirst);
            const Values square = load(second + j, width) * kSecond + gradient * gradient * (1 - kSecond);
            store(first + j, mean, width);
            store(second + j, square, width);
            Values deviation;
            for (int lane = 0; lane < kWidth; ++lane) deviation[lane] = root(square[lane]);
            change = mean / (deviation / step.root_correction + kEpsilon);
        }
        store(v + j, load(v + j, width) - change * step.rate, width);
    });
    if (!step.renormalize) return;
    const Values unit = all(1 / root(sum_of_squares(v, k)));
    for_each_register(k, [&](int64_t j, int width) { store(v + j, load(v + j, width) * unit, width); });
}

double step(const H2QStep& step, const H2QState& state) {
    const int64_t k = state.k;
    rotation(state);
    float* const slope = state.matrices[kOther];
    state.multiply({step.n, k, k, step.x, k, 1, state.matrices[kRotation], k, 1, 1, nullptr, 0, step.z, k});
    Objective total;
    const float scale = 1 / static_cast<float>(step.n * k);
    for (int64_t i = 0; i < step.n; ++i) total.row(step.z + i * k, k, step.loss, scale);
    state.multiply({k, k, step.n, step.x, 1, k, step.z, k, 1, 1, nullptr, 0, slope, k});
    pull_back(slope, state, state.matrices[kScratch], state.matrices[kGradient]);
    for (int64_t row = 0; row < k; ++row) update_row(step, state, row);
    return total.sum * static_cast<double>(scale);
}

}  // namespace
}  // namespace fasthash
