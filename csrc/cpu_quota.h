#pragma once

#include <string>

namespace fasthash {

// How many processors' time the control groups of this process let it have, a container's limit say: the least that its groups, of version 1
// or 2, and their ancestors allow; infinity without a limit, and where there are no control groups. `root` is the folder that /proc is in.
double cpu_quota(const std::string& root);

}  // namespace fasthash
