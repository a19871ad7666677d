#include "verify.h"

namespace fasthash {

namespace {

int64_t select(const Probe& probe, const Bucket* buckets, int64_t n_buckets, uint32_t* entries) {
    return probe.words ? select_near(probe, buckets, n_buckets, entries) : select_all(buckets, n_buckets, entries);
}

}  // namespace

MultiIndexKernel multi_index_kernel_v2() { return {select, verify}; }

}  // namespace fasthash
