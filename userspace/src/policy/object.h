// SPDX-License-Identifier: GPL-2.0-or-later
// A tc program's object file that keeps to the contract of gc_policy.h, and the program in the
// kernel.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <bpf/libbpf.h>
#include <memory>
#include <string>

namespace gc::policy {

class Object {
  public:
    /// Reads it and checks it against the contract; the kernel is not asked yet.
    /// @param path a file; empty: gcctl's own program
    /// Errors: unsupported: it is no BPF object, or breaks the contract.
    static Result<Object> open(const std::string& path);

    /// Gives it to the kernel. Errors: unsupported: no right to, or the verifier refuses it, with
    /// its last words.
    Result<void> load();

    [[nodiscard]] int program() const;
    /// @return its descriptor, or -1 if the object has no such map
    [[nodiscard]] int map(const char* name) const;

  private:
    struct Close {
        void operator()(bpf_object* object) const { ::bpf_object__close(object); }
    };
    Object(bpf_object* object, std::string name) : object_(object), name_(std::move(name)) {}
    Result<void> check();

    std::unique_ptr<bpf_object, Close> object_;
    std::string name_;
};

}  // namespace gc::policy
