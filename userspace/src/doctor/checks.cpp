// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/checks.h"

#include <algorithm>
#include <iterator>

namespace gc::doctor {

std::vector<Check> run_checks(const Host& host, const Options& options) {
    std::vector<Check> checks = {check_processor(host), check_kernel(host), check_kvm(host),
                                 check_qemu(host), check_descriptors(host)};
    if (options.role != Role::destination) {
        checks.push_back(check_privileges(host));
        checks.push_back(check_module(host));
        checks.push_back(check_capture(host));
        checks.push_back(check_network_namespaces(host));
        checks.push_back(check_tun(host));
        checks.push_back(check_huge_pages(host));
        checks.push_back(check_policy_privileges(host));
        checks.push_back(check_bpf_file_system(host));
        checks.push_back(check_policy_modules(host));
    }
    if (options.role != Role::source)
        checks.push_back(check_userfaultfd(host, options));
    checks.push_back(check_tls_credentials(host, options.role));
    checks.push_back(check_kernel_tls(host));
    if (!options.qmp.empty())
        std::ranges::move(check_vm(options), std::back_inserter(checks));
    return checks;
}

bool ready(const std::vector<Check>& checks) {
    return std::none_of(checks.begin(), checks.end(),
                        [](const Check& check) { return check.verdict == Verdict::lacking; });
}

}  // namespace gc::doctor
