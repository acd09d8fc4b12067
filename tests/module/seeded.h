// SPDX-License-Identifier: GPL-2.0-or-later
// Tests that do what chance says, for GC_STRESS_SECONDS (default 4), with the seed that is printed,
// or that of GC_STRESS_SEED.
#pragma once

#include "support.h"

#include <cstdlib>
#include <iostream>
#include <random>

namespace gc::capture::test {

using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;

class Seeded : public testing::Test {
  protected:
    Seeded() { std::cout << "GC_STRESS_SEED=" << seed_ << std::endl; }

    [[nodiscard]] bool time_left() const { return Clock::now() < end_; }

  private:
    static unsigned long from_environment(const char* name, unsigned long otherwise) {
        const char* text = std::getenv(name);
        return text != nullptr ? std::strtoul(text, nullptr, 10) : otherwise;
    }

  protected:
    const unsigned long seed_ = from_environment("GC_STRESS_SEED", std::random_device{}());
    const Clock::time_point end_ =
        Clock::now() + std::chrono::seconds(from_environment("GC_STRESS_SECONDS", 4));
};

}  // namespace gc::capture::test
