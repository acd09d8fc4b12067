// SPDX-License-Identifier: GPL-2.0-or-later
// A migration's traffic policy, from the checks to the report.
#pragma once

#include "migrate/options.h"
#include "report/report.h"
#include "shape/use.h"
#include "transfer/outlet.h"

#include <string>
#include <vector>

namespace gc::migrate {

class Shaping {
  public:
    /// @param control the connection to the destination; it is marked as urgent
    /// Errors: those of shape::Use::begin().
    static Result<Shaping> begin(const Options& options, int control);

    [[nodiscard]] const std::string& device() const { return use_.device(); }
    [[nodiscard]] const std::string& policy_name() const { return use_.policy_name(); }
    /// What the user should know of it.
    [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
    /// Of what the data plane sends.
    [[nodiscard]] Marks marks() const;

    /// Ends the use. @return what passed the NIC meanwhile, of other migrations as well
    PolicyReport end();

  private:
    Shaping(shape::Use use, const shape::Status& status, const Options& options);

    shape::Use use_;
    shape::Counters before_;
    std::vector<std::string> warnings_;
};

}  // namespace gc::migrate
