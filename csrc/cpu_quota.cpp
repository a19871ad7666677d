#include "cpu_quota.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace fasthash {

namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// Where a hierarchy of groups is mounted, and which of its groups that place is.
struct Hierarchy {
    std::string folder, group;
};

// A line of /proc/self/mountinfo: id, parent, device, root, mount point, options, ..., "-", type, source, options of the file system.
bool parse_mount(const std::string& line, bool version2, Hierarchy& hierarchy) {
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) return false;
    if (dash[1] != (version2 ? "cgroup2" : "cgroup") || (!version2 && !contains(split(dash[3], ','), "cpu"))) return false;
    hierarchy = {words[4], words[3] == "/" ? "" : words[3]};
    return true;
}

// What one group allows: a quota of time in each period, both in microseconds.
double limit_of_group(const std::string& folder, bool version2) {
    double quota = 0, period = 0;
    if (version2) {
        std::ifstream(folder + "/cpu.max") >> quota >> period;  // "max" is no number
    } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // -1: none
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? quota / period : kUnlimited;
}

// What a group and its ancestors allow, as far up as they are mounted.
double limit_of_groups(const std::string& root, const Hierarchy& hierarchy, std::string group, bool version2) {
    const std::string& top = hierarchy.group;
    const bool below = group.compare(0, top.size(), top) == 0 && (group.size() == top.size() || group[top.size()] == '/');
    group = below ? group.substr(top.size()) : "";
    const std::string folder = root + hierarchy.folder;
    double least = limit_of_group(folder, version2);
    for (; group.size() > 1; group.erase(group.rfind('/'))) least = std::min(least, limit_of_group(folder + group, version2));
    return least;
}

}  // namespace

double cpu_quota(const std::string& root) {
    double least = kUnlimited;
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // id:controllers:group, the controllers of version 2 being ""
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const bool version2 = controllers.empty();
        if (!version2 && !contains(split(controllers, ','), "cpu")) continue;
        std::ifstream mounts(root + "/proc/self/mountinfo");
        Hierarchy hierarchy;
        for (std::string mount; std::getline(mounts, mount);) {
            if (!parse_mount(mount, version2, hierarchy)) continue;
            least = std::min(least, limit_of_groups(root, hierarchy, line.substr(second + 1), version2));
        }
    }
    return least;
}

}  // namespace fasthash
