#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

namespace fasthash {

// Uninitialised elements that begin on a boundary of 64 bytes, as wide as the widest register.
template <class T>
class AlignedArray {
public:
    explicit AlignedArray(int64_t n) : elements_(static_cast<T*>(::operator new(static_cast<size_t>(n) * sizeof(T), kAlignment))) {
#ifdef FASTHASH_SANITIZE
        std::memset(elements_, 0xFF, static_cast<size_t>(n) * sizeof(T));  // NaN, so that a read of what was never written shows
#endif
    }
    ~AlignedArray() { ::operator delete(elements_, kAlignment); }
    AlignedArray(const AlignedArray&) = delete;
    AlignedArray& operator=(const AlignedArray&) = delete;
    T* get() { return elements_; }

private:
    static constexpr std::align_val_t kAlignment{64};
    T* elements_;
};

}  // namespace fasthash
