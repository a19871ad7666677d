#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

#include "../matrix_product/kernel.h"

namespace fasthash {

enum class Isa;

constexpr double kMomentDecay = 0.9, kSquareDecay = 0.999;  // Adam's

enum class BitLoss { l2, l1, min_entry, bit_var };
enum class Optimizer { sgd, adam };

// Matrices of float [k, k] that a step works in, in C order, each aligned to 64 bytes.
enum H2QMatrix { kUnit, kTriangleInverse, kScaled, kRotation, kScratch, kOther, kGradient, kH2QMatrices };

// The rotation U of k dimensions is the product of the reflections that the rows of v stand for.
struct H2QState {
    int64_t k;
    float* v;              // [k, k]
    float* first_moment;   // [k, k]
    float* second_moment;  // [k, k]; unused by SGD
    float* lengths;        // [k], of the rows of v; scratch, as the matrices are
    float* matrices[kH2QMatrices];
    Multiply<float> multiply;
};

struct H2QStep {
    const float* x;  // [n, k], rows of length sqrt(k)
    int64_t n;
    float* z;  // [n, k], scratch
    BitLoss loss;
    Optimizer optimizer;
    float rate;             // of the step; Adam's with the first moment's correction
    float root_correction;  // Adam's, of the second moment: sqrt(1 - 0.999^t)
    bool renormalize;       // whether the rows of v are given length 1 after the step
};

struct H2QKernel {
    // One step of the optimiser; returns the objective before it.
    double (*step)(const H2QStep& step, const H2QState& state);
    // Computes U^T [k, k], state.matrices[kRotation], from v.
    void (*rotation)(const H2QState& state);
    // The sum over the rows of x of the objective times k under the rotation of the last call of `rotation`.
    double (*objective)(const float* x, int64_t n, float* z, BitLoss loss, const H2QState& state);
};

H2QKernel h2q_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
