// SPDX-License-Identifier: GPL-2.0-or-later
// Drops and counts everything a guide sends: a tc program at the ingress of its taps
// (quarantine.bpf.c).
#pragma once

#include "util/error.h"

#include <cstdint>
#include <memory>

struct bpf_object;

namespace gc::guide {

/// Ethernet frames that a guide sent. All of them were dropped.
struct Sent {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    /// Packets by protocol; all 0 if no program counted them.
    std::uint64_t arp = 0;
    std::uint64_t ipv4 = 0;
    std::uint64_t ipv6 = 0;
    std::uint64_t other = 0;
};

class Sink {
  public:
    /// Errors: unsupported (the kernel does not load the program: no CAP_BPF, no BPF).
    static Result<Sink> load();

    /// Attaches the program to the ingress of a link of this thread's network namespace. The link
    /// must have no qdisc yet; the program goes away with it. Errors: unsupported (no clsact, no
    /// cls_bpf), io.
    Result<void> attach(int link);

    /// The total over all links so far. Errors: io
    [[nodiscard]] Result<Sent> sent() const;

  private:
    struct Destroy {
        void operator()(bpf_object* object) const;
    };
    using Object = std::unique_ptr<bpf_object, Destroy>;
    explicit Sink(Object object) : object_(std::move(object)) {}

    Object object_;
};

}  // namespace gc::guide
