#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "../aligned_array.h"
#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kRowsAtOnce = 256;  // of the held-out ones
constexpr double kPi = 3.14159265358979323846;

}  // namespace

class H2QTrainer::Run {
public:
    Run(const H2QTrainer& trainer, const float* v, uint64_t seed)
        : trainer_(trainer),
          k_(trainer.k_),
          rows_(std::max(trainer.settings_.batch_size, kRowsAtOnce)),
          v_(k_ * k_),
          first_(k_ * k_),
          second_(k_ * k_),
          lengths_(k_),
          matrices_(kH2QMatrices * matrix_size()),
          x_(rows_ * k_),
          z_(rows_ * k_),
          best_(v, v + k_ * k_),
          order_(static_cast<size_t>(trainer.n_)),
          random_(seed) {
        std::copy_n(v, k_ * k_, v_.get());
        std::fill_n(first_.get(), k_ * k_, 0.0F);
        std::fill_n(second_.get(), k_ * k_, 0.0F);
        std::iota(order_.begin(), order_.end(), int64_t{0});
        state_ = {k_, v_.get(), first_.get(), second_.get(), lengths_.get(), {}, trainer.multiply_};
        for (int i = 0; i < kH2QMatrices; ++i) state_.matrices[i] = matrices_.get() + i * matrix_size();
    }

    bool finished() const {
        const int64_t epochs = static_cast<int64_t>(history_.size()), patience = trainer_.settings_.patience;
        return epochs >= trainer_.settings_.epochs || (patience > 0 && epochs - best_epoch_ >= patience);
    }

    void epoch(Job& job) {
        for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random_() % i]);
        double sum = 0;
        for (int64_t first = 0; first < trainer_.n_; first += trainer_.settings_.batch_size) {
            const int64_t rows = std::min(trainer_.settings_.batch_size, trainer_.n_ - first);
            for (int64_t i = 0; i < rows; ++i) {
                std::copy_n(trainer_.x_ + order_[static_cast<size_t>(first + i)] * k_, k_, x_.get() + i * k_);
            }
            sum += step(rows) * static_cast<double>(rows);
            job.checkpoint(k_ * k_ * (k_ + rows) / 4);
        }
        trainer_.kernel_.rotation(state_);
        history_.push_back({sum / static_cast<double>(trainer_.n_), held_out(job), orthogonality_error()});
        if (history_.back().held_out < best_held_out_) {
            best_held_out_ = history_.back().held_out;
            best_epoch_ = static_cast<int64_t>(history_.size());
            best_.assign(v_.get(), v_.get() + k_ * k_);
        }
    }

    const std::vector<H2QEpoch>& history() const { return history_; }
    const float* best() const { return best_.data(); }

private:
    int64_t matrix_size() const { return round_up(k_ * k_, 16); }

    double step(int64_t rows) {
        const H2QSettings& settings = trainer_.settings_;
        const int64_t batches = ceil_div(trainer_.n_, settings.batch_size);
        const double done = static_cast<double>(steps_) / static_cast<double>(batches * settings.epochs);
        double rate = settings.cosine ? settings.rate * (1 + std::cos(kPi * done)) / 2 : settings.rate;
        const double t = static_cast<double>(++steps_);
        if (settings.optimizer == Optimizer::adam) rate /= 1 - std::pow(kMomentDecay, t);
        const double root_correction = std::sqrt(1 - std::pow(kSquareDecay, t));
        return trainer_.kernel_.step({x_.get(), rows, z_.get(), settings.loss, settings.optimizer, static_cast<float>(rate),
                                      static_cast<float>(root_correction), settings.renormalize},
                                     state_);
    }

    double held_out(Job& job) {
        double sum = 0;
        for (int64_t first = 0; first < trainer_.n_held_out_; first += kRowsAtOnce) {
            const int64_t rows = std::min(kRowsAtOnce, trainer_.n_held_out_ - first);
            sum += trainer_.kernel_.objective(trainer_.held_out_ + first * k_, rows, z_.get(), trainer_.settings_.loss, state_);
            job.checkpoint(rows * k_ * k_ / 8);
        }
        return sum / static_cast<double>(trainer_.n_held_out_ * k_);
    }

    double orthogonality_error() const {
        const float* const u = state_.matrices[kRotation];
        float worst = 0;
        for (int64_t i = 0; i < k_; ++i) {
            for (int64_t j = 0; j <= i; ++j) {
                const float product = std::inner_product(u + i * k_, u + (i + 1) * k_, u + j * k_, 0.0F);
                const float error = std::abs(product - (i == j ? 1.0F : 0.0F));
                if (!(error <= worst)) worst = error;  // a NaN too
            }
        }
        return worst;
    }

    const H2QTrainer& trainer_;
    const int64_t k_, rows_;
    AlignedArray<float> v_, first_, second_, lengths_, matrices_, x_, z_;
    H2QState state_;
    int64_t steps_ = 0, best_epoch_ = 0;
    double best_held_out_ = std::numeric_limits<double>::infinity();
    std::vector<float> best_;
    std::vector<H2QEpoch> history_;
    std::vector<int64_t> order_;
    std::mt19937_64 random_;
};

H2QTrainer::H2QTrainer(const float* x, int64_t n, const float* held_out, int64_t n_held_out, int64_t k, const float* v, int64_t runs,
                       const H2QSettings& settings, const H2QKernel& kernel, Multiply<float> multiply)
    : x_(x), held_out_(held_out), n_(n), n_held_out_(n_held_out), k_(k), settings_(settings), kernel_(kernel), multiply_(multiply) {
    for (int64_t run = 0; run < runs; ++run) {
        runs_.push_back(std::make_unique<Run>(*this, v + run * k * k, settings.seed + static_cast<uint64_t>(run)));
    }
}

H2QTrainer::~H2QTrainer() = default;

void H2QTrainer::train(int64_t epochs, int threads, const std::function<bool()>& interrupted) {
    parallel_for(runs(), threads, interrupted, [&](Job& job, int64_t run) {
        Run& task = *runs_[static_cast<size_t>(run)];
        for (int64_t epoch = 0; epoch < epochs && !task.finished(); ++epoch) task.epoch(job);
    });
}

bool H2QTrainer::finished() const {
    return std::all_of(runs_.begin(), runs_.end(), [](const auto& run) { return run->finished(); });
}

const std::vector<H2QEpoch>& H2QTrainer::history(int64_t run) const { return runs_[static_cast<size_t>(run)]->history(); }

const float* H2QTrainer::best(int64_t run) const { return runs_[static_cast<size_t>(run)]->best(); }

}  // namespace fasthash
