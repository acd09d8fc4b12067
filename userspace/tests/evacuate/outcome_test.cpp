// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/outcome.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace gc::evacuate {
namespace {

using testing::HasSubstr;

Outcome outcome(const std::vector<Fate>& fates, bool interrupted = false) {
    Outcome outcome;
    for (const Fate fate : fates) {
        outcome.vms.push_back({.name = "vm" + std::to_string(outcome.vms.size()),
                               .uuid = {},
                               .to = {},
                               .fate = fate,
                               .error = fate == Fate::moved ? "" : "its reason",
                               .sent_bytes = 1 << 20});
    }
    outcome.interrupted = interrupted;
    return outcome;
}

TEST(EvacuationOutcome, SucceedsIfAllHaveMoved) {
    EXPECT_EQ(exit_status(outcome({})), 0);
    EXPECT_EQ(exit_status(outcome({Fate::moved, Fate::moved})), 0);
    // The signal came too late to keep anything here.
    EXPECT_EQ(exit_status(outcome({Fate::moved}, true)), 0);
}

TEST(EvacuationOutcome, FailsIfAVmIsStillHere) {
    for (const Fate fate : {Fate::kept, Fate::refused, Fate::failed, Fate::waiting})
        EXPECT_EQ(exit_status(outcome({Fate::moved, fate})), 1) << name(fate);
    EXPECT_EQ(exit_status(outcome({Fate::refused, Fate::failed})), 1);
}

TEST(EvacuationOutcome, IsRefusedIfNothingWasTouched) {
    EXPECT_EQ(exit_status(outcome({Fate::refused, Fate::kept})), 3);
}

TEST(EvacuationOutcome, IsInterrupted) {
    EXPECT_EQ(exit_status(outcome({Fate::moved, Fate::waiting}, true)), 130);
    EXPECT_EQ(exit_status(outcome({Fate::cancelled, Fate::refused}, true)), 130);
}

TEST(EvacuationOutcome, NeedsTheOperatorWhateverElseHappened) {
    for (const Fate fate : {Fate::moved, Fate::refused, Fate::failed, Fate::cancelled})
        EXPECT_EQ(exit_status(outcome({fate, Fate::needs_operator}, true)), 4) << name(fate);
}

TEST(EvacuationOutcome, OfAMigrationIsThatOfItsExitStatus) {
    EXPECT_EQ(fate_of(0), Fate::moved);
    EXPECT_EQ(fate_of(1), Fate::failed);
    EXPECT_EQ(fate_of(2), Fate::refused);
    EXPECT_EQ(fate_of(3), Fate::refused);
    EXPECT_EQ(fate_of(4), Fate::needs_operator);
    EXPECT_EQ(fate_of(130), Fate::cancelled);
    EXPECT_EQ(fate_of(128 + 9), Fate::needs_operator);
    EXPECT_EQ(fate_of(77), Fate::needs_operator);
}

TEST(EvacuationOutcome, AddsUp) {
    const auto json = to_json(outcome({Fate::moved, Fate::refused, Fate::moved}));
    EXPECT_EQ(json["schema"], "guidecopy.evacuation/1");
    EXPECT_EQ(json["exit_status"], 1);
    EXPECT_EQ(json["sent_bytes"], 3 << 20);
    EXPECT_EQ(json["counts"]["moved"], 2);
    EXPECT_EQ(json["counts"]["refused"], 1);
    EXPECT_EQ(json["counts"]["waiting"], 0);
    EXPECT_EQ(json["vms"][1]["result"], "refused");
    EXPECT_EQ(json["vms"][1]["error"], "its reason");
}

TEST(EvacuationOutcome, NamesEachVmAndWhyItIsStillHere) {
    const std::string text = summary(outcome({Fate::moved, Fate::kept}));
    EXPECT_THAT(text, HasSubstr("1 of 2 VMs moved"));
    EXPECT_THAT(text, HasSubstr("vm0"));
    EXPECT_THAT(text, HasSubstr("kept           its reason\n"));
}

}  // namespace
}  // namespace gc::evacuate
