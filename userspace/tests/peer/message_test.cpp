// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/message.h"

#include "peer/refusal.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <string>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;

/// As it comes out of the line that was sent.
template <typename M> M again(const M& message) {
    std::string line = encode(message);
    EXPECT_EQ(line.back(), '\n');
    EXPECT_EQ(line.find('\n'), line.size() - 1) << "a message is one line";
    line.pop_back();
    auto decoded = decode(line);
    EXPECT_TRUE(decoded && *decoded) << line;
    return std::get<M>(**decoded);
}

TEST(Message, ReadyComesAsItWasSent) {
    const Digest seal = Refusal::make().value().seal();
    const Ready ready = again(
        Ready{.version = 4, .qemu = "7.2.22", .preempt = true, .measure = 250ms, .seal = seal});
    EXPECT_EQ(ready.version, 4);
    EXPECT_EQ(ready.qemu, "7.2.22");
    EXPECT_TRUE(ready.preempt);
    EXPECT_EQ(ready.measure, 250ms);
    EXPECT_EQ(ready.seal, seal);
    EXPECT_FALSE(again(Ready{}).measure);
}

TEST(Message, ReadyDescribesTheVmSinceVersion6) {
    VmFacts vm{.qemu = "7.2",
               .machine = "pc-q35-7.2",
               .cpus = 2,
               .cpu_model = "c",
               .cpu_features = "f",
               .blocks = {{"m", 1, 2, 3, "4:5"}, {"", 6, 7, 8, ""}},
               .devices = {{"virtio-net-pci", 2}},
               .board = {{"e1000e", 1}},
               .host = "h",
               .capabilities = {},
               .tls_creds = "",
               .mode = "",
               .disks = {},
               .memory = ""};
    const Ready ready = again(Ready{6, "", false, {}, {}, vm});
    ASSERT_TRUE(ready.vm);
    EXPECT_EQ(ready.vm->machine, "pc-q35-7.2");
    EXPECT_EQ(ready.vm->cpus, 2U);
    ASSERT_EQ(ready.vm->blocks.size(), 2U);
    EXPECT_EQ(ready.vm->blocks[0].file, "4:5");
    EXPECT_EQ(ready.vm->blocks[1].max_length, 7U);
    EXPECT_EQ(ready.vm->devices, vm.devices);
    EXPECT_EQ(ready.vm->board, vm.board);
    EXPECT_FALSE(again(Ready{5, "", false, {}, {}}).vm) << "an older gcctl says nothing";
}

TEST(Message, ReadyTellsOfDisksSettingsAndMemory) {
    VmFacts vm;
    vm.capabilities = {"events", "multifd"};
    vm.tls_creds = "t";
    vm.mode = "normal";
    vm.disks = {{"d", "/i", 4096, true, "shared", "1:2", 2, 3, 1}};
    vm.memory = "too little";
    vm.memory_slots = 2;
    vm.overcommit = true;
    const Ready ready = again(Ready{7, "", false, {}, {}, vm});
    ASSERT_TRUE(ready.vm && ready.vm->disks);
    EXPECT_EQ(ready.vm->capabilities, vm.capabilities);
    EXPECT_EQ(ready.vm->tls_creds, "t");
    EXPECT_EQ(ready.vm->mode, "normal");
    EXPECT_EQ(ready.vm->memory, "too little");
    EXPECT_EQ(ready.vm->memory_slots, 2U);
    EXPECT_TRUE(ready.vm->overcommit);
    const VmFacts::Disk& disk = ready.vm->disks->at(0);
    EXPECT_EQ(disk.image, "/i");
    EXPECT_TRUE(disk.read_only);
    EXPECT_EQ(disk.inode, 2U);
    EXPECT_EQ(disk.locks, 3U);
    EXPECT_EQ(disk.own_locks, 1U);
    EXPECT_FALSE(again(Ready{7, "", false, {}, {}, VmFacts{}}).vm->disks) << "unknown";
}

TEST(Message, ReadyOffersTheMirrorSinceVersion7) {
    const Ready ready = again(Ready{7, "", false, {}, {}, {}, MirrorOffer{{"52:54"}, "why"}});
    ASSERT_TRUE(ready.mirror);
    EXPECT_EQ(ready.mirror->nics, std::vector<std::string>{"52:54"});
    EXPECT_EQ(ready.mirror->reason, "why");
    EXPECT_FALSE(again(Ready{6, "", false, {}, {}}).mirror) << "an older gcctl says nothing";
}

TEST(Message, CompletedTellsWhatWasDeliveredSinceVersion10) {
    const auto delivered = again(Completed{{}, "", {}, Delivered{7, 2}}).delivered;
    ASSERT_TRUE(delivered);
    EXPECT_EQ(delivered->packets, 7U);
    EXPECT_EQ(delivered->refused, 2U);
    EXPECT_FALSE(again(Completed{}).delivered);
    // The VM is complete: such a number is worth no failure.
    for (const auto* wrong : {"7", "null", R"({"packets":1})", R"({"packets":-1,"refused":0})"}) {
        const auto message = decode(fmt::format(R"({{"type":"completed","delivered":{}}})", wrong));
        ASSERT_TRUE(message && *message) << wrong;
        EXPECT_FALSE(std::get<Completed>(**message).delivered) << wrong;
    }
}

