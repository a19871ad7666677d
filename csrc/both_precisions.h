#pragma once

namespace fasthash {

// A kernel's functions for float and for double.
template <template <class> class Functions>
struct BothPrecisions {
    Functions<float> single_precision;
    Functions<double> double_precision;

    template <class T>
    const Functions<T>& of() const {
        if constexpr (sizeof(T) == sizeof(float)) return single_precision;
        else return double_precision;
    }
};

}  // namespace fasthash
