#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fasthash {

// Uninitialised elements in huge pages where the system has them: memory that is read here and there, one address at a time,
// would otherwise wait for the translation of every address.
template <class T>
class HugeArray {
public:
    HugeArray() = default;
    explicit HugeArray(int64_t n) : n_bytes_(static_cast<size_t>(n) * sizeof(T)) {
        elements_ = static_cast<T*>(::operator new(n_bytes_, std::align_val_t{alignment()}));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (alignment() == kHugePage) madvise(elements_, n_bytes_, MADV_HUGEPAGE);
#endif
    }
    HugeArray(HugeArray&& other) noexcept
        : elements_(std::exchange(other.elements_, nullptr)), n_bytes_(std::exchange(other.n_bytes_, 0)) {}
    HugeArray& operator=(HugeArray&& other) noexcept {
        std::swap(elements_, other.elements_);
        std::swap(n_bytes_, other.n_bytes_);
        return *this;
    }
    ~HugeArray() {
        if (elements_) ::operator delete(elements_, std::align_val_t{alignment()});
    }
    T* get() { return elements_; }
    const T* get() const { return elements_; }
    int64_t n_bytes() const { return static_cast<int64_t>(n_bytes_); }

private:
    static constexpr size_t kHugePage = size_t{1} << 21;
    size_t alignment() const { return n_bytes_ >= kHugePage ? kHugePage : 64; }

    T* elements_ = nullptr;
    size_t n_bytes_ = 0;
};

}  // namespace fasthash
