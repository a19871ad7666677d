#pragma once

// One value at a time: what the columns need that are not taken many at once.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace fasthash {

template <class T>
using Key = std::conditional_t<sizeof(T) == sizeof(uint32_t), uint32_t, uint64_t>;

template <class T>
constexpr Key<T> kSign = Key<T>{1} << (8 * sizeof(T) - 1);

// A value as an integer of the same order. Both zeros are one key, and every NaN comes after all numbers, as in torch.sort.
template <class T>
Key<T> key_of(T value) {
    value = std::isnan(value) ? std::numeric_limits<T>::quiet_NaN() : value + T{0};
    Key<T> bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits & kSign<T> ? ~bits : bits | kSign<T>;
}

template <class T>
T value_of(Key<T> key) {
    const Key<T> bits = key & kSign<T> ? key ^ kSign<T> : ~key;
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// |d|^p and its derivative.
struct Loss {
    double p;

    double cost(double d) const {
        if (p == 2) return d * d;
        if (p == 1) return std::abs(d);
        return std::pow(std::abs(d), p);
    }
    double slope(double d) const {
        if (p == 2) return 2 * d;
        const double sign = d > 0 ? 1 : (d < 0 ? -1 : d);  // a NaN stays one
        return p == 1 ? sign : p * std::pow(std::abs(d), p - 1) * sign;
    }
};

}  // namespace fasthash
