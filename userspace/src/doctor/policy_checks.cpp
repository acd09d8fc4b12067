// SPDX-License-Identifier: GPL-2.0-or-later
// The requirements of traffic policies. Migrations also work without, unshaped, so these only warn.
#include "doctor/checks.h"

#include <cstdio>
#include <linux/capability.h>
#include <sstream>

namespace gc::doctor {

namespace {

constexpr std::string_view without = "; migrations go unshaped";

bool has_tcx(const Host& host) {
    int major = 0;
    int minor = 0;
    return std::sscanf(host.kernel_release().c_str(), "%d.%d", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 6));
}

}  // namespace

Check check_policy_privileges(const Host& host) {
    constexpr const char* name = "policy-privileges";
    std::string missing;
    // CAP_SYS_ADMIN includes CAP_BPF.
    if (!host.has_capability(CAP_BPF) && !host.has_capability(CAP_SYS_ADMIN))
        missing = "CAP_BPF";
    if (!host.has_capability(CAP_NET_ADMIN))
        missing += std::string(missing.empty() ? "" : ", ") + "CAP_NET_ADMIN";
    if (missing.empty())
        return {name, Verdict::ok, "may attach BPF programs", ""};
    return {name, Verdict::warning, fmt::format("missing: {}{}", missing, without),
            "run gcctl with sudo"};
}

Check check_bpf_file_system(const Host& host) {
    constexpr const char* name = "bpf-file-system";
    std::istringstream mounts(host.text("/proc/mounts").value_or(""));
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words(line);
        std::string device;
        std::string where;
        std::string type;
        words >> device >> where >> type;
        if (where == "/sys/fs/bpf" && type == "bpf")
            return {name, Verdict::ok, "mounted at /sys/fs/bpf", ""};
    }
    return {name, Verdict::warning, fmt::format("not mounted at /sys/fs/bpf{}", without),
            "mount -t bpf bpf /sys/fs/bpf"};
}

Check check_policy_modules(const Host& host) {
    constexpr const char* name = "policy-modules";
    std::string missing;
    const auto need = [&](const char* module) {
        if (!host.has_module(module))
            missing += std::string(missing.empty() ? "" : " ") + module;
    };
    need("sch_fq");
    if (!has_tcx(host)) {
        need("sch_ingress");
        need("cls_bpf");
    }
    if (missing.empty())
        return {name, Verdict::ok,
                has_tcx(host) ? "sch_fq; programs by tcx" : "sch_fq, sch_ingress, cls_bpf", ""};
    return {name, Verdict::warning,
            fmt::format("Linux {} lacks {}{}", host.kernel_release(), missing, without),
            fmt::format("modprobe -a {} (or use a kernel that has them)", missing)};
}

}  // namespace gc::doctor
