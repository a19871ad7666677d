#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernel.h"

namespace fasthash {

struct H2QSettings {
    BitLoss loss;
    Optimizer optimizer;
    double rate;
    bool cosine;  // from `rate` at the first step to 0 after the last one; else constant
    bool renormalize;
    int64_t epochs, batch_size;
    int64_t patience;  // epochs without a better objective on the held-out rows after which a run ends; 0 for all epochs
    uint64_t seed;     // of the order of rows; every run has its own
};

struct H2QEpoch {
    double objective;            // mean over the epoch's rows, each before its step
    double held_out;             // mean over the held-out rows after the epoch
    double orthogonality_error;  // the largest element of |U U^T - I|
};

// Training of several rotations of the same rows, each from its own start. It serves one thread at a time.
class H2QTrainer {
public:
    // x [n, k] and held_out [n_held_out, k], rows of length sqrt(k), stay the caller's; v [runs, k, k] is copied.
    H2QTrainer(const float* x, int64_t n, const float* held_out, int64_t n_held_out, int64_t k, const float* v, int64_t runs,
               const H2QSettings& settings, const H2QKernel& kernel, Multiply<float> multiply);
    ~H2QTrainer();

    // Trains every run for up to `epochs` more. When interrupted in the middle, the trainer is of no more use.
    void train(int64_t epochs, int threads, const std::function<bool()>& interrupted);

    bool finished() const;
    int64_t k() const { return k_; }
    int64_t runs() const { return static_cast<int64_t>(runs_.size()); }
    const std::vector<H2QEpoch>& history(int64_t run) const;
    const float* best(int64_t run) const;  // v [k, k] after the epoch of the least objective on the held-out rows

private:
    class Run;

    const float *x_, *held_out_;
    const int64_t n_, n_held_out_, k_;
    const H2QSettings settings_;
    const H2QKernel kernel_;
    const Multiply<float> multiply_;
    std::vector<std::unique_ptr<Run>> runs_;
};

}  // namespace fasthash
