// Each level's file includes this one; everything is in an anonymous namespace, so that no level's code can stand in for
// another's at link time.
#pragma once

#include "bit_losses.h"
#include "rotation.h"
#include "row_registers.h"

namespace fasthash {
namespace {

double objective(const float* x, int64_t n, float* z, BitLoss loss, const H2QState& state) {
    const int64_t k = state.k;
    state.multiply({n, k, k, x, k, 1, state.matrices[kRotation], k, 1, 1, nullptr, 0, z, k});
    Objective total;
    for (int64_t i = 0; i < n; ++i) total.row(z + i * k, k, loss, 0);
    return total.sum;
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
    Floats products = {};
    for_each_register(k, [&](int64_t j, int width) { products += load(w + j, width) * load(slope + j, width); });
    const Floats along = all(static_cast<float>(sum_of(products))), scale = all(1 / state.lengths[row]);
    for_each_register(k, [&](int64_t j, int width) {
        const Floats gradient = (load(slope + j, width) - load(w + j, width) * along) * scale;
        Floats change = gradient;
        if (step.optimizer == Optimizer::adam) {
            const Floats mean = load(first + j, width) * kFirst + gradient * (1 - kFirst);
            const Floats square = load(second + j, width) * kSecond + gradient * gradient * (1 - kSecond);
            store(first + j, mean, width);
            store(second + j, square, width);
            Floats deviation;
            for (int lane = 0; lane < kWidth; ++lane) deviation[lane] = root(square[lane]);
            change = mean / (deviation / step.root_correction + kEpsilon);
        }
        store(v + j, load(v + j, width) - change * step.rate, width);
    });
    if (!step.renormalize) return;
    const Floats unit = all(1 / root(sum_of_squares(v, k)));
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
