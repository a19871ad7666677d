#pragma once

// How wide the registers are at the level that a file is compiled for; code written with the compiler's vectors takes it.
#if defined(__AVX512F__)
#define FASTHASH_REGISTER_BYTES 64
#elif defined(__AVX2__)
#define FASTHASH_REGISTER_BYTES 32
#else
#define FASTHASH_REGISTER_BYTES 16
#endif
