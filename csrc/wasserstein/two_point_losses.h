// |d|^p and its derivative times a scale, for a register of differences d; in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "../registers.h"

namespace fasthash {
namespace {

template <class T>
struct Square {
    using Values = typename Register<T>::Values;
    T scale;
    Values cost(Values d) const { return d * d; }
    Values slope(Values d) const { return d * (scale + scale); }
};

template <class T>
struct Absolute {
    using Values = typename Register<T>::Values;
    T scale;
    Values cost(Values d) const { return d < 0 ? -d : d; }
    Values slope(Values d) const {
        const Values zero = {}, one = zero + scale;
        return d > 0 ? one : (d < 0 ? -one : d);  // a NaN stays one
    }
};

template <class T>
struct Power {
    using Values = typename Register<T>::Values;
    double p;
    T scale;
    Values cost(Values d) const { return powers(d < 0 ? -d : d, p); }
    Values slope(Values d) const {
        const Values magnitude = powers(d < 0 ? -d : d, p - 1) * (scale * static_cast<T>(p));
        return d > 0 ? magnitude : (d < 0 ? -magnitude : d);
    }
    static Values powers(Values x, double exponent) {
        for (int lane = 0; lane < kLanes<T>; ++lane) x[lane] = power(x[lane], exponent);
        return x;
    }
    static T power(T x, double exponent) {
        if constexpr (sizeof(T) == sizeof(float)) return __builtin_powf(x, static_cast<float>(exponent));
        else return __builtin_pow(x, exponent);
    }
};

}  // namespace
}  // namespace fasthash
