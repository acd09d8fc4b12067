// SPDX-License-Identifier: GPL-2.0-or-later
// A migration's traffic policy, from the checks to the report.
#pragma once

#include "ledger/page_class.h"
#include "policy/lease.h"
#include "report/report.h"

#include <string>
#include <vector>

namespace gc::policy {

class MigrationPolicy {
  public:
    /// Marks the connection `request.peer` as urgent. Errors: those of PolicyLease::begin().
    static Result<MigrationPolicy> begin(const PolicyLease::Request& request);

    [[nodiscard]] const std::string& device() const { return lease_.device(); }
    [[nodiscard]] const std::string& policy_name() const { return lease_.policy_name(); }
    /// Warnings for the user.
    [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
    /// The SO_MARK of the packets that carry the pages of each class.
    [[nodiscard]] ledger::PerClass<std::uint32_t> marks() const;

    /// Ends the lease. @return the NIC's traffic during the lease, including other migrations
    report::PolicyReport end();

  private:
    MigrationPolicy(PolicyLease lease, const Status& status, const PolicyLease::Request& request);

    PolicyLease lease_;
    Counters before_;
    std::vector<std::string> warnings_;
};

}  // namespace gc::policy
