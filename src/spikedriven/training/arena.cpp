// Memory for large CPU tensors: one range of addresses, the smallest hole that fits, neighbouring holes joined.
//
// The C library asks for a little more than a tensor needs, to align it, and gives the rest to small objects. A freed
// tensor's hole is then a few bytes too small for the next tensor of the same size. Here small objects never come
// between large ones. Pages stay with the process; what does not fit goes to PyTorch's allocator, with its errors.

#include <c10/core/CPUAllocator.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

namespace {

constexpr size_t kSmallest = 16 << 10;  // bytes; smaller tensors stay with PyTorch's allocator
constexpr size_t kGrain = 256;          // sizes and so addresses are multiples of it

class Arena final : public c10::Allocator {
 public:
  Arena(char* base, size_t size, c10::Allocator* others) : base_(base), size_(size), others_(others) {
    add_hole(0, size);
  }

  c10::DataPtr allocate(size_t bytes) override {
    char* data = bytes < kSmallest ? nullptr : take((bytes + kGrain - 1) / kGrain * kGrain);
    if (data == nullptr) return others_->allocate(bytes);
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return {data, data, &Arena::release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Arena::release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  static void release(void* data);

  std::mutex mutex;
  size_t used = 0, peak = 0, extent = 0;  // bytes: taken now, the most so far, up to the highest address so far

 private:
  char* take(size_t size) {
    std::lock_guard<std::mutex> guard(mutex);
    const auto best = by_size_.lower_bound({size, 0});
    if (best == by_size_.end()) return nullptr;
    const auto [hole, start] = *best;
    drop_hole(start, hole);
    if (hole > size) add_hole(start + size, hole - size);
    taken_[start] = size;
    used += size;
    peak = std::max(peak, used);
    extent = std::max(extent, start + size);
    return base_ + start;
  }

  void give(char* data) {
    c10::profiledCPUMemoryReporter().Delete(data);
    std::lock_guard<std::mutex> guard(mutex);
    size_t start = data - base_, size = taken_.at(start);
    taken_.erase(start);
    used -= size;
    const auto after = holes_.lower_bound(start);
    if (after != holes_.end() && after->first == start + size) {
      const auto [next, more] = *after;
      drop_hole(next, more);
      size += more;
    }
    const auto behind = holes_.lower_bound(start);
    if (behind != holes_.begin()) {
      const auto [previous, less] = *std::prev(behind);
      if (previous + less == start) {
        drop_hole(previous, less);
        start = previous;
        size += less;
      }
    }
    add_hole(start, size);
  }

  void add_hole(size_t start, size_t size) {
    holes_[start] = size;
    by_size_.insert({size, start});
  }

  void drop_hole(size_t start, size_t size) {
    holes_.erase(start);
    by_size_.erase({size, start});
  }

  bool holds(const char* data) const { return data >= base_ && data < base_ + size_; }

  char* const base_;
  const size_t size_;
  c10::Allocator* const others_;
  std::map<size_t, size_t> holes_;                // start -> size
  std::set<std::pair<size_t, size_t>> by_size_;   // (size, start)
  std::unordered_map<size_t, size_t> taken_;      // start -> size
};

Arena* arena = nullptr;  // never freed: tensors may outlive whatever would free it

void Arena::release(void* data) {
  if (arena->holds(static_cast<char*>(data))) {
    arena->give(static_cast<char*>(data));
  } else {
    arena->others_->raw_deleter()(data);
  }
}

// A forked process (a loader of images) has one thread: nobody there would unlock what another thread held.
void lock() { arena->mutex.lock(); }
void unlock() { arena->mutex.unlock(); }

}  // namespace

// Takes over from PyTorch's CPU allocator, with as many addresses as the machine has memory. 0 where they are refused.
extern "C" int arena_install() {
  const size_t size = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return 0;
  arena = new Arena(static_cast<char*>(base), size, c10::GetCPUAllocator());
  pthread_atfork(lock, unlock, unlock);
  c10::SetCPUAllocator(arena, /*priority=*/1);
  return 1;
}

extern "C" size_t arena_used() { return arena->used; }
extern "C" size_t arena_peak() { return arena->peak; }
extern "C" size_t arena_extent() { return arena->extent; }
