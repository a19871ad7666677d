#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>

namespace fasthash {

// Thrown out of parallel_for when the interrupt callback asked for the work to stop.
struct Interrupted {};

// The processors that this process may run on, no more than give it this many processors' time.
int processors(double quota);

// FASTHASH_THREADS if set, else the processors, by the quota that there was when the core was loaded.
// Throws std::invalid_argument when FASTHASH_THREADS is not a positive integer.
int default_threads();

class Job;

// Runs task(job, i) for i in [0, n_tasks) on at most `threads` threads, the caller's among them, in no fixed order.
// `interrupted` is called on the caller's thread about twenty times a second; once it returns true, Interrupted is thrown.
// The first exception of a task is rethrown. Safe to call from several threads at once and after a fork.
void parallel_for(int64_t n_tasks, int threads, const std::function<bool()>& interrupted, const std::function<void(Job&, int64_t)>& task);

// What a task may ask of the call it belongs to.
class Job {
public:
    // Long tasks report their progress here in units of about a nanosecond. Throws Interrupted when the call is to stop.
    void checkpoint(int64_t work) {
        thread_local int64_t pending = 0;
        pending += work;
        if (pending >= (int64_t{1} << 22)) {
            pending = 0;
            check_interrupt();
        }
    }

private:
    friend class Pool;
    friend void parallel_for(int64_t, int, const std::function<bool()>&, const std::function<void(Job&, int64_t)>&);

    Job(int64_t n_tasks, const std::function<void(Job&, int64_t)>& task, const std::function<bool()>& interrupted)
        : n_tasks_(n_tasks), task_(task), interrupted_(interrupted) {}

    void check_interrupt();
    void poll();
    void run_tasks();

    const int64_t n_tasks_;
    const std::function<void(Job&, int64_t)>& task_;
    const std::function<bool()>& interrupted_;
    const std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point last_poll_ = std::chrono::steady_clock::now();
    std::atomic<int64_t> next_task_{0};
    std::atomic<bool> stop_{false};
    bool was_interrupted_ = false;  // written by the caller's thread only
    std::exception_ptr error_;      // guarded by the pool's mutex, as are the next two
    int helpers_wanted_ = 0;
    int helpers_running_ = 0;
};

}  // namespace fasthash
