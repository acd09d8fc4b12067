// SPDX-License-Identifier: GPL-2.0-or-later
// Checks whether a host can be the source or the destination of a migration.
#pragma once

#include "doctor/host.h"
#include "doctor/qemu_user.h"

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace gc::doctor {

enum class Verdict {
    ok,
    warning,  ///< works, but less well or not always
    lacking,  ///< does not work
};

struct Check {
    std::string name;  ///< "kvm"; stable, for scripts
    Verdict verdict = Verdict::ok;
    std::string found;   ///< the finding, in one line
    std::string remedy;  ///< the command that fixes it, or advice; empty if ok
};

enum class Role { source, destination, both };

struct Options {
    Role role = Role::both;
    std::string qmp;  ///< QMP socket of a QEMU whose VM is checked, too; may be empty
    /// The destination's QEMU runs as this user; if empty, see qemu_user_of().
    std::string qemu_user = {};
};

/// Runs all checks of the role. Changes nothing, except that in a QEMU that waits for a migration
/// postcopy-ram is enabled and disabled again.
std::vector<Check> run_checks(const Host& host, const Options& options);

/// Whether no check is `lacking`.
bool ready(const std::vector<Check>& checks);

// host_checks.cpp; each checks one thing
Check check_processor(const Host& host);
Check check_kernel(const Host& host);
Check check_kvm(const Host& host);
Check check_module(const Host& host);
/// Whether a guide can be captured, and by what.
Check check_capture(const Host& host);
/// Whether the user of the destination's QEMU can use it.
Check check_userfaultfd(const Host& host, const Options& options);
Check judge_userfaultfd(const Host& host, const std::string& user,
                        const Result<UserfaultfdAccess>& access, bool qemu_opens_device);
Check check_privileges(const Host& host);
Check check_network_namespaces(const Host& host);
Check check_tun(const Host& host);
Check check_huge_pages(const Host& host);
Check check_descriptors(const Host& host);

// policy_checks.cpp
Check check_policy_privileges(const Host& host);
Check check_bpf_file_system(const Host& host);
Check check_policy_modules(const Host& host);

// tls_checks.cpp
/// Checks the certificates in the default directories, for the files of the host's role.
Check check_tls_credentials(const Host& host, Role role);
Check check_kernel_tls(const Host& host);

// qemu_checks.cpp
Check check_qemu(const Host& host);
/// Whether the installed QEMU opens /dev/userfaultfd: 8.0 and later do.
bool qemu_opens_userfaultfd(const Host& host);
/// The user that is given, else that of the QEMU behind the QMP socket, else find_qemu_user()'s.
Result<QemuUser> qemu_user_of(const Options& options);
/// Checks QEMU's version, post-copy, and at the source the VM's memory.
std::vector<Check> check_vm(const Options& options);

// render.cpp
/// One line per check, followed by its remedy if it has one, and a verdict at the end.
std::string render_text(const std::vector<Check>& checks);
/// {"ready": bool, "checks": [{"name", "verdict", "found", "remedy"}]}
nlohmann::json render_json(const std::vector<Check>& checks);

}  // namespace gc::doctor
