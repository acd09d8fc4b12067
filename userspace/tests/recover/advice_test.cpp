// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/advice.h"

#include <gmock/gmock.h>

namespace gc::recover {
namespace {

using state::Phase;
using state::Record;
using state::Role;
using testing::_;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Record record(Role role, Phase phase) {
    return {.id = "0123456789abcdef",
            .role = role,
            .phase = phase,
            .gcctl = {10, 1},
            .qmp = "/run/vm.qmp",
            .qemu = {20, 1},
            .peer = "192.0.2.2:4444",
            .arguments = {"--qmp", "/run/vm.qmp"},
            .capabilities = {},
            .parameters = {}};
}

Seen asked(std::string run_state, std::string migration) {
    return {.gcctl_alive = false,
            .qemu_alive = true,
            .is_qemu = true,
            .run_state = std::move(run_state),
            .migration = std::move(migration),
            .problem = {}};
}

const Seen gone{};

TEST(Advice, LeavesALivingGcctlAlone) {
    Seen seen = asked("finish-migrate", "postcopy-active");
    seen.gcctl_alive = true;
    const Advice advice = advise(record(Role::source, Phase::running), seen);
    EXPECT_EQ(advice.standing, Standing::live);
    EXPECT_THAT(advice.type, IsEmpty());
}

TEST(Advice, AVmOfLibvirtsIsFinishedByLibvirt) {
    Record source = record(Role::source, Phase::switched_over);
    source.qmp = "";
    source.domain = "web";
    source.finish = "virsh migrate web";
    const Seen there = asked("", "");
    EXPECT_THAT(advise(source, there).type, ElementsAre("virsh migrate web"));
    EXPECT_THAT(advise(source, there).what, HasSubstr("virsh domstate --reason web"));
    EXPECT_EQ(advise(source, gone).standing, Standing::over);
    EXPECT_THAT(advise(source, there).there,
                HasSubstr("gcctl take-back --domain web --verdict never-ran:0123456789abcdef"));
    source.phase = Phase::begun;
    EXPECT_EQ(advise(source, there).standing, Standing::over);

    Record destination = source;
    destination.role = Role::destination;
    EXPECT_EQ(advise(destination, there).standing, Standing::stranded);
    EXPECT_THAT(advise(destination, there).type, IsEmpty());
    // What becomes of it is for libvirt to say.
    EXPECT_FALSE(never_ran(destination, gone));
}

TEST(Advice, AVmThatLibvirtCannotResumeIsTakenBack) {
    Record source = record(Role::source, Phase::never_ran);
    source.qmp = "";
    source.domain = "web";
    const Seen there = asked("", "");
    for (const Phase phase : {Phase::never_ran, Phase::taking_back}) {
        source.phase = phase;
        EXPECT_EQ(advise(source, there).standing, Standing::stranded);
        EXPECT_THAT(advise(source, there).type, ElementsAre(_, "gcctl take-back --domain web", _));
    }
    EXPECT_EQ(advise(source, gone).standing, Standing::over);

    Record destination = record(Role::destination, Phase::never_ran);
    destination.domain = "web";
    EXPECT_TRUE(never_ran(destination, gone));
    EXPECT_THAT(advise(destination, gone).there,
                HasSubstr("gcctl take-back --domain web --verdict never-ran:0123456789abcdef"));
}

TEST(Advice, SourceBeforeTheCommitIsTakenBack) {
    for (const Phase phase : {Phase::begun, Phase::switched_over})
        EXPECT_THAT(
            advise(record(Role::source, phase), asked("finish-migrate", "postcopy-paused")).type,
            ElementsAre("gcctl take-back --qmp /run/vm.qmp"));
}

TEST(Advice, SourceAfterTheCommitIsRecovered) {
    for (const Phase phase : {Phase::committed, Phase::running}) {
        const Advice advice =
            advise(record(Role::source, phase), asked("finish-migrate", "postcopy-paused"));
        EXPECT_EQ(advice.standing, Standing::stranded);
        EXPECT_THAT(advice.type, ElementsAre("gcctl recover migrate --qmp /run/vm.qmp"));
    }
}

TEST(Advice, SourceThatRunsOrHasMovedIsOver) {
    EXPECT_EQ(advise(record(Role::source, Phase::begun), asked("running", "none")).standing,
              Standing::over);
    const Advice moved =
        advise(record(Role::source, Phase::running), asked("postmigrate", "completed"));
    EXPECT_EQ(moved.standing, Standing::over);
    EXPECT_THAT(moved.type, ElementsAre("kill 20"));
}

TEST(Advice, SourceThatGcctlStoppedIsStranded) {
    Record stopped = record(Role::source, Phase::begun);
    stopped.runs = true;
    EXPECT_THAT(advise(stopped, asked("paused", "failed")).type,
                ElementsAre("gcctl take-back --qmp /run/vm.qmp"));
    stopped.phase = Phase::running;
    EXPECT_THAT(advise(stopped, asked("paused", "failed")).type,
                ElementsAre("gcctl recover migrate --qmp /run/vm.qmp"));
    stopped.runs = false;
    EXPECT_EQ(advise(stopped, asked("paused", "failed")).standing, Standing::over);
}

TEST(Advice, AManagerIsNotKilled) {
    Seen seen = asked("postmigrate", "completed");
    seen.is_qemu = false;
    EXPECT_THAT(advise(record(Role::source, Phase::running), seen).type, IsEmpty());
}

TEST(Advice, DestinationThatEndedBeforeTheCommitNeverRan) {
    for (const Phase phase : {Phase::begun, Phase::never_ran}) {
        const Advice advice = advise(record(Role::destination, phase), gone);
        EXPECT_EQ(advice.standing, Standing::stranded);
        EXPECT_THAT(advice.there, HasSubstr("--verdict never-ran:0123456789abcdef"));
    }
}

TEST(Advice, DestinationThatStillHoldsTheStateIsEndedFirst) {
    const Advice advice =
        advise(record(Role::destination, Phase::begun), asked("paused", "completed"));
    EXPECT_THAT(advice.type, ElementsAre("kill 20"));
    EXPECT_THAT(advice.there, testing::Not(HasSubstr("never-ran")));
}

TEST(Advice, DestinationAfterTheCommitIsRecovered) {
    const Advice advice =
        advise(record(Role::destination, Phase::committed), asked("running", "postcopy-paused"));
    EXPECT_THAT(advice.type, ElementsAre("gcctl recover receive --qmp /run/vm.qmp"));
    EXPECT_EQ(
        advise(record(Role::destination, Phase::running), asked("running", "completed")).standing,
        Standing::over);
    EXPECT_THAT(advise(record(Role::destination, Phase::running), gone).what, HasSubstr("is lost"));
}

/// gcctl receive died between its decision and the start.
TEST(Advice, DestinationThatWasNotStartedIsRecovered) {
    for (const std::string migration : {"completed", "postcopy-paused"}) {
        const Advice advice =
            advise(record(Role::destination, Phase::committed), asked("paused", migration));
        EXPECT_EQ(advice.standing, Standing::stranded);
        EXPECT_THAT(advice.type, ElementsAre("gcctl recover receive --qmp /run/vm.qmp"));
    }
}

TEST(Advice, SourceThatConvergedBeforeTheCommitIsTakenBack) {
    EXPECT_THAT(advise(record(Role::source, Phase::begun), asked("postmigrate", "completed")).type,
                ElementsAre("gcctl take-back --qmp /run/vm.qmp"));
}

TEST(Advice, SaysWhyQmpIsSilent) {
    Seen seen;
    seen.qemu_alive = true;
    seen.problem = "no QMP greeting";
    EXPECT_THAT(advise(record(Role::source, Phase::committed), seen).what,
                HasSubstr("no QMP greeting"));
}

}  // namespace
}  // namespace gc::recover