TEST(Message, AMalformedOfferOfTheMirrorIsAnError) {
    for (const auto* mirror : {"7", "{}", "[]", R"({"nics":7,"reason":""})",
                               R"({"nics":[7],"reason":""})", R"({"nics":[]})"})
        EXPECT_FALSE(decode(fmt::format(
            R"({{"type":"ready","version":7,"qemu":"","preempt":true,"mirror":{}}})", mirror)))
            << mirror;
}

TEST(Message, AMalformedDescriptionOfTheVmIsAnError) {
    const std::string good =
        R"("qemu":"7.2","board":{},"machine":"x","cpus":1,"cpu_model":"","cpu_features":"","host":"")";
    for (const std::string& vm :
         {std::string("7"), std::string("{}"), "{" + good + "}",
          "{" + good + R"(,"blocks":7,"devices":{}})",
          "{" + good + R"(,"blocks":[7],"devices":{}})",
          "{" + good + R"(,"blocks":[{}],"devices":{}})",
          "{" + good + R"(,"blocks":[],"devices":{"x":-1}})",
          "{" + good + R"(,"blocks":[],"devices":[]})",
          "{" + good + R"(,"blocks":[],"devices":{},"disks":{}})",
          "{" + good + R"(,"blocks":[],"devices":{},"disks":[{}]})",
          "{" + good + R"(,"blocks":[],"devices":{},"memory":7})",
          "{" + good + R"(,"blocks":[],"devices":{},"capabilities":[7]})"}) {
        const auto message =
            decode(R"({"type":"ready","version":6,"qemu":"7.2","preempt":true,"vm":)" + vm + "}");
        ASSERT_FALSE(message) << vm;
        EXPECT_EQ(message.error().kind, ErrorKind::protocol);
    }
}

TEST(Message, ReadyNamesCompressionsSinceVersion9) {
    Ready ready;
    EXPECT_TRUE(again(ready).compressions.empty()) << "an older gcctl knows none";
    ready.compressions = {Compression::zstd, Compression::lz4};
    EXPECT_EQ(again(ready).compressions, ready.compressions);
}

TEST(Message, ACompressionThatIsNotKnownIsNotUsed) {
    const auto line = [](std::string_view compressions) {
        return fmt::format(
            R"({{"type":"ready","version":9,"qemu":"","preempt":true,"compressions":{}}})",
            compressions);
    };
    const auto message = decode(line(R"(["brotli","lz4"])"));
    ASSERT_TRUE(message);
    EXPECT_EQ(std::get<Ready>(**message).compressions, std::vector{Compression::lz4});
    for (const auto* wrong : {"7", "{}", "[7]", R"("lz4")"})
        EXPECT_FALSE(decode(line(wrong))) << wrong;
}

TEST(Message, ReadyOfVersion3HasNoVersionAndNoSeal) {
    const auto message = decode(R"({"type":"ready","qemu":"7.2.22","preempt":true})").value();
    const auto& ready = std::get<Ready>(message.value());
    EXPECT_EQ(ready.version, 3);
    EXPECT_FALSE(ready.seal);
}

TEST(Message, CompletedHasWhatQemuMeasured) {
    report::QemuPostcopyReport qemu;
    qemu.blocktime_ms = 7;
    qemu.latency_dist = {1, 2};
    const Completed completed = again(Completed{report::DemandReport{}, "", qemu});
    ASSERT_TRUE(completed.qemu);
    EXPECT_EQ(completed.qemu->blocktime_ms, 7U);
    EXPECT_EQ(completed.qemu->latency_dist, (std::vector<std::uint64_t>{1, 2}));
    EXPECT_FALSE(again(Completed{report::DemandReport{}, "", {}}).qemu);
    const auto odd = decode(R"({"type":"completed","qemu":7})");
    ASSERT_TRUE(odd) << "figures that cannot be read are no failure";
    EXPECT_FALSE(std::get<Completed>(**odd).qemu);
}

TEST(Message, TheOthersComeAsTheyWereSent) {
    again(Resumed{});
    EXPECT_EQ(again(Refused{"no room", Digest{std::byte{7}}}).proof, Digest{std::byte{7}});
    EXPECT_EQ(again(Failed{"why"}).reason, "why");
    EXPECT_FALSE(again(Commit{false}).run);
    EXPECT_EQ(again(Abandon{"why"}).reason, "why");
    const Measured measured = again(Measured{1.5, 7, ""});
    EXPECT_EQ(measured.time_ms, 1.5);
    EXPECT_EQ(measured.unresolved, 7U);
    EXPECT_EQ(again(Measured{0, 0, "gone"}).problem, "gone");
}

