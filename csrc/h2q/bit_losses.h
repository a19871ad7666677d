// What the bits of the rotated rows cost, and the gradients; in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "kernel.h"
#include "row_registers.h"

namespace fasthash {
namespace {

// e^x to 2e-7, for x <= 0 or not far above.
Floats exponential(Floats x) {
    x = x < -87.0F ? all(-87.0F) : x;
    const Floats shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the nearest integer is in the last bits
    const Floats whole = shifted - 12582912.0F;
    const Floats r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
    const Floats series = 1.0F + r * (1.0F + r * (0.5F + r * (0.16666667F + r * (0.041666668F + r * (8.3333338e-3F + r * 1.3888889e-3F)))));
    return series * (Floats)(((Register<float>::Integers)shifted << 23) + (127 << 23));
}

struct Objective {
    double sum = 0;

    // Adds the objectives of one row times k; the row becomes its gradient times `scale` if that is not 0.
    void row(float* z, int64_t k, BitLoss loss, float scale) {
        switch (loss) {
            case BitLoss::l2:
                return elements(z, k, scale, [](Floats u, Floats& slope) {
                    const Floats d = u - (u > 0 ? all(1) : all(-1));
                    slope = 2 * d;
                    return d * d;
                });
            case BitLoss::l1:
                return elements(z, k, scale, [](Floats u, Floats& slope) {
                    const Floats d = u - (u > 0 ? all(1) : all(-1));
                    slope = d > 0 ? all(1) : (d < 0 ? all(-1) : all(0));
                    return d < 0 ? -d : d;
                });
            case BitLoss::bit_var:
                return elements(z, k, scale, [](Floats u, Floats& slope) {
                    const Floats e = exponential(u < 0 ? u : -u), s = 1 / (1 + e), variance = s * s * e;
                    slope = variance * (u < 0 ? (1 - e) * s : (e - 1) * s);
                    return variance;
                });
            case BitLoss::min_entry: return min_entry(z, k, scale);
        }
    }

private:
    template <class F>
    void elements(float* z, int64_t k, float scale, const F& f) {
        Floats total = {};
        for_each_register(k, [&](int64_t i, int width) {
            Floats slope;
            Floats cost = f(load(z + i, width), slope);
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
        Floats total = {};
        for_each_register(k, [&](int64_t i, int width) {
            const Floats u = load(z + i, width);
            Floats e = exponential(least - u * u);
            for (int lane = width; lane < kWidth; ++lane) e[lane] = 0;
            total += e;
        });
        const double whole = sum_of(total);
        sum += static_cast<double>(k) * (__builtin_log(whole) - static_cast<double>(least));
        if (scale == 0) return;
        const Floats factor = all(static_cast<float>(-2.0 * static_cast<double>(k) / whole) * scale);
        for_each_register(k, [&](int64_t i, int width) {
            const Floats u = load(z + i, width);
            store(z + i, exponential(least - u * u) * u * factor, width);
        });
    }
};

}  // namespace
}  // namespace fasthash
