// A few threads that stay, for loops whose parts are independent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sd {

class Threads {
  public:
    /// `size` threads, the calling one included. std::system_error where the system gives no more.
    explicit Threads(int size);
    ~Threads();
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

    int size() const { return int(workers_.size()) + 1; }
    /// part(i, thread) for every i < parts; returns when all are done. Which thread takes which part is left open.
    /// What a part throws is thrown here, after the last thread has stopped.
    void each(int parts, const std::function<void(int, int)>& part);

  private:
    void work(int thread);
    void take(int thread);
    void start(int size);
    void stop();
    bool forked() const;
    void forget();

    long process_;
    std::vector<std::thread> workers_;
    const std::function<void(int, int)>* part_ = nullptr;
    int parts_ = 0;
    std::atomic<int> next_{0}, busy_{0};
    std::atomic<uint64_t> round_{0};
    std::atomic<bool> stop_{false};
    std::exception_ptr error_;
    std::mutex mutex_;
    std::condition_variable wake_;
};

}  // namespace sd