TEST(Message, CompletedHasFiguresOrAProblem) {
    report::DemandReport demand;
    demand.faults = 12;
    EXPECT_EQ(again(Completed{demand, ""}).demand->faults, 12U);
    EXPECT_EQ(again(Completed{demand, "lost some"}).problem, "lost some");
    for (const char* figures : {"7", "{}", "[]", R"("x")", "null"}) {
        const auto message =
            decode(fmt::format(R"({{"type":"completed","demand":{}}})", figures)).value();
        EXPECT_FALSE(std::get<Completed>(*message).demand) << figures;
        EXPECT_FALSE(std::get<Completed>(*message).problem.empty()) << figures;
    }
}

TEST(Message, TouchedPagesAreSplitIntoLines) {
    measure::Touched sent{"pc.ram", true, {}};
    for (std::uint64_t i = 0; i < 12'345; ++i)
        sent.runs.push_back({UINT64_MAX - i, UINT64_MAX - 2 * i});
    measure::Touched came{"pc.ram", true, {}};
    for (const Touched& message : split(sent)) {
        EXPECT_LT(encode(message).size(), max_line);
        const Touched part = again(message);
        EXPECT_EQ(part.pages.block, "pc.ram");
        EXPECT_TRUE(part.pages.asked);
        came.runs.insert(came.runs.end(), part.pages.runs.begin(), part.pages.runs.end());
    }
    EXPECT_EQ(came, sent);
    EXPECT_TRUE(split({"pc.ram", false, {}}).empty());
}

TEST(Message, AMessageOfALaterVersionIsSkipped) {
    EXPECT_EQ(decode(R"({"type":"heartbeat","n":1})").value(), std::nullopt);
    EXPECT_TRUE(decode(R"({"type":"commit","run":true,"later":[1]})").value());
}

TEST(Message, WhatIsNoMessageIsAnError) {
    for (const std::string& line :
         {std::string(),
          std::string("hello"),
          std::string("7"),
          std::string("[]"),
          std::string("{}"),
          std::string(R"({"type":5})"),
          std::string(R"({"type":"commit"})"),
          std::string(R"({"type":"commit","run":"yes"})"),
          std::string(R"({"type":"resumed","reason":5)"),
          std::string("\xff\xfe"),
          std::string("{\"type\":\"failed\",\"reason\":\"\xff\"}"),
          std::string(R"({"type":"refused","reason":5})"),
          std::string(R"({"type":"refused","reason":"x","proof":"00"})"),
          std::string(R"({"type":"abandon","reason":["x"]})"),
          std::string(R"({"type":"ready","qemu":5,"preempt":true})"),
          std::string(R"({"type":"ready","qemu":"x","preempt":true,"measure_ms":1e99})"),
          std::string(R"({"type":"ready","qemu":"x","preempt":true,"measure_ms":-1})"),
          std::string(R"({"type":"measured","time_ms":"0","unresolved":1})"),
          std::string(R"({"type":"measured","time_ms":1e999,"unresolved":1})"),
          std::string(R"({"type":"measured"})"),
          std::string(R"({"type":"touched","block":1,"asked":false,"runs":[]})"),
          std::string(R"({"type":"touched","block":"m","asked":1,"runs":[]})"),
          std::string(R"({"type":"touched","block":"m","asked":false,"runs":[1]})"),
          std::string(R"({"type":"touched","block":"m","asked":false,"runs":[-1,1]})"),
          std::string(R"({"type":"touched","block":"m","asked":false,"runs":["0","1"]})"),
          std::string(60'000, '['),
          "{\"a\":" + std::string(30'000, '[')}) {
        const auto message = decode(line);
        ASSERT_FALSE(message) << line;
        EXPECT_EQ(message.error().kind, ErrorKind::protocol);
        EXPECT_THAT(message.error().message, HasSubstr("other gcctl")) << line;
    }
}

TEST(Message, TextForPeopleCannotControlTheTerminal) {
    const auto message = decode(R"({"type":"failed","reason":"\u001b[2Jx\u009b\n"})").value();
    EXPECT_EQ(std::get<Failed>(*message).reason, "\\x1b[2Jx\\xc2\\x9b\\x0a");
    EXPECT_THAT(decode("\x1b[2J").error().message, HasSubstr("'\\x1b[2J'"));
}

TEST(Message, TextThatIsNoUtf8CanBeSent) {
    EXPECT_THAT(again(Abandon{"\xff"}).reason, HasSubstr("\\xef\\xbf\\xbd"));
}

TEST(Refusal, OnlyItsProofOpensItsSeal) {
    Refusal ours = Refusal::make().value();
    const Refusal other = Refusal::make().value();
    EXPECT_TRUE(opens(ours.seal(), ours.proof()));
    EXPECT_FALSE(opens(ours.seal(), other.proof()));
    EXPECT_FALSE(opens(ours.seal(), ours.seal()));
    EXPECT_FALSE(opens(ours.seal(), std::nullopt));
    EXPECT_FALSE(opens(std::nullopt, ours.proof())) << "of version 3: it cannot prove anything";
    ours.destroy();
    EXPECT_FALSE(ours.proof());
}

}  // namespace
}  // namespace gc::peer
