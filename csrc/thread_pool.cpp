#include "thread_pool.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

#include "cpu_quota.h"

namespace fasthash {

namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(50);

// Read when the core is loaded, as reading it takes longer than a small search.
const double kQuota = cpu_quota("");

int affinity() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n == 0 ? 1 : static_cast<int>(n);
}

}  // namespace

int processors(double quota) { return static_cast<int>(std::min<double>(affinity(), std::ceil(quota))); }

int default_threads() {
    const char* value = std::getenv("FASTHASH_THREADS");
    if (value == nullptr || *value == '\0') return processors(kQuota);
    char* end = nullptr;
    const long n = std::strtol(value, &end, 10);
    if (*end != '\0' || n < 1 || n > 4096) {
        throw std::invalid_argument("FASTHASH_THREADS: expected an integer from 1 to 4096, got '" + std::string(value) + "'");
    }
    return static_cast<int>(n);
}

void Job::poll() {
    last_poll_ = std::chrono::steady_clock::now();
    if (interrupted_()) {
        was_interrupted_ = true;
        stop_ = true;
    }
}

void Job::check_interrupt() {
    if (!stop_ && std::this_thread::get_id() == caller_ && std::chrono::steady_clock::now() - last_poll_ >= kPollInterval) poll();
    if (stop_) throw Interrupted{};
}

// Owns the worker threads. They live as long as the process: joining them at exit could deadlock the interpreter.
class Pool {
public:
    static Pool& instance() { return *current_; }

    void run(Job& job, int threads) {
        {
            std::lock_guard lock(mutex_);
            start_workers(threads - 1);
            job.helpers_wanted_ = std::min(threads - 1, n_workers_);
            if (job.helpers_wanted_ > 0) jobs_.push_back(&job);
        }
        job_added_.notify_all();
        run_tasks(job);
        std::unique_lock lock(mutex_);
        withdraw(job);
        while (job.helpers_running_ > 0) {
            if (helper_done_.wait_for(lock, kPollInterval) == std::cv_status::timeout && !job.stop_) {
                lock.unlock();
                job.poll();
                lock.lock();
            }
        }
    }

    void run_tasks(Job& job) {
        try {
            job.run_tasks();
        } catch (const Interrupted&) {
        } catch (...) {
            std::lock_guard lock(mutex_);
            if (!job.error_) job.error_ = std::current_exception();
            job.stop_ = true;
        }
    }

private:
    // Up to so many in all; where the system has no more threads, those there are do the work.
    void start_workers(int n) {
        try {
            for (; n_workers_ < n; ++n_workers_) std::thread([this] { work(); }).detach();
        } catch (const std::system_error&) {}
    }

    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            job_added_.wait(lock, [this] { return !jobs_.empty(); });
            Job& job = *jobs_.front();
            ++job.helpers_running_;
            if (--job.helpers_wanted_ == 0) withdraw(job);
            lock.unlock();
            run_tasks(job);
            lock.lock();
            --job.helpers_running_;
            withdraw(job);
            helper_done_.notify_all();
        }
    }

    void withdraw(Job& job) {
        for (auto it = jobs_.begin(); it != jobs_.end(); ++it) {
            if (*it == &job) {
                jobs_.erase(it);
                return;
            }
        }
    }

    // Made when the core is loaded, not by the first search: a fork in the midst of that would leave it half made.
    static Pool* made() {
#if !defined(_WIN32)
        pthread_atfork(nullptr, nullptr, [] { current_ = new Pool; });  // a fork copies none of the workers
#endif
        return new Pool;
    }

    static Pool* current_;
    std::mutex mutex_;
    std::condition_variable job_added_, helper_done_;
    std::deque<Job*> jobs_;
    int n_workers_ = 0;
};

Pool* Pool::current_ = Pool::made();

void Job::run_tasks() {
    for (;;) {
        if (stop_) throw Interrupted{};
        const int64_t i = next_task_.fetch_add(1);
        if (i >= n_tasks_) return;
        task_(*this, i);
    }
}

void parallel_for(int64_t n_tasks, int threads, const std::function<bool()>& interrupted, const std::function<void(Job&, int64_t)>& task) {
    if (n_tasks <= 0) return;
    Job job(n_tasks, task, interrupted);
    if (threads <= 1 || n_tasks == 1) {
        Pool::instance().run_tasks(job);
    } else {
        Pool::instance().run(job, static_cast<int>(n_tasks < threads ? n_tasks : threads));
    }
    if (job.error_) std::rethrow_exception(job.error_);
    if (job.was_interrupted_) throw Interrupted{};
}

}  // namespace fasthash
